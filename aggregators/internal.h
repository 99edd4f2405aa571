/*
 * What the files of aggregators share. The way of an event: lane.c finds the entities that a batch touches, apply.c goes through
 * them one by one; rows.c, dedupe.c, attributes.c and sequence.c each change their piece of an entity's memory. The way of a
 * request: plan.c compiles names to columns, read.c follows them. codec.c is the form on disk, digest.c the form that does
 * not depend on how it came about.
 */
#ifndef FRESHET_AGGREGATORS_INTERNAL_H
#define FRESHET_AGGREGATORS_INTERNAL_H

#include <freshet/aggregators.h>

enum {
    AGG_LEVELS = 7, /* 1 s, 10 s, 1 min, 10 min, 1 h, 6 h, 1 d: each divides the next */
    AGG_NAME_MAX = 64, /* bytes of an entity's, feature's or set's name */
    AGG_PANES_LEAST = 24, /* a window has at least so many panes */
    AGG_LIMIT_MAX = 10000, /* records of a sequence */
    AGG_WHERE_DEPTH_MAX = 32,
    AGG_WHERE_STEPS_MAX = 256,
    AGG_ORDER_WORDS = 15, /* the fixed-size fields of an event in the total order */
    AGG_ATTRIBUTES = 4, /* remembered: creator_id, room_id, category_id, duration_s */
    AGG_SOURCE_WORDS = 11, /* the order down to duration_s: enough to tell which attribute is later */
    AGG_FIELDS_MAX = 16,
    AGG_KINDS_MAX = 246, /* then come the tables' and the learner's */
    AGG_KEEPERS_MAX = 4 * AGG_ENTITIES_MAX, /* entities and the hidden ones */
    AGG_KEY_JOINED = 64, /* and from there on the fields of tables */
    AGG_KEY_ALL = 0, /* in the place of an event's field in a key: its id is 1 in every event */
    AGG_STATES_MAX = 4 * AGG_FEATURES_MAX, /* features and the hidden ones that are kept for them */
    AGG_LISTS_MAX = 32,
    AGG_LIST_LIMIT_MAX = 1000,
    AGG_SPARE = 4, /* a list and a covisitation keep so many times their limit */
    AGG_SCOPES_MAX = 6,
    AGG_SHARDS = 16, /* what is recent lies in so many entities, by id */
    AGG_SHARD_KEPT = 256,
    AGG_TARGETS_MAX = 64, /* of a share */
    AGG_SPANS_MAX = 32, /* different windows of one entity that get running totals */
    AGG_NARROW_BYTES_MAX = 8 + 8 * AGG_FEATURES_MAX, /* of a row */
};

/* ---- window.c: time ---- */

extern const int64_t agg__level_ms[AGG_LEVELS];
extern const uint32_t agg__level_s[AGG_LEVELS];

struct agg_window {
    int64_t span_ms;
    int64_t panes; /* span / resolution */
    int level; /* of its resolution */
    const char *text; /* as written in the configuration */
    int span; /* among the entity's spans; −1: it has no running total */
    uint32_t total_at; /* of its running total, in bytes from the first of them */
};

/* A moment, with the pane of each level that it lies in. */
struct agg_moment {
    int64_t time_ms;
    int64_t pane[AGG_LEVELS];
};

int64_t agg_window__pane(int64_t time_ms, int level);
struct agg_moment agg_window__moment(int64_t time_ms);
/* The coarsest that divides the span into at least `panes_least` panes; −1 when it isn't whole seconds or has too few of them. */
int agg_window__level(int64_t span_ms, int panes_least);

/* ---- order.c: the total order of events ---- */

/* The fixed-size fields of an event as words, most significant first; a prefix of them orders what it tells apart. */
extern const uint8_t agg__order_fields[AGG_ORDER_WORDS]; /* enum proto_field */

void agg_order__take(const struct proto_event *event, uint64_t words[AGG_ORDER_WORDS]);

static inline int agg_order__compare(const uint64_t *a, const uint64_t *b, int words)
{
    for (int i = 0; i < words; i++) {
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    }
    return 0;
}

int agg_order__word(int field); /* where the field is in the order; −1 for text and attributes */
double agg_order__number(int word, uint64_t bits); /* of value, duration_s and propensity */
void agg_order__encode(const uint64_t *words, int count, uint64_t before_ms, struct fr_buffer *disk);
void agg_order__decode(struct fr_reader *reader, uint64_t *words, int count, uint64_t before_ms);

