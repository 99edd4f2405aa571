/* The configuration's section `texts`: which topics, which labels, how they are read. */
#include "internal.h"

#include <freshet/text.h>

#include <stdio.h>
#include <string.h>

enum { TOPIC_BYTES_MAX = 249, NAME_BYTES_MAX = 64, WHERE_BYTES = 128 };

static const char *const text_keys[] = {"from",  "labelled", "to",         "format",   "actions", "labels",
                                        "least", "words",    "characters", "examples", "bits"};

static bool is_name(struct fr_slice text)
{
    const char *at = text.bytes;
    bool is_word = text.length > 0 && text.length <= NAME_BYTES_MAX && !(at[0] >= '0' && at[0] <= '9');

    for (size_t i = 0; i < text.length && is_word; i++)
        is_word =
            (at[i] >= 'a' && at[i] <= 'z') || (at[i] >= 'A' && at[i] <= 'Z') || (at[i] >= '0' && at[i] <= '9') || at[i] == '_';
    return is_word;
}

static void read_labels(struct fr_yaml *name, struct fr_yaml *yaml, const char *where, struct pipeline_text *text,
                        struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *labels = fr_yaml_get(yaml, "labels");

    if (!labels || labels->kind != FR_YAML_LIST || labels->count < 2 || labels->count > LEARNER_LABELS_MAX) {
        fr_diagnostics_add(diagnostics, labels ? labels : name,
                           "%s.labels: should be a list of 2 to %d names, as in [buy, ask, other]", where, LEARNER_LABELS_MAX);
        return;
    }
    for (int i = 0; i < labels->count; i++) {
        struct fr_yaml *label = labels->values[i];

        if (label->kind != FR_YAML_SCALAR || label->text.length == 0 || label->text.length > NAME_BYTES_MAX) {
            fr_diagnostics_add(diagnostics, label, "%s.labels: each is a text of 1 to %d bytes", where, NAME_BYTES_MAX);
            return;
        }
        for (int k = 0; k < i; k++)
            if (strcmp(text->labels[k], label->text.bytes) == 0)
                fr_diagnostics_add(diagnostics, label, "%s.labels: '%.64s' twice", where, text->labels[k]);
        text->labels[i] = label->text.bytes;
        text->options.labels = i + 1;
    }
}

static void read_actions(struct fr_yaml *yaml, const char *where, struct pipeline_text *text,
                         struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *actions = fr_yaml_get(yaml, "actions");
    const char *names[PROTO_ACTIONS];

    text->actions = UINT64_C(1) << proto_action_number(fr_slice_of("comment"));
    if (!actions)
        return;
    if (actions->kind != FR_YAML_LIST || actions->count == 0) {
        fr_diagnostics_add(diagnostics, actions, "%s.actions: should be a list of actions, as in [comment]", where);
        return;
    }
    for (uint32_t i = 1; i < PROTO_ACTIONS; i++)
        names[i - 1] = proto_action_name(i);
    text->actions = 0;
    for (int i = 0; i < actions->count; i++) {
        struct fr_yaml *one = actions->values[i];
        int action = one->kind == FR_YAML_SCALAR ? proto_action_number(one->text) : 0;
        const char *nearest = one->kind == FR_YAML_SCALAR ? fr_text_nearest(one->text, names, PROTO_ACTIONS - 1) : NULL;

        if (action > 0)
            text->actions |= UINT64_C(1) << action;
        else
            fr_diagnostics_add(diagnostics, one, "%s.actions: unknown action%s%s", where, nearest ? "; did you mean " : "",
                               nearest ? nearest : "");
    }
}

static void check_topic(struct fr_yaml *name, struct fr_yaml *yaml, const char *key, const char *where, const char *topic,
                        const struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *at = fr_yaml_get(yaml, key);

    if (!topic || !topic[0] || strlen(topic) > TOPIC_BYTES_MAX)
        fr_diagnostics_add(diagnostics, at ? at : name, "%s.%s: names a topic, of at most %d bytes", where, key,
                           TOPIC_BYTES_MAX);
    else if (pipeline_config_has_topic(config, topic) || strcmp(topic, config->dead_letters) == 0)
        fr_diagnostics_add(
            diagnostics, at,
            "%s.%s: '%s' is in kafka, too, and its events would count twice; the node reads what is in `to` by itself", where,
            key, topic);
}

