/*
 * What the files of ingest share. Who owns what:
 *
 *   helper   the client's questions (cluster, topics, watermarks, topic creation) and the places where partitions start
 *   lane     its queue of fetched records, its batch, and the parts it consumes
 *   part     one partition; it travels between helper and lane as a message, and only the one who holds it touches it, but for
 *            `seen`, which is shown to everybody under the lock of the table
 *   office   the producing client: dead letters and topic creation
 *   commits  the group's client, which only tells Kafka where we are
 *
 * The consumer has no group, and the group's client consumes nothing: what is wrong with a coordinator stays away from the events.
 */
#ifndef FRESHET_INGEST_INTERNAL_H
#define FRESHET_INGEST_INTERNAL_H

#include <freshet/arena.h>
#include <freshet/ingest.h>
#include <freshet/queue.h>

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    INGEST_ERROR_BYTES = 512, /* room for librdkafka's messages */
    INGEST_QUESTION_MS = 1000, /* how long one question may wait for its answer */
    INGEST_SOURCES_MAX = 65, /* topics, with the dead letters' */
    INGEST_MISSING_MS = 5000, /* a topic is missing, or an offset beyond the end, when it was so for this long */
    INGEST_BATCH_BYTES = 4 << 20, /* a batch ends when its records exceed this */
    /* The wire form of a batch of JSON is never more than its text; served rows are at most ten times as large as on the wire. */
    INGEST_SCRATCH_BYTES = 64 << 20
};

/* ---- properties.c: configurations of clients ---- */

enum ingest_role {
    INGEST_CONSUMER,
    INGEST_GROUP,
    INGEST_OFFICE,
    INGEST_PRODUCER,
    INGEST_BROKER,
    INGEST_MEMBER,
    INGEST_TRANSACTIONS,
    INGEST_WITNESS /* a consumer that sees open transactions */
};

struct ingest_client {
    enum ingest_role role;
    const char *brokers;
    const struct ingest_property *properties; /* the user's */
    int property_count;
    const char *group; /* of a group's client */
    const char *instance; /* of a member, and of transactions: which one it is */
    uint64_t queue_bytes; /* of a consumer: what one lane may have fetched and not read */
    unsigned wait_ms; /* of a consumer: for how long a broker that has nothing holds a fetch; 0: as events need it */
    void *opaque; /* given to the callbacks, which rd_kafka_poll() calls */
    void (*on_delivery)(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque);
    /* What librdkafka logs of brokers, for whoever wants to tell it; the same error comes once in a while. May be NULL. */
    void (*on_rebalance)(rd_kafka_t *client, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *partitions,
                         void *opaque); /* of a member */
    void (*on_error)(rd_kafka_t *client, int error, const char *reason, void *opaque);
};

/* A client of librdkafka. FR_BAD_CONFIG names the property and what is wrong with it. */
FR_CHECKED bool ingest_client__new(const struct ingest_client *client, rd_kafka_t **ret, struct fr_err *err);

/* Keeps what `on_error` was told in `trouble`, if it says why. */
void ingest_client__keep_trouble(int error, const char *reason, char trouble[INGEST_TROUBLE_BYTES]);

/* The value of the user's property `name` as an integer, or `otherwise`. */
int64_t ingest_client__number(const struct ingest_property *properties, int count, const char *name, int64_t otherwise);

/* The id of the cluster that answered, to be freed with rd_kafka_mem_free(client, id); NULL when none did within the time. */
char *ingest_client__cluster(rd_kafka_t *client, int timeout_ms, bool *is_mock);

/* Lets ThreadSanitizer see librdkafka's threads (c11_threads.c); otherwise nothing. */
void ingest_threads__show(void);

/* ---- marks.c ---- */

/*
 * Where the partitions begin (`at` RD_KAFKA_OFFSET_BEGINNING) or end (RD_KAFKA_OFFSET_END), by the client's isolation.level. False after
 * `timeout_ms` at the latest, and where only some answered: FR_UNAVAILABLE. Not rd_kafka_query_watermark_offsets(): 2.0.2 goes on for as
 * long as the leader with whom it began is away, since a request that could not be sent is not counted as a try (measured: instances stood still
 * until a broker that had died came back).
 */
FR_CHECKED bool ingest_marks__ask(rd_kafka_t *client, const char *topic, const int32_t *partitions, int count, int64_t at,
                                  int timeout_ms, int64_t *marks, struct fr_err *err);

/* ---- fetched.c: what librdkafka has fetched into a queue and nobody has read ---- */

enum { INGEST_RECORD_OVERHEAD_BYTES = 384 /* what librdkafka keeps beside the payload of a fetched record */ };

