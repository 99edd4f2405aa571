/*
 * Kafka: consuming, producing, dead letters and the embedded broker. A consumer takes all partitions of its topics by itself (no
 * group), from the offsets it is told, spreads them over lanes, decodes and judges each record, and hands batches to a sink. It knows
 * nothing of what a batch does. The offsets that count are the sink's; what is committed to Kafka is for lag tools only.
 *
 * Threads: one per lane (calls `batch`), one helper (connects, refreshes metadata every 10 s and end offsets every 0.5 s, serves
 * librdkafka's callbacks; calls `cluster`, `start` and `fatal`). A slow `batch` slows the lane, librdkafka's bounded queues fill,
 * and fetching pauses: nothing buffers without limit.
 */
#ifndef FRESHET_INGEST_H
#define FRESHET_INGEST_H

#include <freshet/error.h>
#include <freshet/event.h>
#include <freshet/metrics.h>
#include <freshet/served.h>
#include <freshet/table.h>

enum { INGEST_LIKE_FIRST = -1 }; /* as many partitions as the first topic has */

struct ingest_topic {
    const char *name;
    enum proto_format format;
    int partitions; /* made with so many when it does not exist; 0: must exist */
    bool is_served; /* of served rows instead of events; always protobuf */
    const struct proto_table *table; /* of a table's rows instead of events; outlives ingest. NULL: of events */
    int table_number; /* told with each row */
};

struct ingest_property { /* passed through to librdkafka */
    const char *name;
    const char *value;
};

/* A record of a partition, so that it is known again: a topic that is made anew has others at the same offsets. */
struct ingest_mark {
    int64_t offset; /* −1: of no record */
    uint64_t hash; /* of its value, key and Kafka timestamp */
};

/* Where a partition stands. */
struct ingest_position {
    int64_t next_offset; /* −1: not known */
    struct ingest_mark last; /* of the record that was finished last, before next_offset */
};

/* What one lane has for the sink. Events, and all they point to, live until `batch` returns. */
struct ingest_advance {
    int partition; /* dense index, as in ingest_partition_at() */
    int64_t next_offset; /* the partition is finished up to here once the batch is applied */
    struct ingest_mark last; /* the last record before next_offset; offset −1 when none was seen */
    uint64_t records; /* finished by it: events, unknown actions and dead letters; canaries are not counted */
    int64_t kafka_ts_ms; /* of the last of them; −1 when there was none */
    int64_t kafka_ts_most_ms; /* the greatest of theirs; −1 */
};
struct ingest_served {
    const Freshet__V1__Served *rows;
    int partition; /* dense index */
};
struct ingest_row { /* of a table */
    struct proto_table_row row;
    int table; /* the topic's table_number */
};
struct ingest_batch {
    int lane; /* 0 … lanes − 1 */
    const struct proto_event *events; /* PROTO_EVENT verdicts only, in the order of each partition */
    const int64_t *offsets; /* of each event */
    const int *partitions; /* dense index of each event's partition */
    int event_count; /* may be 0: only offsets move (dead letters, control records) */
    const struct ingest_served *served; /* valid rows of topics that have them, in the order of each partition */
    int served_count;
    const struct ingest_row *rows; /* of topics that are tables, in the order of each partition */
    int row_count;
    const struct ingest_advance *advances; /* one per partition touched */
    int advance_count;
};

struct ingest_sink {
    void *user;
    /* Once, before any `start`: the id of the cluster that answered. False refuses it: the error goes to `fatal`. */
    bool (*cluster)(void *user, const char *cluster_id, struct fr_err *err);
    /*
     * For each partition, once, as it is found: where it stands; where that is unknown options.start decides. Where it then begins
     * elsewhere than said here, the first batch of the partition is an advance without records to there.
     */
    struct ingest_position (*start)(void *user, int partition, const char *topic, int32_t number);
    /* From a lane. False with FR_EXHAUSTED: the same batch comes again after a pause; anything else: to `fatal`, lanes stop. */
    bool (*batch)(void *user, const struct ingest_batch *batch, struct fr_err *err);
    /* Once: the consumer has stopped for good (missing topic, refused cluster, unknown offset with start: fail). */
    void (*fatal)(void *user, const struct fr_err *err);
};

/* Whether librdkafka knows the property and takes the value, and the node leaves it to the user. The message says why not. */
FR_CHECKED bool ingest_property_check(const struct ingest_property *property, struct fr_err *err);

enum ingest_start { INGEST_EARLIEST, INGEST_LATEST, INGEST_FAIL };

