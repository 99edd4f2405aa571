/* What the files of sessions share: the account of a user, what is made of it, and the frequencies of items. */
#ifndef LEARNER_SESSIONS_INTERNAL_H
#define LEARNER_SESSIONS_INTERNAL_H

#include "join.h"
#include "outbox.h"

#include <freshet/sessions.h>
#include <freshet/v1/session.pb-c.h>

enum {
    LEARNER_SESSION_FORMAT = 1,
    LEARNER_SESSION_SPARE = 4, /* times sessions.tokens may wait of a user, … */
    LEARNER_SESSION_WAITING_LEAST = 1024, /* … and so many at least; then the oldest of them leave before their time */
    LEARNER_SESSION_CHUNK_BYTES = 256 << 10,
};

/* ---- session_book.c: the account of a user ---- */

struct learner_token { /* in the order of its words, which is the total order of events as far as they are kept */
    uint64_t ts_ms, event_id, action, item_id, value; /* the bits of a double */
    uint64_t creator_id, category_id, scene, request_id, position;
};

struct learner_session_head { /* then the tokens, in order */
    uint32_t format, token_count;
    int64_t scheduled_ms; /* the due time that is in the heap; INT64_MAX: none */
    uint64_t first_id; /* of the session that the first token goes on with; 0: it begins one */
    uint32_t part, tokens_before;
    struct learner_token after; /* the last token of what was cut off */
};

struct learner_session_book { /* copied out; capacity grows as needed */
    struct learner_session_head head;
    struct learner_token *tokens;
    uint32_t capacity;
    bool is_changed, is_failed; /* failed: out of memory */
};

void learner_session_book__read(struct learner_session_book *book, struct fr_slice bytes); /* empty: an empty one */
uint32_t learner_session_book__bytes(const struct learner_session_book *book); /* 0: nothing waits */
void learner_session_book__write(const struct learner_session_book *book, void *bytes);

/* Puts a token where it belongs; false: it is not behind what was cut off. */
bool learner_session_book__add(struct learner_session_book *book, const struct learner_token *token);

struct learner_session_part { /* the first tokens of a book, which make a record */
    uint32_t count;
    Freshet__V1__SessionEnd end;
    int64_t due_ms; /* when it is one, should nothing more come */
};
/* Of a book that is not empty. */
struct learner_session_part learner_session_book__part(const struct learner_session_book *book,
                                                       const struct learner_sessions *config);
/* Takes it off; what is left goes on with it unless it ended by a gap. */
void learner_session_book__take(struct learner_session_book *book, const struct learner_session_part *part,
                                uint64_t session_id);

/* ---- frequency.c: how often items are positives, as a stream (Yi et al., RecSys 2019) ---- */

struct learner_frequency {
    pthread_mutex_t lock;
    struct learner_frequency_slot {
        uint64_t latest; /* the step of the last one; 0: none yet */
        double interval; /* steps between two, averaged */
    } * slots;
    bool *is_dirty; /* of each block, since the last epoch */
    uint32_t count;
    double rate;
    uint64_t steps;
};

enum { LEARNER_FREQUENCY_BLOCK = 256 /* slots of a meta record */ };

/* As the store has it, if that is of so many slots. False: out of memory. To be closed all the same. */
FR_CHECKED bool learner_frequency__open(struct learner_frequency *frequency, uint32_t count, double rate, struct store *store);
void learner_frequency__close(struct learner_frequency *frequency);

/* A step: the item was a positive. What is then known of ln q, the share of its steps in all. Any thread, inside the gate. */
double learner_frequency__note(struct learner_frequency *frequency, uint64_t item_id);

/* In the committer's boundary. */
void learner_frequency__save(struct learner_frequency *frequency, struct store *store);

/* ---- session_record.c ---- */

/* XXH64, seed 0, over user, time and event_id of the first token, and part, 8 bytes little endian each. */
uint64_t learner_session__id(uint64_t user_id, const struct learner_token *first, uint32_t part);

/* Appends the book's first tokens as a record to a chunk. False: the arena has no room. */
FR_CHECKED bool learner_session__append(const struct learner_sessions *config, struct learner_frequency *frequency,
                                        uint64_t user_id, const struct learner_session_book *book,
                                        const struct learner_session_part *part, uint64_t session_id, struct fr_arena *arena,
                                        struct fr_buffer *chunk);