/* A client fetches no more into a queue that has so many bytes: the other half is for answers that are under way. */
static inline uint64_t ingest_fetched__bound(uint64_t queue_bytes)
{
    return queue_bytes < 2 << 20 ? 1 << 20 : queue_bytes / 2; /* librdkafka takes no less */
}

/*
 * librdkafka looks only once a second whether a queue that was full has room again (measured: a drain came to 0.95 million records a
 * second instead of 2.6), and a request on the broker's connection makes it look at once. So who reads asks for something whenever half
 * of what was there is gone. Full is a matter of bytes: of records of 16 KB a queue of 8 MB takes five hundred.
 */
struct ingest_fetched {
    uint64_t queue_bytes; /* as in ingest_client; the rest starts with 0 */
    uint64_t record_bytes; /* of late, in the mean */
    int64_t peak; /* most records seen in the queue since it last became hungry */
};

/* What was read from the queue. */
void ingest_fetched__take(struct ingest_fetched *fetched, rd_kafka_message_t *const *messages, ssize_t count);

/* True once, when the queue was about full and half of it is gone: something is to be asked of the brokers. */
bool ingest_fetched__is_hungry(struct ingest_fetched *fetched, rd_kafka_queue_t *queue);

/* ---- topic.c: finding and making topics ---- */

enum ingest_topic_found { INGEST_TOPIC_FOUND, INGEST_TOPIC_MISSING, INGEST_TOPIC_DENIED, INGEST_TOPIC_UNKNOWN };

struct ingest_topic_state {
    const char *name;
    enum ingest_topic_found found;
    int partitions;
    int replicas; /* of its first partition */
    int brokers; /* that there are */
};

/*
 * Fills all but the name of each. With `is_listing` the cluster is asked for all its topics: a question by name makes a
 * missing one on brokers that create topics by themselves. False when nobody answered.
 */
bool ingest_topic__find(rd_kafka_t *client, struct ingest_topic_state *topics, int count, bool is_listing);

/*
 * A handle of a topic to produce to, whose leaders are known. Without the question librdkafka asks at its next tick, up to a second
 * after the first record (measured). NULL when out of memory; an unknown topic is met later, by its records.
 */
rd_kafka_topic_t *ingest_topic__prepare(rd_kafka_t *client, const char *name);

/* Makes one; true when it exists already. Waits for the answer, or until `stop` is closed (may be NULL). */
struct ingest_topic_wanted {
    const char *name;
    int partitions;
    bool is_compacted; /* by key; the embedded broker keeps everything all the same */
    bool is_replicated; /* three times, as far as there are brokers; else as they do by themselves */
    int64_t retention_ms; /* −1: for ever; of one that is compacted, of deletes; 0: as the brokers do */
};
FR_CHECKED bool ingest_topic__create(rd_kafka_t *client, const struct ingest_topic_wanted *wanted, bool is_mock,
                                     struct fr_queue *stop, struct fr_err *err);

/* ---- topic_settings.c ---- */

/*
 * Refuses a topic whose settings lose what is wanted of it, with the command that mends it (FR_BAD_CONFIG); logs what is merely frail.
 * FR_UNAVAILABLE: ask again.
 */
FR_CHECKED bool ingest_topic__check(rd_kafka_t *client, const struct ingest_topic_wanted *wanted, const char *brokers,
                                    struct fr_err *err);

/* ---- place.c: where a partition starts ---- */

enum ingest_placed {
    INGEST_PLACED,
    INGEST_PLACED_AFTER_GAP, /* retention took `gap` offsets that were not read */
    INGEST_PLACED_NOWHERE, /* unknown, and options.start is `fail` */
    INGEST_PLACED_BEYOND /* past the end: the log is not the one that was read, or was cut */
};
struct ingest_place {
    enum ingest_placed placed;
    int64_t next_offset;
    int64_t gap;
    bool is_checked; /* the record that was read last is there: it comes first again and is compared */
};

/*
 * `stored`: the next offset as it was known, `last` that of the record before it, −1 when not; `is_late`: found after the topic was, so
 * nothing of it was read.
 */
struct ingest_place ingest_place__choose(int64_t stored, int64_t last, int64_t low, int64_t end, enum ingest_start start,
                                         bool is_late);

/* ---- part.c: the table of partitions ---- */

