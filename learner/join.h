/*
 * What the files of the join share. A user's account (book.c) is copied out of the store, changed, and put back under one lock; what
 * it made due (steps of label policies, rows that nobody needs) is done after that, still inside the gate, because two entities are
 * never locked at once.
 */
#ifndef LEARNER_JOIN_INTERNAL_H
#define LEARNER_JOIN_INTERNAL_H

#include "outbox.h"

#include <freshet/join.h>

#include <pthread.h>
#include <stdatomic.h>

enum {
    LEARNER_BOOK_FORMAT = 2,
    LEARNER_ROWS_FORMAT = 1,
    LEARNER_SLIVER_MS = 30000,
    LEARNER_TASKS_ALL_MAX = 64, /* of all models together */
    LEARNER_REQUESTS_MAX = 512, /* of a user at a time; then the oldest leaves */
    LEARNER_IMPRESSIONS_MAX = 4096,
    LEARNER_OUTCOMES_MAX = 256,
    LEARNER_CHUNK_BYTES = 256 << 10,
    LEARNER_CHUNK_EXAMPLES = 512 /* a batch of the learner takes them */
};

/* ---- what is counted ---- */

enum learner_counted {
    LEARNER_ROWS_TAKEN, /* requests' rows that some model can use */
    LEARNER_ROWS_DUPLICATE,
    LEARNER_ROWS_FOREIGN, /* of columns that no model has */
    LEARNER_ROWS_UNSEEN, /* left without any impression */
    LEARNER_IMPRESSION,
    LEARNER_IMPRESSION_DUPLICATE,
    LEARNER_IMPRESSION_UNSERVED, /* no rows came for it in serve_ttl */
    LEARNER_IMPRESSION_UNLOGGED, /* the rows do not have its item */
    LEARNER_LABEL,
    LEARNER_LABEL_DUPLICATE,
    LEARNER_LABEL_EARLY, /* before its impression */
    LEARNER_LABEL_LATE, /* after the window, or when the label was final already */
    LEARNER_LABEL_ALONE, /* without an impression */
    LEARNER_DROPPED_ROOM, /* impressions, for want of room */
    LEARNER_DROPPED_CONFIG, /* impressions, because the tasks are others now */
    LEARNER_SAMPLED_OUT, /* negatives */
    LEARNER_UNRANKED, /* examples of a watch that said no length */
    LEARNER_COUNTED
};

/* ---- where something lies in the one order of a model's examples ---- */

/*
 * Of what an event did: the log's clock at it, and its number. Of what time does: the end of the step that it falls into, and number 0, so
 * before all events that are as late.
 */
struct learner_place {
    int64_t ms;
    uint64_t number;
};

static inline bool learner_place__precedes(struct learner_place a, struct learner_place b)
{
    return a.ms < b.ms || (a.ms == b.ms && a.number < b.number);
}

/* Where time does what is due at a moment. */
static inline struct learner_place learner_place__of_step(int64_t due_ms)
{
    bool is_far = due_ms == INT64_MAX || due_ms == INT64_MIN; /* never, and at once */

    return (struct learner_place){.ms = is_far ? due_ms : (due_ms + LEARNER_STEP_MS - 1) / LEARNER_STEP_MS * LEARNER_STEP_MS};
}

/* ---- policy.c: when a task makes an example of an impression ---- */

struct learner_label_state {
    int64_t label_ms; /* the earliest outcome's time; 0: none yet */
    int32_t sliver; /* 1 + the latest sliver that had an outcome */
    uint8_t steps; /* fnw: 1 the negative is out, 2 the positive is */
    bool is_done;
    uint16_t watched; /* of a task of ranks: 1 + the bucket of the earliest outcome; 0: it said no length */
};

struct learner_made { /* an example that a policy asks for */
    uint32_t step;
    bool is_positive;
    int64_t delay_ms;
    int64_t at_ms; /* event time: what is final by then is told with it */
};

struct learner_clockwork { /* of one impression and task */
    const struct learner_task *task;
    int64_t shown_ms;
    int64_t exit_ms; /* the user left; 0: not yet */
    uint64_t seed; /* where the slivers begin */
};