/* ---- where.c: conditions on one event ---- */

struct agg_where;

/* Compiles into `arena`; the message tells the character. `canonical` gets the same condition in one spelling. */
FR_CHECKED bool agg_where__compile(struct fr_slice text, struct fr_arena *arena, struct agg_where **where,
                                   struct fr_buffer *canonical, struct fr_err *err);
/* The same where tables are known: "table.field" is of what is joined; of `own` bare names are, and an event has none. */
struct agg_where_names {
    const struct agg_catalogue *catalogue;
    const struct agg_table *own; /* NULL: none */
};
FR_CHECKED bool agg_where__compile_of(const struct agg_where_names *names, struct fr_slice text, struct fr_arena *arena,
                                      struct agg_where **where, struct fr_buffer *canonical, struct fr_err *err);
bool agg_where__holds(const struct agg_where *where, const struct proto_event *event);
/* Tables that it looks at, a bit for each. */
uint32_t agg_where__tables(const struct agg_where *where);

/* ---- The catalogue ---- */

enum agg_aggregate { /* agg__types says what each is */
                     AGG_COUNT,
                     AGG_SUM,
                     AGG_MEAN,
                     AGG_MIN,
                     AGG_MAX,
                     AGG_DECAYED,
                     AGG_LAST,
                     AGG_MATCH,
                     AGG_DISTINCT,
                     AGG_QUANTILE,
                     AGG_RATIO,
                     AGG_GAUGE,
                     AGG_SERIES,
                     AGG_COVISIT,
                     AGG_COEC,
                     AGG_WATCH_RANK,
                     AGG_IPS,
                     AGG_BURST,
                     AGG_CAPPED,
                     AGG_ACTOR,
                     AGG_ENTROPY,
                     AGG_TOP_VALUES,
                     AGG_SHARE,
                     AGG_GINI,
                     AGG_QUOTA,
                     AGG_RETURNING,
                     AGG_BUDGET,
                     AGG_LIFT,
                     AGG_AGE, /* hidden: the latest event of a feature that emits its age */
                     AGG_TOP, /* hidden: candidates by their score (top.c) */
                     AGG_LIFE, /* hidden: whether an item is on, a room started (life.c) */
                     AGG_AGGREGATES
};

enum agg_prior { /* what a ratio is drawn towards, from the nearest on: its parent, that one's, ... and all events */
                 AGG_OWN,
                 AGG_PARENT,
                 AGG_PARENT_2,
                 AGG_PARENT_3,
                 AGG_GLOBAL,
                 AGG_PRIORS
};

/* A column shows the value itself or a companion of it. */
enum agg_output { /* stores keep these numbers */
                  AGG_OUTPUT_VALUE,
                  AGG_OUTPUT_N,
                  AGG_OUTPUT_SD,
                  AGG_OUTPUT_AGE,
                  AGG_OUTPUT_LOWER,
                  AGG_OUTPUT_UPPER,
                  AGG_OUTPUT_CHAIN, /* a count of one of its priors */
                  AGG_OUTPUT_DEFICIT,
                  AGG_OUTPUTS
};

struct agg_output_column {
    enum agg_output output;
    int window; /* -1: none */
    enum agg_prior prior; /* of a chain's: whose measure, and which */
    int side;
};

/*
 * What a row holds of one feature. Amounts of nothing are 0 in all of them. A greatest is kept as a positive number: a maximum m as
 * AGG_GREATEST_ZERO + m, a minimum as AGG_GREATEST_ZERO − m, so that both merge alike and 0 still says "none".
 */
enum agg_measure { AGG_MEASURE_COUNT, AGG_MEASURE_SUM, AGG_MEASURE_GREATEST };

/* How much of a scope one of its members is to have. */
struct agg_target {
    const char *name; /* as written */
    uint64_t id;
    double share;
};

struct agg_feature {
    const char *name;
    struct agg_entity *entity;
    enum agg_aggregate aggregate;
    uint32_t actions; /* a bit for each */
    uint32_t scenes;
    struct agg_where *where; /* NULL: always */
    struct fr_slice where_text; /* in one spelling */
    const char *definition; /* all that makes its state what it is, in one spelling; not windows and limit */
    uint64_t definition_hash;