struct ingest_source { /* a topic that is read, or the dead letters' */
    char *name;
    int index;
    enum proto_format format;
    int partitions_wanted; /* to make it with; 0: it must exist; INGEST_LIKE_FIRST */
    bool is_served;
    const struct proto_table *table; /* NULL: of events, or served rows */
    int table_number;
    bool is_read; /* false for the dead letters */
    bool is_made_here;
    rd_kafka_topic_t *handle; /* the consumer's, set before the first part goes to a lane; for dead letters the office's */
    _Atomic int partition_count; /* found, by the helper; 0: not found yet */
    int64_t missing_since_ms; /* 0: it is not */
    bool was_missing; /* when it was last asked for, after it had been found */
};

enum ingest_mail_kind { INGEST_MAIL_LOST, INGEST_MAIL_HUNGRY, INGEST_MAIL_FAILED };
struct ingest_mail { /* from a lane to the helper; lives in the part or lane it speaks of */
    enum ingest_mail_kind kind;
    struct ingest_part *part;
    struct ingest_lane *lane;
};

struct ingest_order { /* from the helper to a lane; lives in the part it speaks of */
    bool is_doubt; /* the part comes back if it is consumed, to be placed and checked again; otherwise: begin it */
    bool is_release; /* it comes back, and nothing of it is fetched any more */
    struct ingest_part *part;
};

struct ingest_part {
    int index;
    int lane;
    int32_t number;
    bool is_late;
    struct ingest_source *source;
    struct ingest_mail mail;
    struct ingest_order place, doubt, release;
    bool is_doubted; /* the helper's: the lane is to be told */
    bool is_releasing; /* the helper's: the lane was told to let it go */
    atomic_bool is_owned; /* it is to be read */
    atomic_bool is_given; /* `given` is where from; told before is_owned, taken by the helper */
    struct ingest_position given;

    /* Whoever holds the part; the lane holds it while is_consuming is set, and that and `quiet_…` are always the lane's. */
    int64_t next_offset; /* to hand out next; −1: unknown */
    int64_t stop_offset; /* is not handed out, nor what follows; −1: there is no such end */
    struct ingest_mark last; /* of the record handed out last */
    bool is_checking; /* `last` comes first again, to see that it is still the same record */
    bool is_changed; /* it was another: the topic was made anew */
    bool needs_telling; /* the sink does not know next_offset yet */
    bool is_consuming; /* librdkafka fetches it */
    bool is_waiting; /* the helper holds it and has to place it */
    int64_t waiting_since_ms;
    int64_t beyond_since_ms; /* 0: its offset is not past the end */
    struct ingest_advance *advance; /* in the lane's batch; NULL between batches */
    int64_t quiet_offset; /* next_offset when it last moved, and when that was seen */
    int64_t quiet_since_ms;

    struct ingest_partition seen; /* under the table's lock */
};

struct ingest_parts {
    pthread_mutex_t lock;
    struct ingest_part **list;
    int count;
    int capacity;
    bool is_complete; /* all topics were found */
    bool is_told; /* which ones are owned */
    bool is_connected; /* the last questions were answered */
    char trouble[INGEST_TROUBLE_BYTES]; /* why not, if a client was told */
};

bool ingest_parts__init(struct ingest_parts *parts);
void ingest_parts__fini(struct ingest_parts *parts);

/* Adds a partition and takes *part over. False when out of memory; the part then stays the caller's. */
bool ingest_parts__add(struct ingest_parts *parts, struct ingest_part **part);

struct ingest_part *ingest_parts__at(struct ingest_parts *parts, int index);
int ingest_parts__count(struct ingest_parts *parts);
void ingest_parts__set_marks(struct ingest_parts *parts, int index, int64_t low, int64_t end, int64_t known_ms);
void ingest_parts__set_started(struct ingest_parts *parts, int index, int64_t stop, int64_t gap);
void ingest_parts__set_owned(struct ingest_parts *parts, int index, bool is_owned);
void ingest_parts__set_told(struct ingest_parts *parts);
void ingest_parts__set_complete(struct ingest_parts *parts);
void ingest_parts__set_connected(struct ingest_parts *parts, bool is_connected);
void ingest_parts__set_trouble(struct ingest_parts *parts, const char trouble[INGEST_TROUBLE_BYTES]);
struct ingest_partition ingest_parts__seen(struct ingest_parts *parts, int index);

/* ---- dead_letter.c ---- */

struct ingest_letters;

struct ingest_letter_draft {
    const char *topic;
    int32_t partition;
    int64_t offset;
    struct fr_slice key;
    struct fr_slice value;
    enum proto_verdict verdict;
    const char *why;
};

/* `topic` NULL: letters are counted and logged, and go nowhere. NULL when out of memory. The producing client comes later. */
struct ingest_letters *ingest_letters__new(const char *topic, const char *brokers, struct fr_metrics *metrics);
void ingest_letters__set_client(struct ingest_letters *letters, rd_kafka_t *client);
void ingest_letters__free(struct ingest_letters *letters); /* after its client is destroyed; NULL is fine */

