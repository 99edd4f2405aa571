/* The keys of `learner` and `models`, for the reference. What the model computes: docs/model.md. */
#include <freshet/learner.h>

static const struct fr_setting learner[] = {
    {"serve_ttl", "10m", "1s to 1d", "how far served rows and their impression may lie apart, in event time"},
    {"join_bytes", "256MiB", "1MiB to 1TiB",
     "bound on rows and impressions that wait, and on examples that Kafka has not taken"},
    {"served", "freshet.served", "a topic", "served rows; made when missing"},
    {"examples", "freshet.examples", "a topic", "finished examples; made when missing"},
};

static const struct fr_setting model[] = {
    {"feature_set", NULL, "one of feature_sets", "whose matrix rows are made of"},
    {"bits", "22", "10 to 30", "2^bits hashed coordinates"},
    {"factors", "8", "0 to 64", "of each coordinate; 0: linear"},
    {"dense", "all", "all, none, list of features or columns, or map from them (and all, the rest) to standard, log or raw",
     "numbers that go in as they are, and how they are scaled"},
    {"sparse", "none", "list of user_id, item_id, room_id, scene, item.creator_id, item.room_id, item.category_id, or a column",
     "what is hashed; a column counts by its bucket, a list in the list is a cross of up to 4"},
    {"blend", "the first task", "map from scene, or default, to a formula",
     "the score: \"click^1 * buy^2\", \"0.3*click + buy\""},
    {"publish", "100ms", "10ms to 1h", "how often what was learned becomes a version"},
    {"order", "log", "log, arrival",
     "which examples are learned first: by the log's clock, the same after any crash; or as they are made, some 0.1 s earlier"},
    {"shadow", "none", "map, as optimiser", "where these differ: a second model learns beside the live one"},
};

static const struct fr_setting task[] = {
    {"actions", NULL, "list of actions", "that make an example positive"},
    {"policy", "wait", "wait, fnw, sliver, first_only", "when a label is told"},
    {"window", "5m", "1s to 30d", "how long after the impression an outcome counts"},
    {"negatives", "1", "1e-06 to 1", "the share of negatives that is kept"},
    {"label", "outcome", "outcome, watch_rank",
     "1 for an outcome; or, of watches, its rank among those of items about as long, 0 to 1 (docs/examples.md)"},
};

static const struct fr_setting optimiser[] = {
    {"alpha", "0.1", "1e-06 to 100", "step of the linear part"},
    {"beta", "1", "1e-06 to 1000000", "how slowly the first steps shrink"},
    {"l1", "0", "0 to 1000000", "pulls weights to nothing"},
    {"l2", "0", "0 to 1000000", "pulls weights to small ones"},
    {"factor_rate", "0.05", "1e-06 to 10", "step of the factors"},
    {"factor_l2", "1e-05", "0 to 10", "pulls factors to small ones"},
    {"admit", "1", "1 to 200", "examples of a coordinate before it has a weight"},
    {"admit_factors", "10", "1 to 200", "and before it has factors"},
    {"expire", "30d", "0 to 3650d", "a coordinate that no example had for so long goes; 0: never"},
};

static const struct fr_setting drift[] = {
    {"current", "1h", "1m to 30d", "half-life of what examples look like of late …"},
    {"reference", "7d", "1m to 365d", "… and of what they are compared with"},
};

static const struct fr_setting sessions[] = {
    {"topic", "freshet.sessions", "a topic", "finished sessions; made when missing"},
    {"actions", "what users do, but for impressions", "list of actions", "that are tokens"},
    {"gap", "30m", "1s to 1d", "a pause longer than this ends a session"},
    {"tokens", "200", "2 to 1000", "of a record: a longer session is cut"},
    {"duration", "6h", "1s to 7d", "from the first token to the last of a record: a longer session is cut"},
    {"slates", "false", "true or false", "impressions are tokens, and records tell what became of each request's items"},
    {"bytes", "256MiB", "1MiB to 1TiB", "bound on what waits for its end, and on records that Kafka has not taken"},
};

static const struct fr_setting pairs[] = {
    {"actions", NULL, "list of actions", "that are positive: their items go together"},
    {"least", "0", "0 to 86400", "seconds of a watch that is positive"},
    {"within", "5", "1 to 100", "tokens that the two of a pair may be apart"},
    {"slots", "65536", "1024 to 16777216", "of the frequencies, 16 bytes each"},
    {"rate", "0.01", "1e-06 to 1", "of their moving averages"},
};

static const struct fr_settings sections[] = {
    FR_SETTINGS("learner", NULL, "The join of what was served with what happened.", learner),
    FR_SETTINGS("models.NAME", NULL, "Each online model.", model),
    FR_SETTINGS("models.NAME.tasks.NAME", NULL, "1 to 16 of a model.", task),
    FR_SETTINGS("models.NAME.optimiser", NULL, "", optimiser),
    FR_SETTINGS("models.NAME.drift", NULL, "How examples of late differ from those of long: `freshet model report`.", drift),
    FR_SETTINGS("sessions", NULL, "What users did in a row, as a topic; without it there is none (docs/sequences.md).",
                sessions),
    FR_SETTINGS("sessions.pairs", NULL, "Items that went together, and how frequent they are; without it there are none.",
                pairs),
};

const struct fr_settings *learner_settings(int *section_count)
{
    *section_count = (int)(sizeof sections / sizeof sections[0]);
    return sections;
}