static void check_topics(struct fr_yaml *name, struct fr_yaml *yaml, const char *where, const struct pipeline_text *text,
                         struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    check_topic(name, yaml, "from", where, text->from, config, diagnostics);
    check_topic(name, yaml, "labelled", where, text->labelled, config, diagnostics);
    check_topic(name, yaml, "to", where, text->to, config, diagnostics);
    if (text->from && text->labelled && text->to &&
        (strcmp(text->from, text->to) == 0 || strcmp(text->labelled, text->to) == 0 || strcmp(text->from, text->labelled) == 0))
        fr_diagnostics_add(diagnostics, name, "%s: from, labelled and to are three topics", where);
    for (int i = 0; i < config->text_count; i++)
        if (text->to && strcmp(config->texts[i].to, text->to) == 0)
            fr_diagnostics_add(diagnostics, name, "%s.to: '%s' is that of %s as well", where, text->to, config->texts[i].name);
}

static void read_text(struct fr_yaml *name, struct fr_yaml *yaml, struct pipeline_config *config,
                      struct fr_diagnostics *diagnostics)
{
    static const char *const formats[] = {"protobuf", "json"};
    struct pipeline_text *text = &config->texts[config->text_count];
    int64_t words = 2, characters = 4, examples = 20000, bits = 18;
    int format = 0, before = diagnostics->count;
    char where[WHERE_BYTES];

    *text = (struct pipeline_text){.name = name->text.bytes, .least = 0.5};
    snprintf(where, sizeof where, "texts.%.64s", text->name);
    if (!is_name(name->text) || yaml->kind != FR_YAML_MAP) {
        fr_diagnostics_add(diagnostics, name,
                           "%s: should be a name of letters, digits and _, and a map with from, labelled, to and labels",
                           where);
        return;
    }
    fr_yaml_text(yaml, "from", &text->from, diagnostics);
    fr_yaml_text(yaml, "labelled", &text->labelled, diagnostics);
    fr_yaml_text(yaml, "to", &text->to, diagnostics);
    fr_yaml_choice(yaml, "format", formats, 2, &format, diagnostics);
    fr_yaml_double(yaml, "least", 0, 1, &text->least, diagnostics);
    fr_yaml_int(yaml, "words", 0, LEARNER_WORDS_MAX, &words, diagnostics);
    fr_yaml_int(yaml, "characters", 0, LEARNER_CHARACTERS_MAX, &characters, diagnostics);
    fr_yaml_int(yaml, "examples", 2, 200000, &examples, diagnostics);
    fr_yaml_int(yaml, "bits", 10, 22, &bits, diagnostics);
    read_labels(name, yaml, where, text, diagnostics);
    read_actions(yaml, where, text, diagnostics);
    check_topics(name, yaml, where, text, config, diagnostics);
    fr_yaml_finish(yaml, where, text_keys, (int)(sizeof text_keys / sizeof *text_keys), diagnostics);
    if (words == 0 && characters < 2)
        fr_diagnostics_add(diagnostics, name, "%s: neither words nor characters are looked at; give one of them more than that",
                           where);
    text->format = format == 1 ? PROTO_FORMAT_JSON : PROTO_FORMAT_PROTOBUF;
    text->options.words = (int)words;
    text->options.characters = (int)characters;
    text->options.examples = (int)examples;
    text->options.bits = (int)bits;
    if (diagnostics->count == before)
        config->text_count++;
}

void pipeline_config__texts(struct fr_yaml *root, struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *texts = fr_yaml_get(root, "texts");

    if (!texts)
        return;
    if (texts->kind != FR_YAML_MAP || texts->count > PIPELINE_TEXTS_MAX) {
        fr_diagnostics_add(diagnostics, texts, "texts: should be a map from name to topics and labels, at most %d",
                           PIPELINE_TEXTS_MAX);
        return;
    }
    for (int i = 0; i < texts->count; i++)
        read_text(texts->keys[i], texts->values[i], config, diagnostics);
}