/* Counts it and queues a copy; waits while too many are under way. False when `stop` was closed meanwhile. Any lane. */
FR_CHECKED bool ingest_letters__post(struct ingest_letters *letters, const struct ingest_letter_draft *draft,
                                     struct fr_queue *stop);

/* Sends again what Kafka refused, when its time has come. The helper calls it every few ms. */
void ingest_letters__resend(struct ingest_letters *letters);

/* Gives up at the timeout, or when `stop` is closed (may be NULL). */
FR_CHECKED bool ingest_letters__flush(struct ingest_letters *letters, int timeout_ms, struct fr_queue *stop,
                                      struct fr_err *err);

/* librdkafka's report on one letter; `opaque` is the letters'. */
void ingest_letters__on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque);

/* ---- commit.c: the group's offsets ---- */

struct ingest_commits {
    rd_kafka_t *client;
    rd_kafka_queue_t *answers;
    atomic_int under_way;
    struct fr_counter *failures;
};

FR_CHECKED bool ingest_commits__init(struct ingest_commits *commits, const struct ingest_client *options,
                                     struct fr_metrics *metrics, struct fr_err *err);
void ingest_commits__fini(struct ingest_commits *commits); /* after the helper has ended */
/* One at a time: while an answer is awaited nothing is sent, and that is counted. */
void ingest_commits__send(struct ingest_commits *commits, struct ingest_parts *parts, const int64_t *next_offsets, int count);
void ingest_commits__serve(struct ingest_commits *commits); /* takes the answers; the helper */
/* What the group told last of a partition; −1: nothing. False: nobody answers now. Blocks for seconds at most; the helper. */
FR_CHECKED bool ingest_commits__ask(struct ingest_commits *commits, const char *topic, int32_t partition, int64_t *next);

/* ---- lane.c, batch.c ---- */

struct ingest_draft { /* a batch in the making */
    struct proto_event *events;
    int64_t *offsets;
    int *partitions;
    int event_count;
    struct ingest_served *served;
    int served_count;
    struct ingest_row *rows; /* NULL where no topic is a table */
    int row_count;
    struct ingest_advance *advances;
    struct ingest_part **touched; /* of each advance */
    const rd_kafka_message_t **latest; /* of each advance: its last record, NULL when it has none */
    int advance_count;
    struct ingest_part **lost; /* that are not what they were: to the helper after the batch */
    int lost_count;
    uint64_t outcomes[PROTO_VERDICTS]; /* not yet in the metrics */
    int capacity;
};

struct ingest_lane {
    struct ingest *ingest;
    int number;
    pthread_t thread;
    bool is_running;
    rd_kafka_queue_t *queue; /* fetched records of all its partitions */
    struct fr_queue *orders; /* from the helper */
    rd_kafka_message_t **messages;
    struct ingest_part ***parts; /* by topic, then by partition number; NULL: not ours */
    int *part_counts;
    struct fr_arena *scratch;
    struct ingest_draft draft;
    struct ingest_fetched fetched; /* into `queue` */
    int64_t quiet_due_ms; /* when to look for parts that stand still */
    struct fr_err err; /* what stopped it; the helper reads it after INGEST_MAIL_FAILED */
    struct ingest_mail hungry, failed;
};

FR_CHECKED bool ingest_lane__open(struct ingest_lane *lane, struct ingest *ingest, int number, struct fr_err *err);
FR_CHECKED bool ingest_lane__start(struct ingest_lane *lane, struct fr_err *err);
void ingest_lane__join(struct ingest_lane *lane);
void ingest_lane__close(struct ingest_lane *lane); /* joined, or never started */

/* `has_tables`: rows may come, too. */
FR_CHECKED bool ingest_draft__init(struct ingest_draft *draft, int capacity, bool has_tables);
void ingest_draft__fini(struct ingest_draft *draft);
void ingest_draft__clear(struct ingest_draft *draft);

/* Says that a part is finished up to `next_offset`, with `record` (which outlives the batch) or without one (NULL). */
void ingest_draft__advance(struct ingest_draft *draft, struct ingest_part *part, int64_t next_offset,
                           const rd_kafka_message_t *record);

/* Counts a record, and its timestamp, that its part's advance has finished. */
void ingest_draft__count(struct ingest_part *part, const rd_kafka_message_t *record);

/* Marks the last record of each advance. Once, before the batch is handed out. */
void ingest_draft__mark(struct ingest_draft *draft);

