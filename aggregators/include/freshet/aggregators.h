/*
 * What state means: the catalogue of entities and features, how an event changes state (the update plan) and how a request
 * reads it (read plans). Both plans are compiled once from the configuration; lanes and server loops only follow them. Time
 * comes in as an argument: the same events give the same state in any order, in any batches, on any number of lanes.
 *
 * Values mean exactly what docs/values.md says. No function here reads a clock, and none but agg_batch_load() and agg_read_load()
 * waits for a disk.
 */
#ifndef FRESHET_AGGREGATORS_H
#define FRESHET_AGGREGATORS_H

#include <freshet/arena.h>
#include <freshet/buffer.h>
#include <freshet/error.h>
#include <freshet/event.h>
#include <freshet/metrics.h>
#include <freshet/setting.h>
#include <freshet/store.h>
#include <freshet/table.h>
#include <freshet/yaml.h>

enum { AGG_ENTITIES_MAX = 32, AGG_FEATURES_MAX = 1024, AGG_WINDOWS_MAX = 16, AGG_ITEMS_MAX = 2000 };

/* ---- The catalogue: configuration, checked ---- */

struct agg_catalogue;

/* The keys of its sections, for the reference. */
const struct fr_settings *agg_settings(int *section_count);

struct agg_dedupe { /* node.dedupe */
    int ids; /* kept per user */
    int64_t horizon_ms;
};

/*
 * Reads `entities`, `features`, `lists` and `feature_sets` from the configuration's root. All mistakes go to `diagnostics`, and
 * then NULL is returned. The catalogue keeps nothing of `root`. Any thread. Free with agg_catalogue_free().
 */
struct agg_catalogue *agg_catalogue_parse(struct fr_yaml *root, const struct agg_dedupe *dedupe,
                                          struct fr_diagnostics *diagnostics);
void agg_catalogue_free(struct agg_catalogue *catalogue);

/* For `freshet check`: per entity kind and feature the bytes that one full entity takes in memory and on disk, as text lines. */
void agg_catalogue_estimate(const struct agg_catalogue *catalogue, struct fr_buffer *out);

struct agg_bytes { /* of one entity */
    double memory, disk;
};

/*
 * What one entity of the kind takes, expected, when so many events a second come to it, evenly, and each counts in every feature;
 * uneven ones take less on average. 0: one that is only present. HUGE_VAL: one that is full. The kinds: 0 … entity_count − 1.
 */
struct agg_bytes agg_catalogue_bytes(const struct agg_catalogue *catalogue, int entity_index, double events_per_s);
int agg_catalogue_entity_count(const struct agg_catalogue *catalogue); /* the node's own kinds come last */
const char *agg_catalogue_entity_name(const struct agg_catalogue *catalogue, int entity_index);

/* ---- What a changed catalogue does to the state of a store ---- */

enum agg_fate {
    AGG_KEPT,
    AGG_KEPT_LESS, /* goes on with fewer windows, a smaller limit, a shorter retention */
    AGG_EMPTY, /* another meaning, or a return after removal: starts empty, and the old state is read no more */
    AGG_NEW,
    AGG_REMOVED
};

struct agg_reason { /* one thing that changed; `was` or `now` is empty where there is none */
    const char *what; /* "windows", "actions", "key" … */
    const char *was, *now;
};

struct agg_change {
    const char *name;
    enum agg_fate fate;
    bool is_hidden; /* not in the configuration: the node made it for itself */
    uint32_t generation; /* of a feature, as it will be; 0 when removed */
    uint8_t kind_was; /* of an entity: what its keys on disk begin with; 0: none */
    struct agg_reason *reasons;
    int reason_count;
};

struct agg_comparison {
    struct agg_change *entities, *features; /* as configured, then the removed ones */
    int entity_count, feature_count;
};

/*
 * What agg_open() would keep of the store's state under this catalogue; changes nothing. All of the result is in `arena`.
 * FR_CORRUPT as agg_open(); FR_EXHAUSTED: the arena's limit.
 */
FR_CHECKED bool agg_catalogue_compare(const struct agg_catalogue *catalogue, struct store *store, struct fr_arena *arena,
                                      struct agg_comparison *comparison, struct fr_err *err);

/* ---- The open aggregators: catalogue + store ---- */