    const struct agg_type *type;
    bool is_counter; /* a measure of the rows */
    bool is_hidden; /* not in the configuration: kept for another feature */
    bool is_joined; /* what it takes, or the entity, depends on a table: hashed apart, as lists are */
    uint8_t emits; /* a bit for each output */
    struct agg_feature *n, *age; /* hidden, when those are emitted; n may be the feature itself */

    /* what has windows */
    int of; /* field that a sum adds up, a sketch takes in */
    int needs; /* an id field without which it takes no event; 0: none */
    const struct agg_entity
        *named; /* it takes only events that name one of this entity; NULL: any. Set by agg_feature__narrow() */
    const struct agg_catalogue *named_in;
    double q; /* quantile */
    struct agg_window windows[AGG_WINDOWS_MAX];
    int window_count;
    int64_t panes_most[AGG_LEVELS]; /* of its windows with that resolution; 0: none */
    enum agg_measure measure;
    uint32_t narrow_at, wide_at; /* its place in a row */

    /* last */
    uint32_t limit;
    uint8_t fields[AGG_FIELDS_MAX];
    const char *field_names[AGG_FIELDS_MAX];
    int field_count;
    int order_words; /* of a record: the order down to the last field that is asked for */
    int sequence; /* its place among the entity's sequences */
    bool is_seen;

    /* ratio: numerator and denominator of the entity itself, of its parents, of all */
    struct agg_feature *operands[AGG_PRIORS][2]; /* of parents and all: hidden; NULL where no prior asks for them */
    struct agg_feature *operand_ages[2]; /* hidden, when the age is emitted */
    struct agg_entity *priors[AGG_PRIORS]; /* which entities those are; NULL: none */
    bool has_prior, is_of_parent; /* `prior` is given; it is `parent` */
    double strength; /* of the prior, in events */
    double z; /* how many standard deviations its bounds are apart from it */
    double part, plus; /* budget: of the whole, and beside it */

    int label_field; /* lift: among the fields of all tables */

    /* share: what it is of is its own numerator, the scope's total the denominator of the parent or of all */
    const struct agg_target *targets; /* NULL: none */
    int target_count;
    int target_place; /* in the key of the entity: whose id a target names */

    /* quota: hidden counts of the entity */
    const struct agg_feature *shown, *events;
    struct agg_window newer, known; /* shown and events have the first, events the second, too */
    double quota;

    /* coec, watch_rank */
    struct agg_feature *all; /* hidden: the same of all events, which it is held against */
    uint32_t places; /* coec: positions, with that of none; actor: events */
    bool is_by_scene;

    /* ips */
    double floor; /* of a propensity */

    double slack; /* burst */
    uint32_t cap; /* capped; returning: visits */
    int show; /* actor */

    /* match */
    struct agg_feature *source; /* the sequence that is searched; of a covisit the one it pairs; of a list what ranks it */
    struct agg_entity *matched; /* no entity: the field as a key, for keyrings */
    int match_word; /* of the source's records */

    /* cells */
    int cell; /* its place among the entity's cells of the part */
    int64_t half_life_ms; /* decayed */
    double weights[PROTO_ACTIONS]; /* decayed, ips; of each action */
    int64_t bin_ms, bins; /* series */
    uint8_t series[PROTO_ACTIONS]; /* its actions as listed */
    int series_count;
    uint32_t ups; /* gauge: a bit for each action that turns a user on; coec: that shows; sum: that is taken off */
    struct agg_window timeout;
    int64_t within_ms; /* covisit */
    struct agg_feature *covisit; /* of a sequence: the first covisit that pairs its records */
    struct agg_feature *next_covisit; /* of a covisit: the next of the same sequence */
    struct agg_entity *ranked; /* top: what its ids are of */
    bool is_first; /* top: by first events, not the latest … */
    int64_t new_ms; /* … as long as they are younger than that */

    const struct agg_output_column *outputs; /* of each column */

    const char **columns; /* "f.5m"; none for a sequence */
    int column_count;
    int64_t windows_ms[AGG_WINDOWS_MAX], resolutions_ms[AGG_WINDOWS_MAX]; /* for Describe */

    uint32_t slot, generation; /* registry.c gives them */
    int64_t complete_from_ms;
};

struct agg_member { /* a feature that has a window of this span */
    const struct agg_feature *feature;
    uint32_t total_at;
};

struct agg_span { /* windows of several features that are as long begin and end together */
    int64_t span_ms, panes;
    int level;
    struct agg_member *members;
    int member_count;
    bool has_greatest;
    uint32_t block_at; /* even: its totals lie as if a narrow row began there, in bytes from the first total */
};

