/* The keys of `entities`, `features`, `lists` and `feature_sets`, for the reference. What a value means: docs/values.md. */
#include <freshet/aggregators.h>

#define SPAN "whole seconds, 1s or more"
#define WINDOWS "1 to 16 spans of whole seconds, 24s or more"
#define SKETCH_WINDOWS "1 to 16 spans of whole seconds, 6s or more"

static const struct fr_setting table[] = {
    {"topic", NULL, "a topic", "of its rows; compacted by key, and of nothing else"},
    {"key", "item_id", "item_id, creator_id, room_id, category_id, user_id",
     "what the keys of its records are; user_id and not category_id with blocks: true"},
    {"fields", NULL, "list of 1 to 16 names, or a map from name to type",
     "required but with blocks: true; what a row has: number, integer, id (a text or number) or ids (a list of at most 16); of "
     "those only named, tags are ids, "
     "language is an id, and all others are numbers"},
    {"partitions", "", "1 to 1024", "given: the topic is made with so many when missing"},
    {"off_when", "", "a condition",
     "on the row's own fields, as in \"stock == 0\": such items are left out of recall; of item_id only"},
    {"blocks", "false", "true, false",
     "whoever has a row is blocked, as by AdminService.Block, until a tombstone; such a table has no fields"},
};

static const struct fr_setting entity[] = {
    {"key", NULL, "list of user_id, item_id, creator_id, room_id, category_id, region, scene, position, TABLE.FIELD",
     "the event fields that name one, or what a table has for the event, of type id or ids, as in item_info.tags; a key of "
     "several with the user in it begins with the user"},
    {"parent", "", "an entity",
     "what a ratio's prior is drawn to: named by the own key, or by what an item or a room remembers"},
    {"retention", "30d", "0 to 36500d", "how long after its last event it is present; 0: for ever"},
};

static const struct fr_setting common[] = {
    {"entity", NULL, "an entity", "whose state it is"},
    {"aggregate", NULL,
     "count, sum, mean, min, max, decayed, last, ratio, gauge, series, distinct, quantile, coec, watch_rank, ips, capped, "
     "returning, burst, "
     "actor, share, gini, quota, covisit, entropy, top_values, budget, lift",
     "what is made of the events; each has keys of its own, below"},
    {"actions", "all", "list of actions",
     "the events that count, by action; not of ratio, share, gauge, coec, match, actor, covisit, budget and lift"},
    {"scenes", "all", "list of scenes", "and by scene; not of ratio, share, match, actor, covisit, budget and lift"},
    {"where", "all", "a condition",
     "and by their fields, as in \"value >= 3 and attributes.source == 'ad'\"; not of ratio, share, "
     "match, actor, covisit, budget and lift"},
    {"emit", "[value]", "list of value, n, sd, age, lower, upper, chain, deficit",
     "columns: the value; n, the events in it; sd of a ratio; age, the seconds since the last one; lower and upper bounds of a "
     "ratio, and the counts of what it is drawn to; deficit of a share, what it has not of its target. Which an aggregate has: "
     "above"},
};