struct agg;

/*
 * The codec to open the store with. It borrows the catalogue, also after agg_open() took that over; the store calls it last
 * before agg_close(): no lane, reader, epoch or scan may come after that, only store_close().
 */
struct store_codec agg_codec(struct agg_catalogue *catalogue);

/*
 * Compares the catalogue with the one that the store kept, gives each feature its slot (a changed feature is a new generation and
 * starts empty) and puts the registry for the next epoch. `stream_time_ms`: S of the store, 0 when new. Takes over the
 * catalogue. FR_CORRUPT when the kept registry makes no sense.
 */
FR_CHECKED bool agg_open(struct agg_catalogue **catalogue, struct store *store, int64_t stream_time_ms,
                         struct fr_metrics *metrics, struct agg **agg, struct fr_err *err);
void agg_close(struct agg *agg); /* before store_close(); NULL is fine */

/* What people and tables take out: agg_block() below, and agg_table_info. */
enum agg_blocked { AGG_BLOCKED_ITEM, AGG_BLOCKED_ROOM, AGG_BLOCKED_CREATOR, AGG_BLOCKED_USER, AGG_BLOCKED_KINDS };

/* ---- Tables: rows that topics tell of ids (proto/include/freshet/table.h) ---- */

struct agg_table_info {
    const char *name, *topic;
    int partitions; /* to make the topic with; 0: it must exist */
    const struct proto_table *layout;
    uint64_t generation; /* another one: the table is another, and its topic is read from the beginning; 0 before agg_open() */
    bool is_blocking; /* whoever has a row is blocked */
    enum agg_blocked blocks; /* then: what */
    uint32_t blocked; /* then: how many ids are, now */
    uint32_t
        left_out; /* then: how many more rows there were at agg_open() than it can keep: those of the greatest ids block nothing */
};
int agg_catalogue_table_count(const struct agg_catalogue *catalogue);
struct agg_table_info agg_catalogue_table_at(const struct agg_catalogue *catalogue, int index);
int agg_table_count(const struct agg *agg);
struct agg_table_info agg_table_at(const struct agg *agg, int index);

struct agg_table_row {
    struct proto_table_row row;
    int table; /* index */
};
struct agg_table_tally { /* rows, added to */
    uint64_t changed; /* new ones, too */
    uint64_t same; /* told again */
    uint64_t deleted;
    uint64_t unknown; /* tombstones of what there was not */
    uint64_t
        left_out; /* of those before: rows of a table that blocks which block nothing, because it has no room for more ids */
};

/* Loads what of rows[0..count) only the disk has; on a visit that lasts until they are applied. Blocks on the disk. */
FR_CHECKED bool agg_table_rows_load(struct agg *agg, const struct agg_table_row *rows, int count, struct fr_err *err);

/*
 * Each row is, from then on, what its record says; later ones of a key take the place of earlier ones, and what it blocks is blocked.
 * Inside the gate, one thread at a time. FR_UNAVAILABLE: out of memory in the middle, as agg_batch_apply().
 */
FR_CHECKED bool agg_table_rows_apply(struct agg *agg, const struct agg_table_row *rows, int count,
                                     struct agg_table_tally *tally, struct fr_err *err);

/* ---- Applying ---- */

/* One lane's scratch: groups, keys, prefetch lists. One thread. */
struct agg_lane;
struct agg_lane *agg_lane_new(struct agg *agg, int batch_max); /* NULL when out of memory */
void agg_lane_free(struct agg_lane *lane);

enum agg_outcome { AGG_APPLIED, AGG_DUPLICATE };

struct agg_tally { /* of one batch, added to */
    uint64_t applied;
    uint64_t duplicates;
    uint64_t dedupe_unchecked; /* applied although a duplicate could no longer have been told */
    uint64_t too_late; /* shares of events that no window can count any more (other state still took them) */
    uint64_t corrupt; /* shares dropped because the entity is quarantined */
};

/*
 * Finds the keys that events[0..count) touch and loads those that only the disk has. Outside the gate; blocks on the disk.
 * FR_EXHAUSTED: more events than the lane was made for. Call it before each agg_batch_apply(), with the same events.
 */
FR_CHECKED bool agg_batch_load(struct agg_lane *lane, const struct proto_event *events, int count, struct fr_err *err);

