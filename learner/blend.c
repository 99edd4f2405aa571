/*
 * `blend`: for each scene a sum of products of probabilities, "click^1 * buy^2" or "0.3*click + 2*buy". Compiled to coefficients and
 * powers, which the ranker of a pulled copy can do as well.
 */
#include "models.h"

#include <freshet/event.h>
#include <freshet/text.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct parser {
    const char *at;
    const struct learner_model *model;
    char mistake[200];
};

static void skip_spaces(struct parser *parser)
{
    parser->at += strspn(parser->at, " \t");
}

static bool fail(struct parser *parser, const char *what)
{
    snprintf(parser->mistake, sizeof parser->mistake, "%s at '%.40s'", what, parser->at);
    return false;
}

static bool parse_number(struct parser *parser, double *value)
{
    size_t length;

    skip_spaces(parser);
    length = strspn(parser->at, "0123456789.eE");
    if (!fr_text_double(fr_slice(parser->at, length), value) || !isfinite(*value))
        return fail(parser, "a number is missing");
    parser->at += length;
    return true;
}

static bool parse_task(struct parser *parser, struct learner_term *term)
{
    const char *names[LEARNER_TASKS_MAX] = {0};
    size_t length = strspn(parser->at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    struct fr_slice name = fr_slice(parser->at, length);
    double power = 1;
    int task = 0;

    if (length == 0)
        return fail(parser, "a task or a number is missing");
    for (int i = 0; i < parser->model->task_count; i++)
        names[i] = parser->model->tasks[i].name;
    while (task < parser->model->task_count && !fr_slice_is(name, names[task]))
        task++;
    if (task == parser->model->task_count) {
        const char *nearest = fr_text_nearest(name, names, task);

        snprintf(parser->mistake, sizeof parser->mistake, "no task '%.*s'%s%s%s", (int)(length < 64 ? length : 64), parser->at,
                 nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
        return false;
    }
    parser->at += length;
    skip_spaces(parser);
    if (*parser->at == '^') {
        parser->at++;
        if (!parse_number(parser, &power))
            return false;
    }
    term->powers[task] += power;
    return true;
}

static bool parse_term(struct parser *parser, struct learner_term *term)
{
    *term = (struct learner_term){.coefficient = 1};
    for (;;) {
        double factor;

        skip_spaces(parser);
        if ((*parser->at >= '0' && *parser->at <= '9') || *parser->at == '.') {
            if (!parse_number(parser, &factor))
                return false;
            term->coefficient *= factor;
        } else if (!parse_task(parser, term)) {
            return false;
        }
        skip_spaces(parser);
        if (*parser->at != '*')
            return true;
        parser->at++;
    }
}

static bool parse_blend(struct parser *parser, struct learner_blend *blend)
{
    for (;;) {
        if (blend->term_count == LEARNER_TERMS_MAX)
            return fail(parser, "too many terms");
        if (!parse_term(parser, &blend->terms[blend->term_count++]))
            return false;
        if (*parser->at == '\0')
            return true;
        if (*parser->at != '+')
            return fail(parser, "expected *, + or ^");
        parser->at++;
    }
}

static void read_blend(const struct learner_reading *reading, const char *model_where, struct fr_yaml *key,
                       struct fr_yaml *formula, struct learner_model *model, struct learner_blend *rest)
{
    const char *names[LEARNER_SCENES + 1] = {"default"};
    bool is_rest = fr_text_equal_nocase(key->text, "default");
    int scene = is_rest ? 0 : proto_scene_number(key->text);
    struct learner_blend blend = {0};
    struct parser parser = {.model = model};
    char where[LEARNER_WHERE_MAX];

    snprintf(where, sizeof where, "%s.blend", model_where);
    for (uint32_t i = 1; i < PROTO_SCENES; i++)
        names[i] = proto_scene_name(i);
    if (!is_rest && (scene < 1 || scene >= PROTO_SCENES)) {
        learner_reading__unknown(reading, key, where, "scene", names, PROTO_SCENES);
        return;
    }
    if (formula->kind != FR_YAML_SCALAR) {
        fr_diagnostics_add(reading->diagnostics, formula, "%s.%.64s: should be a formula, \"click^1 * buy^2\"", where,
                           (const char *)key->text.bytes);
        return;
    }
    parser.at = formula->text.bytes;
    if (!parse_blend(&parser, &blend)) {
        fr_diagnostics_add(reading->diagnostics, formula,
                           "%s.%.64s: %s; write products of tasks, \"click^1 * buy^2 + 0.1 * like\"", where,
                           (const char *)key->text.bytes, parser.mistake);
        return;
    }
    *(is_rest ? rest : &model->blends[scene]) = blend;
}

void learner_blends__read(const struct learner_reading *reading, const char *where, struct fr_yaml *yaml,
                          struct learner_model *model)
{
    struct learner_blend rest = {0};

    if (!yaml)
        return;
    if (yaml->kind != FR_YAML_MAP) {
        fr_diagnostics_add(reading->diagnostics, yaml, "%s.blend: should be a map from scene to a formula, \"click^1 * buy^2\"",
                           where);
        return;
    }
    for (int i = 0; i < yaml->count; i++)
        read_blend(reading, where, yaml->keys[i], yaml->values[i], model, &rest);
    for (int i = 0; i < LEARNER_SCENES; i++) {
        if (model->blends[i].term_count == 0)
            model->blends[i] = rest;
    }
}