struct learner_happened { /* an outcome */
    int64_t ts_ms;
    uint32_t action;
    uint16_t watched; /* as in the label's state */
};

/* What became of an outcome; *made is set when it makes an example at once (is_made). */
enum learner_counted learner_policy__outcome(const struct learner_clockwork *of, struct learner_label_state *state,
                                             const struct learner_happened *happened, struct learner_made *made, bool *is_made);

/* What is due by time_ms (INT64_MIN: only what needs no time to pass). True: *made is to be made, and it is to be asked again. */
bool learner_policy__due(const struct learner_clockwork *of, struct learner_label_state *state, int64_t time_ms,
                         struct learner_made *made);

/* Whether the label can no longer change at at_ms, and then what it is, and how long after the impression that was known. */
bool learner_policy__is_final(const struct learner_clockwork *of, const struct learner_label_state *state, int64_t at_ms,
                              bool *is_positive, int64_t *delay_ms);

/* ---- book.c: what waits of one user ---- */

struct learner_request { /* rows were served */
    uint64_t request_id;
    int64_t served_ms;
    uint32_t models; /* bit m: model m can use them */
    uint32_t is_seen; /* some impression was of them */
};

struct learner_impression { /* one task state for each task of all models follows */
    uint64_t request_id, item_id;
    int64_t shown_ms;
    int64_t exit_ms;
    uint64_t room_id, creator_id, category_id;
    uint32_t position;
    float propensity;
    uint32_t models; /* of its rows; 0: they did not come yet */
    uint32_t scene;
    struct learner_place place, exit_place; /* so that what waited for rows is done as if they had been there */
};

struct learner_outcome { /* of an impression that is not there, or has no rows yet */
    uint64_t request_id, item_id;
    int64_t ts_ms;
    uint32_t action;
    uint16_t is_told; /* counted already, as late for an impression that was over; another one of its item may still come */
    uint16_t watched; /* where some task has ranks: 1 + the bucket, 0 for none */
    struct learner_place place;
};

/* Before there were ranks these had 0 where it now says what was watched, so accounts of then are ones of now. */
_Static_assert(sizeof(struct learner_label_state) == 16 && offsetof(struct learner_outcome, place) == 32,
               "format 2 of accounts");

/*
 * An example that an event made, or that an event found to be due before it, on its way to the outbox: it leaves when time comes to its
 * place. As it was then, whatever happens to the account meanwhile. The states follow, as those of an impression.
 */
struct learner_held {
    struct learner_place place;
    struct learner_made made;
    uint64_t task;
    struct learner_impression shown;
};

struct learner_book_head {
    uint32_t format;
    uint32_t task_count;
    uint64_t tasks; /* hash of the configuration's tasks */
    int64_t scheduled_ms; /* the earliest due place that is known of it; INT64_MAX: none */
    uint32_t request_count, impression_count, outcome_count, held_count;
    uint64_t scheduled_number;
};

struct learner_book { /* copied out; capacity grows as needed */
    struct learner_place scheduled;
    struct learner_request *requests;
    uint8_t *impressions;
    struct learner_outcome *outcomes;
    uint8_t *held;
    int request_count, impression_count, outcome_count, held_count;
    int request_capacity, impression_capacity, outcome_capacity, held_capacity;
    size_t stride, held_stride; /* of an impression, of what is held */
    bool is_changed; /* since it was read */
    bool is_failed; /* out of memory */
};

void learner_book__init(struct learner_book *book, int task_count);
void learner_book__fini(struct learner_book *book);

/* Whether bytes are a book; of a stored one's task_count impressions are this many bytes. */
bool learner_book__is_good(struct fr_slice bytes);

/* Of format 1, without places: appends it as one of now. */
bool learner_book__is_old(struct fr_slice bytes);
void learner_book__widen(struct fr_slice bytes, struct fr_buffer *memory);