/*
 * Applies the same events: users first, which drops duplicates, then every other entity, each locked once. Inside the gate.
 * `horizon_ms`: state older than what a read at this time can see is merged, pruned and forgotten (S − max_future; S in event
 * mode; never goes back; a read's time_ms must not be below it). outcomes[i] says what became of events[i].
 * FR_EXHAUSTED: more events than the lane was made for, nothing applied. FR_UNAVAILABLE: out of memory in the middle; what is
 * in memory is spoiled, must not become an epoch, and the node has to restart from the last one, which is exact.
 */
FR_CHECKED bool agg_batch_apply(struct agg_lane *lane, const struct proto_event *events, int count, int64_t horizon_ms,
                                enum agg_outcome *outcomes, struct agg_tally *tally, struct fr_err *err);

/* ---- Reading ---- */

/* A read plan: columns in order, fixed once compiled. Immutable; any thread. */
struct agg_plan;

/*
 * Compiles `feature_set` ("" for none) followed by names[0..count): "f", "f.window", companions, "item.creator_id". Neither: every
 * feature of the catalogue. A `last` feature becomes a sequence, not a column. Unknown names are FR_BAD_INPUT with the nearest.
 * Plans are cached by what was asked: the result is shared and belongs to `agg`. FR_EXHAUSTED: clients asked for too many
 * different lists.
 */
FR_CHECKED bool agg_plan_get(struct agg *agg, const char *feature_set, char *const *names, int count,
                             const struct agg_plan **plan, struct fr_err *err);

int agg_plan_user_columns(const struct agg_plan *plan, const char *const **names);
int agg_plan_item_columns(const struct agg_plan *plan, const char *const **names);

struct agg_request {
    uint64_t user_id; /* 0: none */
    const uint64_t *item_ids;
    int item_count;
    uint64_t room_id; /* 0: each item's remembered room */
    int64_t time_ms; /* T */
    /*
     * T is the node's own time, behind which no later read will look: what has left a window by then is taken off its running
     * total for good, so that the next read finds it so.
     */
    bool is_now;
};

struct agg_values { /* one Field of a reply: exactly one of the three arrays is used */
    const char *name;
    uint64_t *ids;
    int64_t *ints;
    double *numbers;
    int count;
};

/*
 * One for each `last` feature of the user, empty for an unknown one; of the other entities one for each feature and distinct key
 * that the rows name.
 */
struct agg_sequence {
    const char *name;
    uint64_t key; /* the entity's; of a composite key the first id that is not the user's */
    uint32_t *rows; /* item rows served; none for a user's */
    int row_count;
    struct agg_values *fields;
    int field_count;
};

/* A sequence that replies to a plan may have, as it is of nothing: its name, and its fields, none of which has a value. */
struct agg_blank {
    struct agg_sequence sequence;
    bool is_of_user; /* once in each reply; else one for each key that the rows name */
    bool is_oldest_first; /* a series; all others have the newest, or the first, first */
};

/* Those of a plan, in the order in which replies have them; in the arena. False: its limit. Any thread. */
FR_CHECKED bool agg_plan_blanks(const struct agg *agg, const struct agg_plan *plan, struct fr_arena *arena,
                                struct agg_blank **blanks, int *count);

struct agg_reply { /* all of it in the arena of the read */
    float *user_values;
    bool user_present;
    float *item_values; /* row-major, items × columns */
    bool *item_present;
    struct agg_values *item_fields; /* one value an item */
    int item_field_count;
    struct agg_sequence *sequences;
    int sequence_count;
    bool is_incomplete; /* something is not loaded that the disk may have: load and read again */
};

/*
 * Loads what the request needs and the table lacks: items first, then what their remembered attributes name. Blocks on the disk.
 * On a visit of the store that lasts until the read. Who must not block reads at once, and loads only when that was incomplete.
 */
FR_CHECKED bool agg_read_load(struct agg *agg, const struct agg_plan *plan, const struct agg_request *request,
                              struct fr_arena *arena, struct fr_err *err);

/*
 * Answers from the table alone, on a visit of the store. Each entity's columns are of one instant. FR_EXHAUSTED: the arena's
 * limit; FR_CORRUPT: names the quarantined entity.
 */