struct agg_entity {
    const char *name;
    uint8_t key[STORE_KEY_IDS_MAX]; /* enum proto_field, user_id first */
    const char *key_names[STORE_KEY_IDS_MAX]; /* as written */
    int key_count;
    bool has_user; /* user_id is in the key */
    bool is_joined; /* a field of a table is */
    int listed; /* the place in the key of a table's list, each id of which names one; −1: there is none */
    bool is_hidden; /* not in the configuration: the user of whom duplicates are told */
    bool has_dedupe; /* the one entity that keeps event ids */
    const char *parent_name;
    struct agg_entity *parent;
    int64_t retention_ms;
    uint8_t kind; /* registry.c gives it */
    uint8_t remembered; /* a bit for each remembered attribute */

    struct agg_feature **counters; /* count, sum, min and max: they share rows */
    int counter_count;
    struct agg_takers { /* those that take any event of an action */
        struct agg_feature **features;
        int count;
    } counters_of[PROTO_ACTIONS];
    uint32_t narrow_bytes, wide_bytes; /* of a row */
    bool is_even; /* all counters have the same windows, each with a running total, and none is a greatest (even.c) */
    bool is_told_by_rows; /* of its rows others of a cluster are told how they changed, not what events did (images.c) */
    int count_numbers, sum_numbers; /* of a narrow row; sums begin at sums_at */
    uint32_t sums_at;
    int64_t panes_most[AGG_LEVELS]; /* of all its features */
    struct agg_span *spans; /* the different windows of its counters */
    int span_count;
    uint32_t totals_bytes; /* of all running totals */
    int head_lines; /* cache lines that a read at the head looks at: all before the rows, without kept ids */

    struct agg_feature **sequences;
    int sequence_count;

    struct agg_feature **cells[STORE_PARTS]; /* of the parts STORE_PART_SKETCHES and STORE_PART_LISTS */
    int cell_count[STORE_PARTS];
    uint32_t cell_actions[STORE_PARTS]; /* of events that some of them takes */
    bool needs_order; /* some of its state goes by the total order of events */

    struct agg_feed *feeds; /* the lists that hear of its changes */
    int feed_count;
    bool has_first; /* its first event is kept on disk too */
    bool is_fed; /* hidden, a list: no event touches it, only what feeds bring */
};

enum { AGG_SCOPE_ALL = -1, AGG_SCOPE_SHARD = -2 };

/* What a change of an entity brings to a list, once its events are applied. */
struct agg_feed {
    struct agg_feature *top; /* the list's cells */
    const struct agg_feature *source; /* the entity's: what ranks it; NULL: its latest event, or its first */
    int id, scope; /* places in the entity's key: the candidate, and the list's own key, or one of enum above */
};

struct agg_scope {
    const char *name; /* of a field, or "global" */
    int field; /* AGG_KEY_ALL: global */
    struct agg_feature *source; /* the decayed sums: `rank` itself, or a hidden one per (entity, scope value) */
    struct agg_feature *top;
};

struct agg_list {
    const char *name;
    struct agg_entity *entity;
    struct agg_feature *rank; /* decayed, or a quota: then it is a pool */
    uint32_t limit;
    const char *weigh; /* a column of the entity: sums are multiplied by it; NULL: by nothing */
    int without; /* entities whose row has this field of a table are left out; −1: none */
    struct agg_scope scopes[AGG_SCOPES_MAX];
    const char *scope_names[AGG_SCOPES_MAX];
    int scope_count;
};

enum agg_set_list { AGG_SET_USER, AGG_SET_ITEM, AGG_SET_CROSS, AGG_SET_LISTS };

struct agg_set {
    const char *name;
    const char **names; /* as listed: user, item, cross */
    int count;
};

