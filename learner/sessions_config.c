/* `sessions`: what of users' events is a token, and where a session ends. */
#include "models.h"

#include <freshet/event.h>
#include <freshet/v1/event.pb-c.h>

static const char *const pair_keys[] = {"actions", "least", "within", "slots", "rate"};
static const char *const session_keys[] = {"topic", "actions", "gap", "tokens", "duration", "bytes", "pairs", "slates"};
#define COUNT_OF(array) ((int)(sizeof(array) / sizeof((array)[0])))

#define ACTION(name) (UINT64_C(1) << FRESHET__V1__ACTION__##name)

/* All that users do, but for impressions, of which there would be too many, and what rooms and items do. */
static const uint64_t done_by_users = ~(ACTION(ACTION_UNSPECIFIED) | ACTION(IMPRESSION) | ACTION(ROOM_START) |
                                        ACTION(ROOM_END) | ACTION(ITEM_ON) | ACTION(ITEM_OFF));

static void read_pairs(const struct learner_reading *reading, struct fr_yaml *yaml, struct learner_sessions *sessions)
{
    struct fr_diagnostics *diagnostics = reading->diagnostics;

    sessions->within = 5;
    sessions->slots = 65536;
    sessions->rate = 0.01;
    if (!yaml)
        return;
    if (yaml->kind != FR_YAML_MAP) {
        fr_diagnostics_add(diagnostics, yaml, "sessions.pairs: should be a map with actions");
        return;
    }
    sessions->has_pairs = true;
    learner_reading__actions(reading, "sessions.pairs", yaml, fr_yaml_get(yaml, "actions"), &sessions->pair_actions);
    fr_yaml_double(yaml, "least", 0, 86400, &sessions->least_s, diagnostics);
    fr_yaml_int(yaml, "within", 1, 100, &sessions->within, diagnostics);
    fr_yaml_int(yaml, "slots", 1024, 1 << 24, &sessions->slots, diagnostics);
    fr_yaml_double(yaml, "rate", 1e-6, 1, &sessions->rate, diagnostics);
    fr_yaml_finish(yaml, "sessions.pairs", pair_keys, COUNT_OF(pair_keys), diagnostics);
}

void learner_sessions__read(const struct learner_reading *reading, struct fr_yaml *yaml, struct learner_sessions *sessions)
{
    struct fr_diagnostics *diagnostics = reading->diagnostics;
    struct fr_yaml *actions;

    *sessions = (struct learner_sessions){
        .gap_ms = 1800000, .duration_ms = INT64_C(6) * 3600000, .tokens = 200, .bytes = UINT64_C(256) << 20};
    if (!yaml)
        return;
    if (yaml->kind != FR_YAML_MAP) {
        fr_diagnostics_add(diagnostics, yaml, "sessions: should be a map; {} has sessions as they are by default");
        return;
    }
    sessions->topic = "freshet.sessions";
    fr_yaml_text(yaml, "topic", &sessions->topic, diagnostics);
    if (!sessions->topic[0])
        fr_diagnostics_add(diagnostics, fr_yaml_get(yaml, "topic"), "sessions.topic: empty; name a topic");
    actions = fr_yaml_get(yaml, "actions");
    if (actions)
        learner_reading__actions(reading, "sessions", yaml, actions, &sessions->actions);
    else
        sessions->actions = done_by_users;
    fr_yaml_span(yaml, "gap", 1000, 86400000, &sessions->gap_ms, diagnostics);
    fr_yaml_int(yaml, "tokens", 2, 1000, &sessions->tokens, diagnostics);
    fr_yaml_span(yaml, "duration", 1000, INT64_C(7) * 86400000, &sessions->duration_ms, diagnostics);
    fr_yaml_size(yaml, "bytes", 1 << 20, UINT64_C(1) << 40, &sessions->bytes, diagnostics);
    fr_yaml_bool(yaml, "slates", &sessions->has_slates, diagnostics);
    if (sessions->has_slates && !actions)
        sessions->actions |= ACTION(IMPRESSION);
    else if (sessions->has_slates && (sessions->actions & ACTION(IMPRESSION)) == 0)
        fr_diagnostics_add(diagnostics, fr_yaml_get(yaml, "slates"),
                           "sessions.slates: tells what was shown, so impression is one of sessions.actions; add it");
    read_pairs(reading, fr_yaml_get(yaml, "pairs"), sessions);
    fr_yaml_finish(yaml, "sessions", session_keys, COUNT_OF(session_keys), diagnostics);
}