FR_CHECKED bool agg_read(struct agg *agg, const struct agg_plan *plan, const struct agg_request *request,
                         struct fr_arena *arena, struct agg_reply *reply, struct fr_err *err);

/* ---- Reading entities by their own keys, not in the row of an item ---- */

struct agg_columns; /* what is read of one kind of entity. One thread at a time */

/*
 * The columns that names[0..count), as in agg_plan_get(), have of this kind, in order; none: all that the kind has. What is of another
 * kind is passed over; sequences have no columns. Free with agg_columns_free() before agg_close(). FR_BAD_INPUT: no such kind or
 * name, with the nearest; FR_EXHAUSTED: too many.
 */
FR_CHECKED bool agg_columns_new(struct agg *agg, const char *entity, char *const *names, int count,
                                struct agg_columns **columns, struct fr_err *err);
void agg_columns_free(struct agg_columns *columns); /* NULL is fine */
int agg_columns_names(const struct agg_columns *columns, const char *const **names);

/* Whether a key of the kind has so many ids; the message names its fields. */
FR_CHECKED bool agg_columns_check_key(const struct agg_columns *columns, int id_count, struct fr_err *err);

/*
 * Into values[0..count of names) what a read gives as of T of the entity with this key (its ids as agg_entity_info.key has them; one that
 * is 0: absent), of one instant; a ratio's parent and all events of another. Loads what the table lacks: blocks on the disk. On
 * a visit of the store. FR_UNAVAILABLE, FR_CORRUPT: the disk; the entity is quarantined.
 */
FR_CHECKED bool agg_columns_read(struct agg_columns *columns, const uint64_t *key, int64_t time_ms, float *values,
                                 struct fr_err *err);

/* ---- Recall: candidates ---- */

struct agg_recall {
    const char *name; /* of the list, of the covisit feature ("": the only one), or the kind */
    const char *scope; /* of a list; "" and "global": all events */
    uint64_t id; /* the scope's value, or the item whose partners are asked for */
    uint32_t limit; /* 0, or more than the most: the most, which is the declared one, of recent ones 1,000 (0: 100) */
    uint64_t user_id; /* what he has seen is left out; 0: nobody */
    int64_t seen_within_ms; /* and only what he saw after T less that; 0: all that is kept */
    int64_t time_ms; /* T */
};

struct agg_candidates { /* best first, in the arena of the read */
    uint64_t *ids;
    float *scores;
    uint32_t count;
};

/*
 * Candidates of a list; items that went with another; live rooms ("rooms_live"), their creators ("creators_live") and new items
 * ("new_items"). Off items and ended rooms are left out. Loads what the table lacks: blocks on the disk. FR_BAD_INPUT: a name that
 * is not there, with the nearest; FR_CORRUPT: the list is quarantined; FR_EXHAUSTED: the arena's limit. Any thread.
 */
FR_CHECKED bool agg_recall_trending(struct agg *agg, const struct agg_recall *ask, struct fr_arena *arena,
                                    struct agg_candidates *candidates, struct fr_err *err);
FR_CHECKED bool agg_recall_related(struct agg *agg, const struct agg_recall *ask, struct fr_arena *arena,
                                   struct agg_candidates *candidates, struct fr_err *err);
/* Labels by their lift: ids of the field that the `lift` feature of that name is of. */
FR_CHECKED bool agg_recall_labels(struct agg *agg, const struct agg_recall *ask, struct fr_arena *arena,
                                  struct agg_candidates *candidates, struct fr_err *err);
FR_CHECKED bool agg_recall_recent(struct agg *agg, const struct agg_recall *ask, struct fr_arena *arena,
                                  struct agg_candidates *candidates, struct fr_err *err);

/* ---- What is blocked ---- */

/* From now on recall leaves out what these sets hold, and what belongs to it. They are the caller's and outlive `agg`. Before it is asked. */
struct fr_idset;
void agg_block(struct agg *agg, const struct fr_idset *const sets[AGG_BLOCKED_KINDS]);
/* Whether the id itself is blocked, by those sets or by a table; of a table alone; whether anything of the kind is. Any thread. */
bool agg_is_blocked(const struct agg *agg, enum agg_blocked kind, uint64_t id);
bool agg_is_blocked_by_table(const struct agg *agg, enum agg_blocked kind, uint64_t id);
bool agg_is_blocking(const struct agg *agg, enum agg_blocked kind);
/*
 * Which of a request's items are blocked: by their ids, or by the creator or room that they remember (or the request's room). As far
 * as the table has them: on the visit in which they were read. FR_EXHAUSTED: the arena is. NULL in *is_blocked: none.
 */