struct agg_catalogue {
    struct fr_arena *arena; /* all of it */
    struct agg_dedupe dedupe;
    struct agg_entity *entities[AGG_KEEPERS_MAX]; /* those of the configuration first, then hidden ones */
    int entity_count, visible_count;
    struct agg_feature *features[AGG_STATES_MAX]; /* those of the configuration first, then hidden ones */
    int feature_count, visible_feature_count;
    struct agg_set *sets;
    int set_count;
    struct agg_entity *user; /* never NULL: it keeps the duplicates */
    struct agg_entity *item; /* NULL when none has the key [item_id] */
    struct agg_entity *room; /* NULL when none has the key [room_id] */
    struct agg_entity *global; /* hidden, the one entity of all events; NULL when nothing needs it */
    struct agg_list *lists;
    int list_count;
    struct agg_feature *item_life, *room_life; /* hidden; NULL without such an entity */
    struct agg_table *tables;
    int table_count;
    struct agg_table_field *table_fields; /* of all tables, by number */
    int table_field_count;
    uint32_t joined; /* tables that applying looks at, a bit for each */
    struct agg_feature *recent_rooms, *recent_items; /* hidden lists; NULL without such an entity */
    struct agg_feature *pool; /* the hidden list of some pool; NULL: there is none */
    struct agg_entity *kinds[UINT8_MAX + 1];
    struct agg_feature **slots; /* by number; NULL: retired */
    uint32_t slot_count;
};

/* The hidden entity of all events, made when it isn't there; NULL: out of memory or of room. */
struct agg_entity *agg_catalogue__global(struct agg_catalogue *catalogue);
/* A hidden entity with that key, or the one that is there already; NULL: out of memory or of room. */
struct agg_entity *agg_catalogue__hidden(struct agg_catalogue *catalogue, const char *name, const uint8_t *key, int key_count);
struct agg_entity *agg_catalogue__entity(const struct agg_catalogue *catalogue, struct fr_slice name);
struct agg_feature *agg_catalogue__feature(const struct agg_catalogue *catalogue, struct fr_slice name);
/* The configured kind of that name; NULL with the nearest in err. */
struct agg_entity *agg_catalogue__kind(const struct agg_catalogue *catalogue, const char *name, struct fr_err *err);
/* "f" or one of its columns: the feature, and the column or −1 for all. FR_BAD_INPUT with the nearest name. */
FR_CHECKED bool agg_catalogue__resolve(const struct agg_catalogue *catalogue, struct fr_slice name,
                                       struct agg_feature **feature, int *column, struct fr_err *err);
/* Room for slots 0 … count − 1, all retired. */
FR_CHECKED bool agg_catalogue__slots_reset(struct agg_catalogue *catalogue, uint32_t count);

bool agg_entities__parse(struct agg_catalogue *catalogue, struct fr_yaml *root, struct fr_diagnostics *diagnostics);
bool agg_features__parse(struct agg_catalogue *catalogue, struct fr_yaml *root, struct fr_diagnostics *diagnostics);
bool agg_sets__parse(struct agg_catalogue *catalogue, struct fr_yaml *map, struct fr_diagnostics *diagnostics);
bool agg_lists__parse(struct agg_catalogue *catalogue, struct fr_yaml *map, struct fr_diagnostics *diagnostics);
/* Definitions of hidden features that have none yet. False: out of memory. */
bool agg_features__define(struct agg_catalogue *catalogue);
/* The feature tells its entity's feeds. False: out of memory. */
FR_CHECKED bool agg_feed__add(struct agg_catalogue *catalogue, struct agg_entity *entity, const struct agg_feed *feed);
/* A hidden list of the entity's ids by their moment, under that name, which its events feed; NULL: out of memory. */
struct agg_feature *agg_recent__add(struct agg_catalogue *catalogue, struct agg_entity *entity, const char *name,
                                    bool is_first);
/* What the life of items and rooms and what is recent need. False: out of memory. */
FR_CHECKED bool agg_life__add(struct agg_catalogue *catalogue);
bool agg_name__check(struct fr_yaml *key, const char *where, struct fr_diagnostics *diagnostics);

/* ---- types.c ---- */

bool agg_feature__takes(const struct agg_feature *feature, const struct proto_event *event);

/* ---- quota.c ---- */

struct agg_view;
/* How much of its quota an entity has left at the view's moment; NULL: one that isn't there. */
double agg_quota__left(const struct agg_feature *feature, const struct agg_view *view);

/* ---- blob.c: an entity's part in memory ---- */

/* A run of bytes that grows: an entry's part while its stripe is locked, or a buffer of our own. */
struct agg_blob {
    void *memory; /* NULL when empty; aligned to 8 */
    uint32_t bytes;
    struct store *store;
    struct store_entry *entry;
    enum store_part part;
    struct fr_buffer *buffer; /* instead of an entry */
    bool is_writable; /* the part is already marked dirty */
};