/* Empty bytes are an empty book. The impressions of another configuration are left out, with what is held, and *lost says how many. */
void learner_book__read(struct learner_book *book, struct fr_slice bytes, uint64_t tasks, int *lost);
uint32_t learner_book__bytes(const struct learner_book *book); /* 0: nothing waits */
void learner_book__write(const struct learner_book *book, uint64_t tasks, void *bytes);

static inline struct learner_label_state *learner_book__states(const struct learner_impression *shown)
{
    return (struct learner_label_state *)(uintptr_t)(shown + 1);
}
static inline struct learner_impression *learner_book__at(const struct learner_book *book, int i)
{
    return (struct learner_impression *)(void *)(book->impressions + (size_t)i * book->stride);
}
static inline struct learner_held *learner_book__held_at(const struct learner_book *book, int i)
{
    return (struct learner_held *)(void *)(book->held + (size_t)i * book->held_stride);
}
static inline struct learner_label_state *learner_book__held_states(const struct learner_held *held)
{
    return (struct learner_label_state *)(uintptr_t)(held + 1);
}
struct learner_request *learner_book__request(const struct learner_book *book, uint64_t request_id);
struct learner_impression *learner_book__impression(const struct learner_book *book, uint64_t request_id, uint64_t item_id);
/* Zeroed, at the end; NULL and is_failed when out of memory. */
struct learner_request *learner_book__add_request(struct learner_book *book);
struct learner_impression *learner_book__add_impression(struct learner_book *book);
struct learner_outcome *learner_book__add_outcome(struct learner_book *book);
struct learner_held *learner_book__add_held(struct learner_book *book);
void learner_book__remove_request(struct learner_book *book, int i); /* keeps the order of the rest */
void learner_book__remove_impression(struct learner_book *book, int i);
void learner_book__remove_outcome(struct learner_book *book, int i);
void learner_book__remove_held(struct learner_book *book, int i);

/* ---- served.c: the rows of a request, as they lie in the store ---- */

struct learner_rows_head {
    uint32_t format, item_count;
    int64_t served_ms;
    uint64_t matrix; /* Served.schema */
    uint64_t model_version;
    uint64_t model; /* hash of the model's name that made `sparse`; 0: none did */
    uint32_t user_columns, item_columns, sparse_count;
    uint32_t scene;
    uint32_t has_positions, has_propensities;
};

struct learner_rows { /* looked at in place */
    struct learner_rows_head head;
    const uint64_t *item_ids, *sparse;
    const float *user_values, *item_values, *propensities;
    const uint32_t *positions;
};

uint32_t learner_rows__bytes(const Freshet__V1__Served *served);
void learner_rows__write(const Freshet__V1__Served *served, void *bytes);
bool learner_rows__look(struct fr_slice bytes, struct learner_rows *rows); /* false: they make no sense */
int learner_rows__find(const struct learner_rows *rows, uint64_t item_id); /* −1: not among them */

/* ---- example.c ---- */

struct learner_labelled { /* an example to be made, without its features */
    int doing, number; /* what of the batch it came of, and the how manieth it is: where it lies among those of a batch */
    struct learner_place place; /* among those that leave as time passes */
    int task; /* of all */
    uint64_t user_id;
    struct learner_made made;
    struct learner_impression shown;
    struct learner_label_state states[LEARNER_TASKS_ALL_MAX];
};

/* XXH64, seed 0, over request, user, item and step, 8 bytes little endian each, then the text "model.task". */
uint64_t learner_example__id(const struct learner_labelled *labelled, const char *model, const char *task);

/* Whether a negative is kept at this rate: a hash of the id, as a fraction, is below it. */
bool learner_example__is_kept(uint64_t example_id, double rate);

/* Whether it is a watch of a task of ranks that said no length: nobody can tell its label. */
bool learner_example__is_unranked(const struct learner_join *join, const struct learner_labelled *labelled);

/* Appends it to a chunk, with ranks as they are now; false when the rows do not have the item. */
bool learner_example__append(const struct learner_join *join, const struct learner_labelled *labelled, uint64_t example_id,
                             const struct learner_rows *rows, struct fr_arena *arena, struct fr_buffer *chunk);