FR_CHECKED bool agg_blocked_items(struct agg *agg, const struct agg_request *request, struct fr_arena *arena, bool **is_blocked,
                                  struct fr_err *err);

/* ---- Forgetting ---- */

/* Goes round the durable entities for ever, a piece at a time. All zero: at the first. One thread. */
struct agg_sweep {
    struct store_cursor cursor;
    uint64_t passes; /* completed ones */
    uint64_t forgotten; /* entities of which nothing was left */
    uint64_t pruned; /* entities of which something was, and less than before */
};

/*
 * Looks at the next entities[0..most) of the last epoch, 1,024 at most, and takes away what nobody can see any more at
 * `horizon_ms` (as in agg_batch_apply()) although no event touches it; an entity of which nothing is left leaves the disk with
 * the next epoch and memory soon after. Outside the gate, which it enters; blocks on the disk. FR_UNAVAILABLE, FR_CORRUPT: the
 * disk cannot be read; FR_EXHAUSTED: out of memory, try later.
 */
FR_CHECKED bool agg_sweep(struct agg *agg, struct agg_sweep *sweep, int64_t horizon_ms, int most, struct fr_err *err);

struct agg_forgotten {
    uint64_t entities; /* of the user: himself, and those whose key begins with him */
    uint64_t records; /* parts of theirs that memory or the disk had */
};

/*
 * Takes away every entity whose key begins with the user, whether the configuration still has its kind or not, damaged ones too, as
 * far as the last epoch has them; nothing of them is on disk once the next one is durable. What items, rooms and lists counted stays:
 * there is no telling the user's share. Adds to *forgotten. Outside the gate, which it enters; blocks on the disk. FR_UNAVAILABLE: the
 * disk cannot be read; FR_EXHAUSTED: out of memory, some is left. Any thread.
 */
FR_CHECKED bool agg_forget_user(struct agg *agg, uint64_t user_id, struct agg_forgotten *forgotten, struct fr_err *err);
/* The same of a kind of another module, which is not here to do it: ids[0] of its keys is a user. */
FR_CHECKED bool agg_forget_kind(struct agg *agg, uint8_t kind, uint64_t user_id, struct agg_forgotten *forgotten,
                                struct fr_err *err);

/* ---- Describing ---- */

struct agg_entity_info {
    const char *name;
    const char *const *key; /* field names */
    int key_count;
    const char *parent; /* "" when none */
    int64_t retention_ms;
};
struct agg_feature_info {
    const char *name, *entity, *aggregate;
    const char *const *columns;
    int column_count;
    const char *const *fields;
    int field_count;
    const int64_t *windows_ms, *resolutions_ms;
    int window_count;
    uint32_t limit, generation;
    int64_t complete_from_ms;
};
struct agg_set_info {
    const char *name;
    const char *const *features; /* as listed: user, item, cross */
    int feature_count;
};
struct agg_list_info {
    const char *name, *entity, *rank;
    const char *weigh, *without; /* "": none */
    const char *const *scopes;
    int scope_count;
    uint32_t limit;
};
int agg_list_count(const struct agg *agg);
struct agg_list_info agg_list_at(const struct agg *agg, int index);
int agg_entity_count(const struct agg *agg);
int agg_feature_count(const struct agg *agg);
int agg_set_count(const struct agg *agg);
struct agg_entity_info agg_entity_at(const struct agg *agg, int index);
struct agg_feature_info agg_feature_at(const struct agg *agg, int index);
struct agg_set_info agg_set_at(const struct agg *agg, int index);

/* The feature of that name or of that column. FR_BAD_INPUT with the nearest. */
FR_CHECKED bool agg_feature_find(const struct agg *agg, const char *name, struct agg_feature_info *info, struct fr_err *err);

/* ---- Explaining ---- */

struct agg_question { /* why a value is what it is */
    const char *entity; /* its kind */
    const uint64_t *key; /* ids in the order of agg_entity_info.key */
    int key_count;
    const char *feature; /* or one of its columns: that window alone, with its companions */
    int64_t time_ms; /* T */
};