static const struct fr_setting count[] = {
    {"windows", NULL, WINDOWS, "one column each"},
};
static const struct fr_setting measures[] = {
    {"windows", NULL, WINDOWS, "one column each"},
    {"of", "value", "value, duration_s", "the event field"},
};
static const struct fr_setting sum[] = {
    {"minus", "", "list of some of its actions", "which are taken off, whatever their sign: refunds from purchases"},
};
static const struct fr_setting returning[] = {
    {"windows", NULL, SKETCH_WINDOWS, "one column each; 7d has panes of a day"},
    {"visits", "2", "2 to 255", "in how many panes of the window a user came who counts"},
};
static const struct fr_setting quantile[] = {
    {"windows", NULL, SKETCH_WINDOWS, "one column each"},
    {"of", "value", "value, duration_s", "the event field"},
    {"q", NULL, "0 to 1", "which one: 0.5 is the median"},
};
static const struct fr_setting distinct[] = {
    {"windows", NULL, SKETCH_WINDOWS, "one column each"},
    {"of", "user_id", "user_id, item_id, creator_id, room_id, category_id, region, request_id, event_id",
     "the ids that are counted"},
};
static const struct fr_setting decayed[] = {
    {"half_life", NULL, SPAN, "after which an event weighs half"},
    {"weights", "1 each", "map from action to 0.1 to 10000", "what an event weighs at first"},
};
static const struct fr_setting ratio[] = {
    {"of", NULL, "[numerator, denominator]", "two counts, sums or ips of the same entity, with these windows"},
    {"windows", NULL, WINDOWS, "one column each"},
    {"prior", "", "parent, global, or a list of at most three entities",
     "what it is drawn to while there are few events: the same of the parent, of all events, or of [creator, category], each "
     "of "
     "them drawn to the next, the last one to all"},
    {"strength", "0", "0 to 1000000000000", "how many events the prior weighs; goes with prior"},
    {"z", "1.96", "0.1 to 10", "how many standard deviations lower and upper are away; 1.96: 95 of 100 true rates lie between"},
};
static const struct fr_setting budget[] = {
    {"of", NULL, "[spent, whole]", "two counts, sums or ips of the same entity, with these windows"},
    {"windows", NULL, WINDOWS, "one column each"},
    {"share", "0", "0 to 1", "which part of the whole may be spent"},
    {"plus", "0", "0 to 1000000000000", "and how much beside it"},
};
static const struct fr_setting lift[] = {
    {"of", NULL, "a field of a table by item_id, of type id or ids", "the labels, as in item_info.tags"},
    {"from", NULL, "a covisit of the same entity", "whose partners' labels count"},
    {"against", NULL, "a count of the entity with that key",
     "how common a label is: events of it among all that the count takes"},
    {"windows", NULL, WINDOWS, "one, which the count has, too"},
    {"strength", "1", "0 to 1000000000000", "the weight of pairs that draws a lift to 1"},
    {"limit", "10", "1 to 100", "labels in a reply"},
};
static const struct fr_setting coec[] = {
    {"shown", "[impression]", "list of actions", "what shows an entity at a position"},
    {"clicked", "[click]", "list of actions", "and what is wanted of it there"},
    {"windows", NULL, SKETCH_WINDOWS, "one column each; the curve has the same"},
    {"positions", "50", "1 to 100", "beyond this one, a position counts as this one"},
    {"curve", "global", "global, scene", "whether each scene has a curve of its own"},
    {"strength", "0", "0 to 1000000000000", "how many expected clicks draw the value to 1"},
};
static const struct fr_setting watch_rank[] = {
    {"windows", NULL, SKETCH_WINDOWS, "one column each; what it is held against has the same"},
    {"strength", "0", "0 to 1000000000000", "how many watches draw the value to 0.5"},
};
static const struct fr_setting ips[] = {
    {"windows", NULL, WINDOWS, "one column each"},
    {"of", "each is 1", "value, duration_s", "the event field"},
    {"floor", "0.01", "0.0001 to 1", "a lower propensity counts as this one"},
    {"weights", "1 each", "map from action to 0.1 to 10000", "by what an event is multiplied"},
};
static const struct fr_setting capped[] = {
    {"windows", NULL, SKETCH_WINDOWS, "one column each"},
    {"cap", NULL, "1 to 255", "how many events of one user count in a pane"},
};
static const struct fr_setting burst[] = {
    {"bin", NULL, SPAN, "length of a bin"},
    {"bins", "60", "10 to 1000", "how many say what is usual"},
    {"slack", "1", "0 to 1000", "how far above the usual, in spreads, is not yet more"},
};
static const struct fr_setting actor[] = {
    {"of", NULL, "a last feature of the same entity", "the sequence that is judged"},
    {"show", "score", "rate, repetition, regularity, score",
     "events a minute; the share of one id; how even the intervals are; all three"},
    {"field", "item_id", "item_id, user_id, creator_id, room_id, category_id, region", "what is repeated"},
    {"events", "50", "2 to 256", "so many of the latest records"},
    {"fast", "10", "1e-06 to 1000000", "the rate that makes half a score"},
};
static const struct fr_setting share[] = {
    {"of", NULL, "a count, sum or ips of the same entity, with these windows", "what it has a share of"},
    {"windows", NULL, WINDOWS, "one column each"},
    {"scope", "global", "global, parent", "of what all of its kind have, or those of its parent"},
    {"targets", "", "map from id to 0 to 1, at most 64",
     "how much each is to have, by the field of the key that the scope has not; together 1"},
};
static const struct fr_setting gini[] = {
    {"windows", NULL, SKETCH_WINDOWS, "one column each"},
    {"of", "creator_id", "creator_id, item_id, room_id, category_id, region, user_id", "its members"},
};
static const struct fr_setting quota[] = {
    {"quota", NULL, "1 to 1000000000", "how many of the events a new one is to have"},
    {"newer_than", NULL, "whole seconds, 24s or more", "for how long it is new"},
    {"forgotten_after", "30d", "whole seconds, more than newer_than", "and new again when nothing came of it for so long"},
};
static const struct fr_setting last[] = {
    {"limit", NULL, "1 to 10000", "events kept, the latest"},
    {"fields", NULL, "list of event fields", "what is shown of each"},
    {"seen", "false", "true, false", "its items are what recall leaves out for the user"},
    {"match", "", "category_id, creator_id, room_id, item_id", "makes it a search of another sequence: see next"},
};
static const struct fr_setting match[] = {
    {"of", NULL, "a last feature of the user", "the sequence that is searched"},
    {"match", NULL, "category_id, creator_id, room_id, item_id", "the field in which an event and a candidate are the same"},
    {"limit", NULL, "1 to 10000", "events shown for each candidate"},
};
static const struct fr_setting gauge[] = {
    {"up", NULL, "list of actions", "a user is on after one of these"},
    {"down", "", "list of actions", "and off after one of these"},
    {"timeout", NULL, "whole seconds, 24s or more", "and off when nothing came for so long"},
};
static const struct fr_setting series[] = {
    {"bin", NULL, SPAN, "length of a bin"},
    {"bins", NULL, "1 to 10000", "how many, for each of the actions"},
};
static const struct fr_setting entropy[] = {
    {"of", NULL, "a feature with aggregate: last, a dot, a field",
     "whose records are counted by which field, as in user_recent.category_id: category_id, creator_id, item_id, room_id, "
     "region, "
     "action, scene"},
};
static const struct fr_setting top_values[] = {
    {"of", NULL, "as of entropy", "whose records are counted by which field"},
    {"limit", "10", "1 to 100", "how many values, the most frequent first"},
};
static const struct fr_setting covisit[] = {
    {"from", NULL, "a last feature of the user", "the sequence whose neighbours are paired"},
    {"within", NULL, SPAN, "how far apart in time"},
    {"half_life", NULL, SPAN, "after which a pair weighs half"},
    {"limit", NULL, "1 to 1000", "partners in a reply"},
};