/* ---- watched.c: the ranks that are labels ---- */

struct learner_watched;

/* What the last epoch has of it; another definition's begins anew. NULL: out of memory. Close takes NULL. */
struct learner_watched *learner_watched__open(uint64_t name, uint64_t definition, struct store *store);
void learner_watched__close(struct learner_watched *watched);
/* The middle rank of a watch in that bucket (proto_event_watched()) among those of its length so far and itself: between 0 and 1. */
double learner_watched__rank(const struct learner_watched *watched, uint32_t bucket);
void learner_watched__count(struct learner_watched *watched, uint32_t bucket); /* inside the gate, by whoever passes time */
void learner_watched__save(struct learner_watched *watched, struct store *store); /* what changed; with the gate held alone */

/* ---- due.c: who is to be looked at when ---- */

struct learner_dues { /* a heap, under a lock */
    pthread_mutex_t lock;
    struct learner_due {
        struct learner_place place;
        uint64_t user_id;
    } * heap;
    size_t count, capacity;
};

bool learner_dues__init(struct learner_dues *dues);
void learner_dues__fini(struct learner_dues *dues);
bool learner_dues__put(struct learner_dues *dues, struct learner_place place, uint64_t user_id); /* false: out of memory */
/* Takes up to `most` that are due by `until`, the earliest first. */
int learner_dues__take(struct learner_dues *dues, struct learner_place until, struct learner_due *taken, int most);
bool learner_dues__has(struct learner_dues *dues, struct learner_place until); /* anybody due by then */
bool learner_dues__first(struct learner_dues *dues, struct learner_due *first); /* who would be taken; false: nobody */
void learner_dues__clear(struct learner_dues *dues);
/* Takes the first if it is before `next`. */
bool learner_dues__take_before(struct learner_dues *dues, const struct learner_due *next, struct learner_due *taken);

/* ---- join.c ---- */

struct learner_any_task {
    int model, index;
    const struct learner_task *task;
    uint64_t hash; /* of "model.task" */
    struct learner_watched *watched; /* of a task of ranks; else NULL */
};

struct learner_join {
    const struct learner_config *config;
    const struct learner_schema *schemas;
    const uint64_t *matrices;
    uint64_t model_hashes[LEARNER_MODELS_MAX];
    int64_t longest_ms; /* window of all tasks */
    struct learner_any_task tasks[LEARNER_TASKS_ALL_MAX];
    int task_count;
    uint64_t tasks_hash;
    uint64_t actions; /* of any task */
    bool has_sliver, has_ranks;
    uint32_t ordered; /* bit m: examples of model m leave in the order of places, and not as they are made */
    struct store *store;
    struct learner_dues dues;
    _Atomic int64_t time_ms;
    _Atomic uint64_t numbers, events; /* given to events so far; of these, whose batch is done */
    struct learner_outbox outbox;
    _Atomic uint64_t waiting_bytes;
    struct fr_counter *counters[LEARNER_COUNTED];
    struct fr_counter *examples[LEARNER_TASKS_ALL_MAX][2]; /* by task, negative and positive */
    struct fr_gauge *waiting, *outbox_bytes;
};

struct learner_doing { /* work on one user of a batch */
    uint64_t user_id;
    int index; /* served first, then events from served_count on */
};

struct learner_gone {
    uint64_t user_id, request_id;
};

struct learner_join_lane {
    struct learner_join *join;
    struct learner_book book;
    struct learner_doing *doings;
    struct store_key *keys;
    uint64_t *hashes;
    int doing_count, doing_capacity, key_count, key_capacity;
    struct learner_labelled *labelled;
    int labelled_count, labelled_capacity;
    struct learner_gone *gone; /* requests whose rows are needed no more */
    int gone_count, gone_capacity;
    int doing; /* index of the doing at hand, which examples are noted with */
    struct learner_place at; /* of the event at hand, or of what passes */
    bool is_passing; /* time does, and not an event */
    uint64_t first_event; /* number of the batch's first */
    struct fr_arena *arena; /* of one example */
    struct fr_buffer chunk;
    int chunk_count; /* examples in it */
    uint64_t counted[LEARNER_COUNTED];
    bool is_failed; /* out of memory */
};