struct agg_blob agg_blob__of_entry(struct store *store, struct store_entry *entry, enum store_part part);
struct agg_blob agg_blob__of_buffer(struct fr_buffer *buffer);
/* Before the first change. False: out of memory. */
FR_CHECKED bool agg_blob__open(struct agg_blob *blob, uint32_t least_bytes);
/* At least `bytes` long; more is added so that growing is rare. New bytes are zero. False: out of memory. */
FR_CHECKED bool agg_blob__grow(struct agg_blob *blob, uint64_t bytes);
/* Gives back what is far more than `used`; 0 empties it. Never fails. */
void agg_blob__trim(struct agg_blob *blob, uint32_t used);

/* ---- layout.c: where a counter's numbers lie ---- */

/* Places in rows and running totals for the counters of the entity. False: out of memory. */
FR_CHECKED bool agg_layout__counters(struct agg_entity *entity, struct fr_arena *arena);

#include "rows.h" /* presence and windowed measures; needs what is above, and what is below needs it */

/* ---- even.c: entities whose counters have the same windows ---- */

struct agg_amount {
    const struct agg_feature *feature;
    int64_t amount;
};

/* What one event adds to several counters: as agg_rows__add() of each. AGG_TOO_LATE: all of them were. */
enum agg_added agg_even__add(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_amount *amounts,
                             int count, const struct agg_moment *at, const struct agg_moment *horizon);
/*
 * Adds a narrow row of another part, running totals too; `at`: any moment of its pane. *is_put false: not a number of it went anywhere,
 * they are to be put one by one. False: out of memory.
 */
FR_CHECKED bool agg_even__put(struct agg_blob *blob, const struct agg_entity *entity, int level, const struct agg_row *from,
                              const struct agg_moment *at, bool *is_put);
/* Narrow rows of the level up to pane `oldest` go where windows still need them; stops at one that has no room in a narrow row. */
void agg_even__merge(struct agg_rows *rows, const struct agg_entity *entity, int level, int64_t oldest,
                     const struct agg_moment *horizon);
/* Takes the narrow rows of panes first … last out of the totals of the entity's span `index`, and finds its edge. */
void agg_even__leave(struct agg_rows *rows, const struct agg_entity *entity, int index, int64_t first, int64_t last);

/* ---- totals.c: running totals ---- */

enum { AGG_EDGE_NONE = UINT32_MAX }; /* the span holds no row; an edge of 0: not known */

/* Moves the moment that totals are of to `to`, if that is later: what leaves a window is taken off. */
void agg_totals__advance(struct agg_rows *rows, const struct agg_entity *entity, const struct agg_moment *to);
/* What was added to a row of this level, into the windows that it is in. */
void agg_totals__add(struct agg_rows *rows, const struct agg_feature *feature, int level, const struct agg_moment *at,
                     __int128 amount);
/*
 * For a read at the moment: true when the running totals are what the windows hold. `is_now`: they are first moved there, if that is
 * later; they are no part of the state, so a read may, with the stripe locked.
 */
bool agg_totals__are_of(const struct agg_rows *rows, const struct agg_entity *entity, const struct agg_moment *moment,
                        bool is_now);
/* From the rows, as of the latest event. */
void agg_totals__rebuild(struct agg_rows *rows, const struct agg_entity *entity);

/* How the windows of one entity are read at one moment: looked at once, used for each column. */
struct agg_view {
    const struct agg_rows *rows;
    const struct agg_entity *entity;
    const struct agg_moment *moment;
    const uint8_t *totals;
    struct agg_view_span {
        enum agg_view_how { AGG_VIEW_TOTAL, AGG_VIEW_NOTHING, AGG_VIEW_LESS, AGG_VIEW_ROWS } how;
        struct agg_range ranges[AGG_LEVELS]; /* what total has too much, or all that there is, by level */
    } spans[AGG_SPANS_MAX];
};

/* `moment` must outlive it; the stripe must stay locked. */
void agg_view__init(struct agg_view *view, const struct agg_rows *rows, const struct agg_entity *entity,
                    const struct agg_moment *moment);
__int128 agg_view__value(const struct agg_view *view, const struct agg_feature *feature, const struct agg_window *window);

/* ---- dedupe.c ---- */

enum agg_seen { AGG_SEEN_NEW, AGG_SEEN_DUPLICATE, AGG_SEEN_UNCHECKED, AGG_SEEN_NO_MEMORY };

/* Tells whether the event was here before and keeps its id; only a duplicate changes nothing. */
enum agg_seen agg_dedupe__see(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_dedupe *dedupe,
                              const struct proto_event *event);