/* A record by what is in it. */
struct ingest_mark ingest_mark__of(const rd_kafka_message_t *record);

/* Judges messages[0..count) into the draft until it is full. Returns how many it took; −1 when the lanes stop meanwhile. */
int ingest_draft__fill(struct ingest_lane *lane, rd_kafka_message_t **messages, int count);

/* ---- helper.c, discovery.c, watermark.c ---- */

struct ingest_helper {
    struct ingest *ingest;
    pthread_t thread;
    bool is_running;
    struct fr_queue *mail;
    bool is_cluster_known;
    bool is_mock;
    bool is_fatal;
    char *cluster; /* as told to the sink */
    char *answering; /* as the brokers named it */
    int64_t topics_due_ms;
    int64_t topics_interval_ms;
    int64_t marks_due_ms;
    atomic_bool is_asked; /* for marks, by somebody who cannot wait for that */
    atomic_uint disown_asked, disown_done; /* how often parts were disowned, and for which of these all have come back */
    int64_t silent_since_ms; /* when watermarks were first asked for in vain; 0: they were answered */
    bool was_silent; /* for so long that all parts were doubted */
    int next_mark; /* whose watermarks are asked first when they are asked one by one */
};

FR_CHECKED bool ingest_helper__start(struct ingest_helper *helper, struct ingest *ingest, struct fr_err *err);
void ingest_helper__join(struct ingest_helper *helper);

/* Whether the brokers are still the cluster that they were; by what they last told of themselves. */
FR_CHECKED bool ingest_helper__check_cluster(struct ingest_helper *helper, struct fr_err *err);

/*
 * Has a part's last record looked at again, or those of a topic, or all (NULL), before anything else is read: it may have been made anew.
 * To be called while it is away, since afterwards what is read last may be of the new one already.
 */
void ingest_helper__doubt(struct ingest_part *part);
void ingest_helper__doubt_all(struct ingest *ingest, const struct ingest_source *source);

/* Finds topics and partitions, makes what is missing and may be made. False is fatal: a topic that must exist does not. */
FR_CHECKED bool ingest_discovery__refresh(struct ingest *ingest, struct fr_err *err);

/* Asks for the low and end offsets of all partitions. False when some did not answer. */
bool ingest_watermarks__ask(struct ingest *ingest);

/* ---- share.c: partitions that come and go ---- */

/* Takes what was given, has lanes let go what is disowned; the helper, each round. False: the part may not be placed. */
bool ingest_share__may_place(const struct ingest_helper *helper, struct ingest_part *part);
void ingest_share__release(struct ingest_helper *helper);

/* ---- pace.c: never ahead of what the embedded broker keeps ---- */

struct ingest_pace;
struct ingest_paced; /* one partition */

/* NULL when out of memory. `linger_us`: how long the client gathers a batch. */
struct ingest_pace *ingest_pace__new(rd_kafka_t *client, const char *group, int64_t linger_us);
void ingest_pace__free(struct ingest_pace *pace); /* before its client */

/*
 * Chooses the partition of a record (`partition` < 0: by key) and waits until it has room. False: the topic does not exist, or
 * FR_EXHAUSTED after the group has not moved for 30 s.
 */
FR_CHECKED bool ingest_pace__await(struct ingest_pace *pace, const struct ingest_record *record, int32_t *partition,
                                   struct ingest_paced **paced, struct fr_err *err);
void ingest_pace__sent(struct ingest_paced *paced);
void ingest_pace__delivered(struct ingest_paced *paced, int64_t offset); /* −1: refused */

/* That nothing was dropped before the group had read it: FR_CORRUPT otherwise. */
FR_CHECKED bool ingest_pace__check(struct ingest_pace *pace, struct fr_err *err);

/* ---- ingest.c ---- */

struct ingest {
    struct ingest_options options; /* what it points to is in `memory` */
    struct fr_arena *memory;
    rd_kafka_t *consumer;
    rd_kafka_t *office;
    struct ingest_source *sources; /* the topics, then the dead letters' if there are any */
    int source_count; /* with the dead letters' */
    struct ingest_parts parts;
    struct ingest_letters *letters;
    struct ingest_commits commits;
    struct ingest_lane *lanes;
    struct ingest_helper helper;
    struct fr_queue *stop; /* carries nothing: closed when the lanes have to stop, so that every wait can end */
    struct fr_queue *done; /* carries nothing: closed at the end of closing */
    struct fr_counter *outcomes[PROTO_VERDICTS];
    struct fr_counter *restarts;
    struct fr_counter *recreations;
    atomic_int quiet_ms; /* a partition that has records and gives none for so long is started again */
};

#endif