struct ingest_options {
    const char *brokers; /* host:port,… */
    const char *cluster_id; /* NULL: ask the brokers; the embedded broker's is drawn by the node */
    const char *group;
    const struct ingest_topic *topics;
    int topic_count;
    const char *dead_letters; /* topic, made with one partition when missing; NULL or "": they are logged and counted only */
    enum ingest_start start;
    bool is_adopting; /* a topic that was made anew is begun as `start` says; otherwise it goes to `fatal` */
    bool is_resumed; /* where the group has told Kafka a later offset than the sink knows, it begins there */
    const struct ingest_property *properties;
    int property_count;
    int lanes;
    int batch_max; /* events per batch: 512 */
    uint64_t queue_bytes; /* bound on fetched and unread records of all partitions */
    /*
     * 0: reads on for ever. Otherwise each partition is read up to this offset, and no further than its end was when it was found
     * (INT64_MAX: up to that); where the sink knows a later offset, that end is where it begins.
     */
    int64_t stop_offset;
    int64_t max_future_ms; /* later than the wall clock by more: `future`; −1: never (clock: event) */
    bool is_sharing; /* reads only partitions that ingest_own() names; `start` is asked all the same */
    bool
        is_keyed; /* a user's event in a partition to which murmur2 of user_id in decimal does not lead is a dead letter: wrong_partition */
    struct fr_metrics *metrics;
    struct ingest_sink sink;
};

struct ingest;

/*
 * Starts the threads and returns; connecting goes on behind. An unreachable broker is retried for ever (ingest_is_connected()
 * says). FR_BAD_CONFIG: a property that librdkafka refuses. Copies what the options point to.
 */
FR_CHECKED bool ingest_open(const struct ingest_options *options, struct ingest **ingest, struct fr_err *err);

/*
 * No `batch` starts after it returns; waits for those that run. Broker state does not matter. Dead letters can still be flushed and
 * offsets committed. From any one thread, but not from a callback of the sink.
 */
void ingest_stop(struct ingest *ingest);

/*
 * Closes everything; at most `deadline_ms`, then what librdkafka still holds is abandoned and it returns false (the caller is
 * expected to _exit: a known hang of librdkafka 2.0.2, issues 4674 and 4486). NULL is fine.
 */
bool ingest_close(struct ingest *ingest, int deadline_ms);

struct ingest_partition {
    const char *topic;
    int32_t number;
    int64_t low, end; /* watermarks; −1: not known yet */
    int64_t known_ms; /* monotonic time of asking for them */
    int64_t stop; /* where it ends by options.stop_offset; −1: nowhere, or not known yet */
    uint64_t gap_events; /* offsets that retention took before they were read */
    bool is_started;
    bool is_owned; /* it is read: always true but for options.is_sharing */
};
int ingest_partition_count(struct ingest *ingest); /* grows only */
struct ingest_partition ingest_partition_at(struct ingest *ingest, int partition);

/* Asks for all end offsets soon, and not only when it is time for that. Any thread; the helper does it. */
void ingest_ask(struct ingest *ingest);

/* ---- Sharing (options.is_sharing); from any one thread but those of ingest ---- */

/* True when all topics are found; *count is how many partitions each has, 0: not all as many. */
bool ingest_topics_are_found(struct ingest *ingest, int *count);
/* Reads these partitions (dense indices), and no others, each from where it stands; all that were read before are disowned. */
void ingest_own(struct ingest *ingest, const int *partitions, const struct ingest_position *at, int count);
/* Stops reading; when it returns no `batch` of what was owned runs or will. False: lanes have ended, or are to. */
FR_CHECKED bool ingest_disown(struct ingest *ingest);
/* The partition of so many to which a user belongs. */
int32_t ingest_partition_of(uint64_t user_id, int partitions);

/* All partitions found and started, and all end offsets known at least once. */
bool ingest_is_assigned(struct ingest *ingest);

/* The brokers answered the last round of questions. */
bool ingest_is_connected(struct ingest *ingest);

/* What a broker or the way to it was last found to refuse, "" while they answer: a wrong password, a certificate nobody trusts. */
enum { INGEST_TROUBLE_BYTES = 256 };
void ingest_trouble(struct ingest *ingest, char text[INGEST_TROUBLE_BYTES]);

/*
 * Waits until every dead letter given to Kafka before this call is acknowledged. FR_UNAVAILABLE after `timeout_ms` and, unless it is
 * the last time, as soon as ingest is stopped: an end waits once.
 */
FR_CHECKED bool ingest_dead_letters_flush(struct ingest *ingest, int timeout_ms, bool is_last, struct fr_err *err);