/* ---- session_slates.c ---- */

/* Feedback by request of a record's tokens. False: the arena has no room. */
FR_CHECKED bool learner_session__put_slates(const struct learner_token *tokens, uint32_t count, struct fr_arena *arena,
                                            Freshet__V1__Session *session);

/* ---- sessions.c ---- */

enum learner_session_counted {
    LEARNER_TOKEN_TAKEN,
    LEARNER_TOKEN_LATE, /* of a session that had ended */
    LEARNER_SESSION_GAP,
    LEARNER_SESSION_FULL,
    LEARNER_SESSION_LONG,
    LEARNER_SESSION_ROOM,
    LEARNER_SESSION_EARLY, /* of those, which left before their time because too many of a user waited */
    LEARNER_SESSIONS_COUNTED
};

/* Users whose time passes together: all, or those of one partition of a cluster. */
struct learner_session_share {
    struct learner_dues dues;
    _Atomic int64_t time_ms;
    _Atomic uint64_t waiting_bytes;
    atomic_bool is_here; /* sessions of it end */
    bool is_found; /* dues and bytes are those of the accounts that the store has; by who shares */
};

struct learner_session_table {
    const struct learner_sessions *config;
    struct store *store;
    struct learner_session_share *shares;
    int share_count;
    int (*share_of)(void *user, uint64_t user_id); /* NULL: there is one */
    void *user;
    struct learner_frequency frequency;
    struct learner_outbox outbox;
    _Atomic uint64_t waiting_bytes; /* of all shares */
    _Atomic uint64_t unsent_bytes; /* that no transaction has; where there is one share the outbox has them */
    struct fr_counter *counters[LEARNER_SESSIONS_COUNTED];
    struct fr_gauge *waiting, *outbox_bytes;
};

struct learner_sessions_lane {
    struct learner_session_table *table;
    struct learner_session_book book;
    struct learner_session_event { /* of the batch, by user */
        uint64_t user_id;
        int index;
    } * events;
    struct store_key *keys;
    uint64_t *hashes;
    int event_count, capacity;
    struct fr_arena *arena; /* of one record */
    struct fr_buffer chunk;
    uint64_t told_bytes; /* of the chunk, that unsent_bytes has */
    uint64_t counted[LEARNER_SESSIONS_COUNTED];
};

FR_CHECKED bool learner_sessions__fail(struct learner_session_table *table, struct fr_err *err);
void learner_sessions__key(uint64_t user_id, struct store_key *key);
struct learner_session_share *learner_sessions__share(struct learner_session_table *table, uint64_t user_id);
/* What has ended is on its way: into the outbox, or it stays with the lane until the boundary. Inside the gate. False: out of memory. */
FR_CHECKED bool learner_sessions__leave(struct learner_sessions_lane *lane);
void learner_sessions__tell(struct learner_sessions_lane *lane); /* what was counted, to the metrics */

/* ---- session_shares.c ---- */

FR_CHECKED bool learner_session_shares__open(struct learner_session_table *table, int count); /* false: out of memory */
void learner_session_shares__close(struct learner_session_table *table);
/* Of an account that the store has: when it is due, and what it takes. False: out of memory. */
FR_CHECKED bool learner_session_share__find(struct learner_session_table *table, struct learner_session_share *share,
                                            uint64_t user_id, struct fr_slice bytes);
void learner_session_share__count(struct learner_session_table *table, struct learner_session_share *share, uint64_t before,
                                  uint64_t after); /* bytes of an account */

/* ---- session_account.c: an account in the store ---- */

/* From a locked entry, NULL: an empty one. False: out of memory. */
FR_CHECKED bool learner_session_account__read(struct learner_sessions_lane *lane, const struct store_entry *entry);
/* Puts it back, and sees to it that it is looked at in time. False: out of memory. */
FR_CHECKED bool learner_session_account__write(struct learner_sessions_lane *lane, struct store_entry *entry, uint64_t user_id);
/* The first part becomes a record of the chunk. False: out of memory. */
FR_CHECKED bool learner_session_account__end(struct learner_sessions_lane *lane, uint64_t user_id,
                                             const struct learner_session_part *part);

#endif