/* ---- attributes.c ---- */

extern const uint8_t agg__attribute_fields[AGG_ATTRIBUTES]; /* enum proto_field */

int agg_attribute__index(int field); /* −1 when it isn't remembered */
/* Remembers what the event says. False: out of memory. */
FR_CHECKED bool agg_attributes__take(struct agg_blob *blob, const struct agg_entity *entity, const uint64_t *order);
/* From disk: `order` gave the attributes of the bits. False: out of memory. */
FR_CHECKED bool agg_attributes__restore(struct agg_blob *blob, const struct agg_entity *entity, uint8_t gave,
                                        const uint64_t order[AGG_SOURCE_WORDS]);
/* The bits of an attribute at `time_ms`; 0: never said, or too long ago. */
uint64_t agg_attributes__read(const struct agg_rows *rows, const struct agg_entity *entity, int attribute, int64_t time_ms);
/* The order of the event that gave it; NULL when there is none. */
const uint64_t *agg_attributes__source(const struct agg_rows *rows, int attribute);

/* ---- sequence.c ---- */

struct agg_ring { /* one for each sequence of the entity, at the front of the part; the records follow */
    uint32_t count, capacity, first, reserved;
};

uint32_t agg_sequence__used(const struct agg_ring *rings, const struct agg_entity *entity);
/* Record `index` (0 is the oldest) as order words. */
const uint64_t *agg_sequence__record(const struct agg_ring *rings, const struct agg_entity *entity, int sequence,
                                     uint32_t index);
/* False: out of memory. */
FR_CHECKED bool agg_sequence__add(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_feature *feature,
                                  const uint64_t *order);
/* Fetches the records that an event in order will compare and change; `rings` may be NULL. */
void agg_sequence__prefetch(const struct agg_ring *rings, const struct agg_entity *entity);
/* Drops records past the retention. True when any record is left. */
bool agg_sequence__prune(struct agg_blob *blob, const struct agg_entity *entity, int64_t horizon_ms);

/* ---- lane.c: which entities a batch touches ---- */

struct agg_share { /* one event's share of one entity */
    uint32_t event, next; /* index of the entity's next share + 1; 0: the last */
};

struct agg_group { /* the shares of one entity, in the order of the batch */
    const struct agg_entity *entity;
    struct store_entry *found; /* in the table, by those who fetch ahead; NULL: not yet, or it isn't there */
    uint32_t first, last; /* index of a share; UINT32_MAX: no event touches it */
    uint32_t brought_first, brought_last; /* index of what is brought to it + 1; 0: nothing */
};

/* What one entity's change brings to another's cell: feeds to lists, users to partners. */
struct agg_brought {
    const struct agg_feature *feature; /* whose cell */
    uint64_t id; /* the candidate or partner */
    int64_t ts_ms; /* of the event */
    double score;
    uint32_t next; /* to the same entity; index + 1, 0: the last */
};

struct agg_lane {
    struct agg *agg;
    int batch_max;
    const struct proto_event *events; /* the batch that the groups are of; NULL: none */
    const struct proto_event *taken; /* the same, with what tables say of each where any is joined */
    struct agg_join *join; /* NULL where none is */
    int event_count;
    struct agg_group *groups; /* users first */
    struct store_key *keys; /* of each group */
    uint64_t *hashes;
    int group_count, user_group_count, group_capacity;
    bool has_partners; /* of what its events may be paired with */
    struct agg_brought *brought;
    uint32_t brought_count, brought_capacity;
    struct agg_share *shares;
    uint32_t share_count;
    uint32_t *table; /* hash → group + 1, open addressing */
    uint32_t table_mask;
    struct agg_deltas *deltas; /* where others of a cluster are told; NULL: there are none */
};

/* Forgets the groups of the last batch. */
void agg_lane__begin(struct agg_lane *lane);

/* Groups events[0..count) unless that is done already. False: more than the lane was made for. */
FR_CHECKED bool agg_lane__group(struct agg_lane *lane, const struct proto_event *events, int count, struct fr_err *err);
/* The group of the key, made when it isn't there; NULL: out of memory. */
struct agg_group *agg_lane__want(struct agg_lane *lane, const struct agg_entity *entity, const struct store_key *key);
/* To be taken by the entity's group when its turn comes; nothing when the batch has no such group. False: out of memory. */
FR_CHECKED bool agg_lane__bring(struct agg_lane *lane, const struct store_key *key, const struct agg_brought *brought);