static inline void learner_join__count(struct learner_join_lane *lane, enum learner_counted what)
{
    lane->counted[what]++;
}
void learner_join__tell(struct learner_join_lane *lane); /* what was counted, to the metrics */

void learner_join__key(int kind, uint64_t first, uint64_t second, struct store_key *key);
bool learner_join__want(struct learner_join_lane *lane, int kind, uint64_t first, uint64_t second); /* adds to lane->keys */
bool learner_join__load_wanted(struct learner_join_lane *lane, struct fr_err *err); /* and forgets them */
FR_CHECKED bool learner_join__fail(struct learner_join *join, struct fr_err *err);

/* ---- user.c: an account in the store ---- */

/* Into lane->book, from a locked entry; NULL: an empty one. */
void learner_user__read(struct learner_join_lane *lane, const struct store_entry *entry);
/* The same without changing anything, by itself. */
void learner_user__peek(struct learner_join_lane *lane, uint64_t user_id);
/* Puts it back, and sees to it that it is looked at in time. False: out of memory. */
bool learner_user__write(struct learner_join_lane *lane, struct store_entry *entry, uint64_t user_id);
/*
 * Does what changed accounts ask for, once they are unlocked: makes examples and removes rows. Of a batch in the order of what they came
 * of, and not of users, so that they follow the events of a partition wherever it ends; as time passes in that of places, and what
 * one event or one step made of a user by what it is of.
 */
FR_CHECKED bool learner_user__settle(struct learner_join_lane *lane, bool is_passing, struct fr_err *err);

/* ---- account.c: what happens to a book ---- */

void learner_account__served(struct learner_join_lane *lane, uint64_t user_id, const struct learner_request *request);
void learner_account__event(struct learner_join_lane *lane, const struct proto_event *event);

/* ---- labelled.c: examples to be ---- */

static inline bool learner_impression__is_of(const struct learner_join *join, const struct learner_impression *shown, int task)
{
    return (shown->models >> join->tasks[task].model & 1) != 0;
}
struct learner_clockwork learner_labelled__clockwork(const struct learner_join *join, const struct learner_impression *shown,
                                                     int task);
void learner_labelled__note(struct learner_join_lane *lane, uint64_t user_id, const struct learner_impression *shown, int task,
                            const struct learner_made *made, struct learner_place place);
/*
 * Notes what is due of an impression, and one task or all, by time_ms: where the event at `at` lies; where it is NULL, at the end of the
 * step.
 */
void learner_labelled__task_due(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown, int task,
                                int64_t time_ms, const struct learner_place *at);
void learner_labelled__due(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown, int64_t time_ms,
                           const struct learner_place *at);
/* What is held up to a place goes to the lane. */
void learner_labelled__release(struct learner_join_lane *lane, uint64_t user_id, struct learner_place until);

/* ---- waiting.c: how long what is in a book waits ---- */

void learner_waiting__note_gone(struct learner_join_lane *lane, uint64_t user_id, uint64_t request_id); /* its rows are */
void learner_waiting__drop_impression(struct learner_join_lane *lane, int i); /* for want of room */
int64_t learner_waiting__outcome_end(const struct learner_join *join, const struct learner_outcome *outcome);
void learner_waiting__tell_alone(struct learner_join_lane *lane, const struct learner_outcome *outcome); /* once */
void learner_waiting__drop_outcome(struct learner_join_lane *lane, int i);
/* Up to a place; with is_dropping nothing is made of what leaves, but for what is made already. */
void learner_waiting__pass(struct learner_join_lane *lane, uint64_t user_id, struct learner_place until, bool is_dropping);
struct learner_place
learner_waiting__due(const struct learner_join_lane *lane); /* where it is to be looked at next; INT64_MAX: never */

/* Puts the lane's chunk into the outbox when it is not empty. Inside the gate. */
FR_CHECKED bool learner_join__send(struct learner_join_lane *lane, struct fr_err *err);

#endif