/* Tells the group's coordinator where we are, for lag tools; asynchronous, failures are only counted. */
void ingest_offsets_commit(struct ingest *ingest, const int64_t *next_offsets, int count);
/* Waits until it has answered; false: not within the time. */
bool ingest_offsets_wait(struct ingest *ingest, int timeout_ms);
/* Asks it where the group is in a partition (dense index); −1: nowhere yet. FR_UNAVAILABLE: it does not answer. May block for 3 s. */
FR_CHECKED bool ingest_offsets_ask(struct ingest *ingest, int partition, int64_t *next_offset, struct fr_err *err);

/* ---- The embedded broker: librdkafka's mock cluster ---- */

struct ingest_broker;

/*
 * Starts it on a free loopback port with these topics (partitions 0 means 8). It keeps 5 MiB or 100,000 records per partition:
 * whoever fills it paces itself. One per process.
 */
FR_CHECKED bool ingest_broker_start(const struct ingest_topic *topics, int topic_count, struct ingest_broker **broker,
                                    struct fr_err *err);
const char *ingest_broker_address(const struct ingest_broker *broker); /* "127.0.0.1:40123" */
void ingest_broker_stop(struct ingest_broker *broker);

/* ---- Producing ---- */

struct ingest_producer;

struct ingest_producer_options {
    const char *brokers;
    const struct ingest_property *properties;
    int property_count;
    int connect_ms; /* how long the first question may wait for a broker; 0: 30 s */
    const char *
        pace_group; /* not NULL: on an embedded broker never run ahead of what this group has committed by more than it keeps */
};

struct ingest_record {
    const char *topic;
    int32_t partition; /* −1: by key with murmur2; no key: at random */
    struct fr_slice key; /* empty: none */
    struct fr_slice value;
    int64_t kafka_ts_ms; /* 0: now */
    const struct ingest_property *headers;
    int header_count;
};

FR_CHECKED bool ingest_producer_open(const struct ingest_producer_options *options, struct ingest_producer **producer,
                                     struct fr_err *err);

/*
 * Queues a copy; waits while the queue is full or the pace says so. Fails when an earlier record was refused for good (the
 * message names topic and why; told once, and this record is not queued), or with FR_EXHAUSTED when the pace's group has not moved
 * for 30 s (it may be sent again). One thread.
 */
FR_CHECKED bool ingest_producer_send(struct ingest_producer *producer, const struct ingest_record *record, struct fr_err *err);

/*
 * Waits until all is acknowledged. FR_UNAVAILABLE after `timeout_ms`; FR_CORRUPT when the embedded broker dropped something that the
 * pace's group had not read.
 */
FR_CHECKED bool ingest_producer_flush(struct ingest_producer *producer, int timeout_ms, struct fr_err *err);

struct ingest_delivery { /* where Kafka put a record */
    int32_t partition;
    int64_t offset;
};

/* Where the record is that Kafka acknowledged last; −1, −1 before the first. The producer's thread. */
struct ingest_delivery ingest_producer_delivery(const struct ingest_producer *producer);

/* Records acknowledged so far. */
uint64_t ingest_producer_delivered(const struct ingest_producer *producer);

/* Makes the topic when it is missing; an existing one is left as it is. */
FR_CHECKED bool ingest_producer_topic(struct ingest_producer *producer, const char *topic, int partitions, struct fr_err *err);

void ingest_producer_close(struct ingest_producer *producer); /* drops what is not acknowledged; NULL is fine */

/* ---- Measuring: librdkafka alone, with the fetching properties of our consumer ---- */

/* Of librdkafka as linked, "2.0.2". */
const char *ingest_library_version(void);

/* Records between the watermarks of a topic, and its partitions (0: there is none of that name). Blocks for seconds at most. */
FR_CHECKED bool ingest_topic_records(const char *brokers, const char *topic, int *partitions, uint64_t *records,
                                     struct fr_err *err);

struct ingest_bare {
    uint64_t records;
    uint64_t bytes; /* of their values */
};

/*
 * Reads every partition to its end, looking at nothing: from its beginning, or from starts[partition] (start_count says how many there
 * are; 0: from the beginnings). In the caller's thread. Leaves the client open, since closing is no part of what is measured: for a
 * process that ends next. FR_UNAVAILABLE when nothing comes for 30 s.
 */
FR_CHECKED bool ingest_bare_read(const char *brokers, const char *topic, const int64_t *starts, int start_count,
                                 struct ingest_bare *bare, struct fr_err *err);

/*
 * Follows every partition from its end as it is now, for ever, and gives each record's value to `each` as it comes; `begun` is called
 * once, when nothing that comes later can be missed. In the caller's thread, which does not come back but for an error.
 */
FR_CHECKED bool ingest_bare_follow(const char *brokers, const char *topic, void (*begun)(void *user),
                                   void (*each)(void *user, struct fr_slice value), void *user, struct fr_err *err);

#endif