static const struct fr_setting list[] = {
    {"of", NULL, "an entity", "what is ranked"},
    {"rank", NULL, "a decayed feature of it, or a quota",
     "by what; by a quota it is a pool: what is new, by what is left of it"},
    {"scopes", NULL, "list of global, category_id, region, scene, creator_id, room_id",
     "of all, and of each value of an event's field; each but global costs about as much memory as the entity, per value that "
     "it has"},
    {"limit", NULL, "1 to 1000", "the most that a reply has"},
    {"weigh", "", "a column of it",
     "by which sums are multiplied, as in click_rate.24h.sd; what is worth nothing then is left out"},
    {"without", "", "a field of a table by its key", "who has it is left out, as in item_info.tags"},
};

static const struct fr_setting set[] = {
    {"user", "", "list of features", "columns of the user"},
    {"item", "", "list of features", "columns of each item, and of its creator, room and category"},
    {"cross", "", "list of features", "columns of the user with each item"},
};

static const struct fr_settings sections[] = {
    FR_SETTINGS("tables.NAME", NULL, "What topics of rows say of items, creators, rooms and categories: [tables](tables.md).",
                table),
    FR_SETTINGS("entities.NAME", NULL, "Each kind of thing that has state.", entity),
    FR_SETTINGS("features.NAME", NULL, "What is kept of an entity.", common),
    FR_SETTINGS("features.NAME", "count", "", count),
    FR_SETTINGS("features.NAME", "sum, mean, min, max", "", measures),
    FR_SETTINGS("features.NAME", "sum", "", sum),
    FR_SETTINGS("features.NAME", "quantile", "", quantile),
    FR_SETTINGS("features.NAME", "distinct", "", distinct),
    FR_SETTINGS("features.NAME", "decayed", "", decayed),
    FR_SETTINGS("features.NAME", "ratio", "", ratio),
    FR_SETTINGS("features.NAME", "last", "", last),
    FR_SETTINGS("features.NAME", "last with match", "", match),
    FR_SETTINGS("features.NAME", "gauge", "", gauge),
    FR_SETTINGS("features.NAME", "series", "", series),
    FR_SETTINGS("features.NAME", "coec", "Clicks over position-expected clicks.", coec),
    FR_SETTINGS("features.NAME", "watch_rank",
                "How long it is watched beside what is as long: value of duration_s. Without actions, of watch alone.",
                watch_rank),
    FR_SETTINGS("features.NAME", "ips", "A sum by inverse propensity.", ips),
    FR_SETTINGS("features.NAME", "capped", "A count in which nobody counts much.", capped),
    FR_SETTINGS("features.NAME", "returning", "Users who came again.", returning),
    FR_SETTINGS("features.NAME", "burst", "More of late than usual.", burst),
    FR_SETTINGS("features.NAME", "actor", "How much like a machine.", actor),
    FR_SETTINGS("features.NAME", "share", "How much of its scope it has: [ledger](ledger.md).", share),
    FR_SETTINGS("features.NAME", "gini", "How unevenly members have its events: [ledger](ledger.md).", gini),
    FR_SETTINGS("features.NAME", "quota", "What a new one has not been shown yet: [ledger](ledger.md).", quota),
    FR_SETTINGS("features.NAME", "entropy", "In bits; 0 of one value, or none.", entropy),
    FR_SETTINGS("features.NAME", "top_values", "A sequence: the field's values, and how often each is there, as count.",
                top_values),
    FR_SETTINGS("features.NAME", "budget", "What is left to spend; below 0 when too much is spent.", budget),
    FR_SETTINGS("features.NAME", "lift", "Read by RecallService.Labels; it has no column.", lift),
    FR_SETTINGS("features.NAME", "covisit", "Read by RecallService.Related; it has no column.", covisit),
    FR_SETTINGS("lists.NAME", NULL, "What RecallService.Trending answers.", list),
    FR_SETTINGS("feature_sets.NAME", NULL, "Columns that a ranker asks for by one name.", set),
};

const struct fr_settings *agg_settings(int *section_count)
{
    *section_count = (int)(sizeof sections / sizeof sections[0]);
    return sections;
}