struct agg_piece { /* what an entity holds of a feature between two instants */
    int64_t start_ms, span_ms;
    double value; /* its share: a sum, a least, what is left of a decayed sum at T, users on, different ids */
    uint64_t count; /* events, where they are counted; else 0 */
    uint32_t windows; /* that it counts in: a bit for each of the feature's */
    const char *form; /* of a sketch: "exact", "registers", "buckets"; else "" */
};

struct agg_record { /* of a sequence; what it doesn't keep is 0 */
    uint64_t event_id, item_id;
    int64_t ts_ms;
    uint32_t action;
    double value;
    uint64_t matched; /* what a match compares */
};

struct agg_operand { /* a feature of one entity, behind the value */
    const char *of, *side; /* of a ratio: "own", "parent", "all"; "numerator", "denominator"; else "" */
    struct agg_feature_info feature; /* of a ratio's operand named as its counter; entity "": all events */
    uint64_t ids[STORE_KEY_IDS_MAX];
    int id_count; /* 0: all events, or nobody knows which entity */
    bool is_present;
    int64_t latest_ms; /* of any event that carried the entity's key; 0: none is known */
    const char **windows; /* as written */
    double *values; /* of each window, in units; of operands of a ratio alone, else NULL */
    int window_count;
    uint32_t asked; /* windows that are asked for, a bit for each */
    struct agg_piece *pieces; /* that count in a window that is asked for; newest first */
    int piece_count;
};

struct agg_explanation { /* all of it in the arena, or the catalogue's */
    const char **columns;
    double *values, *priors; /* as read; of a ratio: what each is drawn towards */
    int column_count;
    double strength; /* of a ratio's prior */
    struct agg_operand self; /* of a ratio and a match without pieces */
    struct agg_operand *operands; /* of a ratio */
    int operand_count;
    struct agg_sequence sequence; /* of a sequence or series, as read; of a match the one that it searches */
    struct agg_record *records; /* of the sequence, newest first */
    int record_count;
};

/*
 * The value of one feature of one entity at T and what it is made of, taken in one instant (of a ratio's parent and of all events: in
 * another). Loads what the table lacks: blocks on the disk; on a visit to the store. FR_BAD_INPUT: no such entity or feature, with the nearest, or a key
 * of another length; FR_CORRUPT: the entity is quarantined; FR_EXHAUSTED: the arena's limit. Any thread.
 */
FR_CHECKED bool agg_explain(struct agg *agg, const struct agg_question *question, struct fr_arena *arena,
                            struct agg_explanation *explanation, struct fr_err *err);

/* ---- Ledger ---- */

struct agg_ledger_row { /* of a share with targets, or of a Gini of the same entity */
    const char *feature, *window;
    const char *name; /* of the target, as written; valid as long as the catalogue */
    uint64_t id;
    double value, target, deficit;
    double whole; /* what all have together; these three are 0 of a Gini */
    bool is_gini;
};
struct agg_ledger {
    struct agg_ledger_row *rows;
    int count;
};

/*
 * What everybody named by a target of a share of all has at time_ms, in the order of the configuration; at most 1,024 rows. What is
 * on the disk only counts as nothing: nothing is loaded, so it never blocks. Any thread. False: the arena is exhausted.
 */
FR_CHECKED bool agg_ledger_read(struct agg *agg, int64_t time_ms, struct fr_arena *arena, struct agg_ledger *ledger);

/* ---- Digest ---- */

struct agg_digest {
    uint64_t hash[2];
    uint64_t lists[2]; /* of bounded lists, which may depend on the order of arrival; 0 unless asked for */
    uint64_t entities;
};

/*
 * The canonical state of the last durable epoch at `time_ms`: every entity's panes compacted and expired, dedupe ids included,
 * hashed by key, and the hashes added up, so that neither the order of events nor the form in memory shows. Slots count by
 * feature name and generation's definition, not by number. Bounded lists are hashed apart, when `is_all`. Blocks on the disk, may
 * take seconds.
 */
FR_CHECKED bool agg_digest(struct agg *agg, int64_t time_ms, bool is_all, struct agg_digest *digest, struct fr_err *err);

#endif