/* ---- feeds.c ---- */

/* Makes the groups of the lists that the groups' entities feed. False: out of memory. */
FR_CHECKED bool agg_feeds__want(struct agg_lane *lane);

/* ---- codec.c ---- */

void agg_codec__encode(void *user, const struct store_key *key, enum store_part part, const void *memory, uint32_t bytes,
                       struct fr_buffer *disk);
bool agg_codec__decode(void *user, const struct store_key *key, enum store_part part, struct fr_slice disk,
                       struct fr_buffer *memory);
/* The same into an empty buffer, of what is to be added to another: without running totals. */
bool agg_codec__decode_delta(const struct agg_catalogue *catalogue, const struct store_key *key, enum store_part part,
                             struct fr_slice disk, struct fr_buffer *memory);

/* ---- sweep.c ---- */

/*
 * No event of this age can change anything that can be seen at `horizon_ms`: its time is before every window, and past
 * the retention of every kind. Then its duplicate may as well be applied, and ids kept against that go.
 */
bool agg_sweep__is_past(const struct agg_catalogue *catalogue, int64_t ts_ms, int64_t horizon_ms);

/* ---- registry.c ---- */

FR_CHECKED bool agg_registry__open(struct agg_catalogue *catalogue, struct store *store, int64_t stream_time_ms,
                                   struct fr_err *err);

/* The feature's window of that length; NULL: it has none. */
const struct agg_window *agg_feature__window(const struct agg_feature *feature, int64_t span_ms);

struct agg_plans; /* plans.c: the cache of read plans */

struct agg {
    struct agg_catalogue *catalogue;
    struct store *store;
    struct agg_plans *plans;
    struct fr_counter *clamped; /* NULL without metrics */
    struct agg_images *images; /* what an epoch began with, for those that tell others; NULL: nobody does (images.c) */
    const struct fr_idset *blocked[AGG_BLOCKED_KINDS]; /* NULL: none */
    int carried_kind; /* of another module's, whose copies come and go with the users'; 0: none */
    bool (*is_carried_good)(struct fr_slice disk);
};

/* ---- keys ---- */

/* The key from the ids of its fields, in the entity's order. False when one is 0: the entity isn't there. */
FR_CHECKED bool agg_key__make(const struct agg_entity *entity, const uint64_t ids[STORE_KEY_IDS_MAX], struct store_key *key);
FR_CHECKED bool agg_key__of_event(const struct agg_entity *entity, const struct proto_event *event, struct store_key *key);
/* The same of one that a table's fields name; of a list the place of its ids, for whoever puts one there. */
FR_CHECKED bool agg_key__of_joined(const struct agg_catalogue *catalogue, const struct agg_entity *entity,
                                   const struct proto_event *event, struct store_key *key);
/* Adds a field to the key, or a field of a table (AGG_KEY_JOINED and up). */
void agg_key__add(const struct agg_catalogue *catalogue, struct agg_entity *entity, uint8_t field);
/* The name of the field in that place of the key. */
const char *agg_key__field(const struct agg_entity *entity, int place);
/* Where the field lies that the configuration writes in that place of the key: the user goes first. */
int agg_key__place(const struct agg_entity *entity, int written);
bool agg_key__fail(const struct agg_entity *entity, int id_count, struct fr_err *err); /* says what a key of the kind is */
/* From ids in the order that the configuration writes. False when one is 0. */
FR_CHECKED bool agg_key__of_ids(const struct agg_entity *entity, const uint64_t *written, struct store_key *key);
/* Whether the event names one of the entity, of a list at least one. */
bool agg_key__is_named(const struct agg_catalogue *catalogue, const struct agg_entity *entity, const struct proto_event *event);
/* Of one of its parents, by the entity's own key, else by what it remembers. False: it is not known which. */
struct agg_remembered;
FR_CHECKED bool agg_key__of_parent(const struct agg_entity *entity, const struct agg_entity *parent,
                                   const struct store_key *own, const struct agg_remembered *remembered, struct store_key *key);
/* "item 123" or "user_category 7/12", for messages. */
void agg_key__print(const struct agg_entity *entity, const struct store_key *key, char out[160]);

/* ---- describe.c ---- */

struct agg_feature_info agg_feature__info(const struct agg_feature *feature); /* hidden ones too */

#endif
