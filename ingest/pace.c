/*
 * The embedded broker keeps 5 MiB or 100,000 batches of a partition and silently drops the oldest (librdkafka's mock, measured). So
 * a producer that fills it keeps what is sent and not committed by the reading group well below both. Bytes are counted as the
 * broker holds them at worst: uncompressed, with the head of a batch for every batch that the linger time may have made. They are
 * remembered at marks every few records, which is enough to know what lies behind a committed offset.
 */
#include "internal.h"

#include <freshet/clock.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECORDS_MAX = 50000,
    BYTES_MAX = 4 << 20,
    BATCH_BYTES = 70, /* the head of a batch */
    RECORD_BYTES = 24, /* the head of a record */
    HEADER_BYTES = 8,
    BACKLOG_RECORD_BYTES = 200, /* what a record of somebody else is taken for */
    MARK_RECORDS = 256,
    MARKS = RECORDS_MAX / MARK_RECORDS + 8,
    ASK_MS = 20,
    ASK_TIMEOUT_MS = 2000,
    QUESTION_MS = 3600000, /* as in fence.c: never is its time out before its coordinator is found */
    PATIENCE_MS = 30000
};

struct mark {
    int64_t offset;
    uint64_t bytes; /* of all records before it */
};

struct ingest_paced {
    int64_t committed; /* by the group; where the log began when it has not */
    int64_t end;
    int64_t unacknowledged;
    uint64_t bytes; /* of all records before `end` */
    uint64_t bytes_committed; /* of those before a mark at or below `committed` */
    uint64_t next_bytes; /* of the record that is about to be sent */
    int64_t batch_us; /* when the batch began that the next record may join */
    struct mark marks[MARKS];
    int mark_first, mark_count;
};

struct paced_topic {
    struct paced_topic *next;
    char *name;
    rd_kafka_topic_t *handle;
    int partition_count;
    int next_partition; /* for records without a key */
    struct ingest_paced *partitions;
};

struct ingest_pace {
    rd_kafka_t *client;
    char *group;
    int64_t linger_us;
    rd_kafka_queue_t *answers;
    struct paced_topic *topics;
    int64_t moved_ms; /* when the group was last seen to move */
};

struct ingest_pace *ingest_pace__new(rd_kafka_t *client, const char *group, int64_t linger_us)
{
    struct ingest_pace *pace = calloc(1, sizeof *pace);

    if (!pace)
        return NULL;
    pace->client = client;
    pace->group = strdup(group);
    pace->linger_us = linger_us;
    pace->answers = rd_kafka_queue_new(client);
    if (pace->group && pace->answers)
        return pace;
    ingest_pace__free(pace);
    return NULL;
}

static void free_topic(struct paced_topic *topic)
{
    if (topic->handle)
        rd_kafka_topic_destroy(topic->handle);
    free(topic->name);
    free(topic->partitions);
    free(topic);
}

void ingest_pace__free(struct ingest_pace *pace)
{
    if (!pace)
        return;
    while (pace->topics) {
        struct paced_topic *next = pace->topics->next;

        free_topic(pace->topics);
        pace->topics = next;
    }
    if (pace->answers)
        rd_kafka_queue_destroy(pace->answers);
    free(pace->group);
    free(pace);
}

static rd_kafka_topic_partition_list_t *list_partitions(const struct paced_topic *topic, int64_t offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(topic->partition_count);

    for (int i = 0; i < topic->partition_count; i++)
        rd_kafka_topic_partition_list_add(list, topic->name, i)->offset = offset;
    return list;
}

static bool ask_offsets(struct ingest_pace *pace, const struct paced_topic *topic, int64_t which,
                        rd_kafka_topic_partition_list_t **list, struct fr_err *err)
{
    rd_kafka_resp_err_t error;

    *list = list_partitions(topic, which);
    error = rd_kafka_offsets_for_times(pace->client, *list, ASK_TIMEOUT_MS);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
        return true;
    rd_kafka_topic_partition_list_destroy(*list);
    return fr_fail(err, FR_UNAVAILABLE, "producer: the offsets of '%s' are not known: %s", topic->name,
                   rd_kafka_err2str(error));
}

/* What the log held before us counts, too. */
static bool read_marks(struct ingest_pace *pace, struct paced_topic *topic, struct fr_err *err)
{
    rd_kafka_topic_partition_list_t *low, *end;

    if (!ask_offsets(pace, topic, RD_KAFKA_OFFSET_BEGINNING, &low, err))
        return false;
    if (!ask_offsets(pace, topic, RD_KAFKA_OFFSET_END, &end, err)) {
        rd_kafka_topic_partition_list_destroy(low);
        return false;
    }
    for (int i = 0; i < topic->partition_count; i++) {
        struct ingest_paced *paced = &topic->partitions[i];

        paced->committed = low->elems[i].offset;
        paced->end = end->elems[i].offset;
        paced->bytes = (uint64_t)(paced->end - paced->committed) * BACKLOG_RECORD_BYTES;
    }
    rd_kafka_topic_partition_list_destroy(low);
    rd_kafka_topic_partition_list_destroy(end);
    return true;
}

static bool open_topic(struct ingest_pace *pace, const char *name, struct paced_topic *topic, struct fr_err *err)
{
    struct ingest_topic_state state = {.name = name};

    topic->name = strdup(name);
    topic->handle = rd_kafka_topic_new(pace->client, name, NULL);
    if (!topic->name || !topic->handle)
        return fr_fail(err, FR_EXHAUSTED, "producer: out of memory");
    if (!ingest_topic__find(pace->client, &state, 1, true))
        return fr_fail(err, FR_UNAVAILABLE, "producer: the broker does not say which topics it has");
    if (state.found != INGEST_TOPIC_FOUND)
        return fr_fail(err, FR_BAD_CONFIG, "producer: topic '%s' does not exist; create it first", name);
    topic->partition_count = state.partitions;
    topic->partitions = calloc((size_t)state.partitions, sizeof *topic->partitions);
    if (!topic->partitions)
        return fr_fail(err, FR_EXHAUSTED, "producer: out of memory");
    return read_marks(pace, topic, err);
}

static struct paced_topic *find_topic(struct ingest_pace *pace, const char *name, struct fr_err *err)
{
    struct paced_topic *topic = pace->topics;

    while (topic && strcmp(topic->name, name) != 0)
        topic = topic->next;
    if (topic)
        return topic;
    topic = calloc(1, sizeof *topic);
    if (!topic) {
        fr_fail(err, FR_EXHAUSTED, "producer: out of memory");
        return NULL;
    }
    if (!open_topic(pace, name, topic, err)) {
        free_topic(topic);
        return NULL;
    }
    topic->next = pace->topics;
    pace->topics = topic;
    return topic;
}

static void take_committed(struct ingest_pace *pace, struct ingest_paced *paced, int64_t offset)
{
    if (offset <= paced->committed)
        return; /* also when there is none */
    paced->committed = offset;
    pace->moved_ms = fr_clock_monotonic_ms();
    while (paced->mark_count > 0 && paced->marks[paced->mark_first].offset <= offset) {
        paced->bytes_committed = paced->marks[paced->mark_first].bytes;
        paced->mark_first = (paced->mark_first + 1) % MARKS;
        paced->mark_count--;
    }
    if (offset >= paced->end)
        paced->bytes_committed = paced->bytes;
}

static void take_answer(struct ingest_pace *pace, struct paced_topic *topic, rd_kafka_event_t *event)
{
    const rd_kafka_ListConsumerGroupOffsets_result_t *result = rd_kafka_event_ListConsumerGroupOffsets_result(event);
    const rd_kafka_topic_partition_list_t *offsets = NULL;
    const rd_kafka_group_result_t **groups;
    size_t count = 0;

    if (!result || rd_kafka_event_error(event))
        return;
    groups = rd_kafka_ListConsumerGroupOffsets_result_groups(result, &count);
    if (count == 1)
        offsets = rd_kafka_group_result_partitions(groups[0]);
    for (int i = 0; offsets && i < offsets->cnt; i++)
        if (!offsets->elems[i].err && offsets->elems[i].partition < topic->partition_count)
            take_committed(pace, &topic->partitions[offsets->elems[i].partition], offsets->elems[i].offset);
}

/* An answer that does not come is asked for again by the next call. */
static void ask_committed(struct ingest_pace *pace, struct paced_topic *topic)
{
    rd_kafka_topic_partition_list_t *list = list_partitions(topic, RD_KAFKA_OFFSET_INVALID);
    rd_kafka_ListConsumerGroupOffsets_t *request = rd_kafka_ListConsumerGroupOffsets_new(pace->group, list);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(pace->client, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);

    if (options) {
        rd_kafka_event_t *event;

        (void)rd_kafka_AdminOptions_set_request_timeout(options, QUESTION_MS, NULL, 0);
        rd_kafka_ListConsumerGroupOffsets(pace->client, &request, 1, options, pace->answers);
        event = rd_kafka_queue_poll(pace->answers, ASK_TIMEOUT_MS);
        if (event) {
            take_answer(pace, topic, event);
            rd_kafka_event_destroy(event);
        }
        rd_kafka_AdminOptions_destroy(options);
    }
    rd_kafka_ListConsumerGroupOffsets_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
}

static int32_t choose(struct paced_topic *topic, const struct ingest_record *record)
{
    if (record->partition >= 0)
        return record->partition;
    if (record->key.length > 0)
        return rd_kafka_msg_partitioner_murmur2(topic->handle, record->key.bytes, record->key.length, topic->partition_count,
                                                NULL, NULL);
    topic->next_partition = (topic->next_partition + 1) % topic->partition_count;
    return topic->next_partition;
}

static uint64_t record_bytes(const struct ingest_pace *pace, struct ingest_paced *paced, const struct ingest_record *record)
{
    uint64_t bytes = RECORD_BYTES + record->key.length + record->value.length;
    int64_t now_us = fr_clock_monotonic_us();

    for (int i = 0; i < record->header_count; i++)
        bytes += HEADER_BYTES + strlen(record->headers[i].name) + strlen(record->headers[i].value);
    if (now_us - paced->batch_us >= pace->linger_us / 2 || paced->unacknowledged == 0) {
        paced->batch_us = now_us;
        bytes += BATCH_BYTES;
    }
    return bytes;
}

static bool has_room(const struct ingest_paced *paced)
{
    if (paced->end <= paced->committed)
        return true; /* nothing is unread: whatever comes, the broker keeps its latest batch */
    return paced->end - paced->committed < RECORDS_MAX && paced->mark_count < MARKS &&
           paced->bytes - paced->bytes_committed + paced->next_bytes <= BYTES_MAX;
}

bool ingest_pace__await(struct ingest_pace *pace, const struct ingest_record *record, int32_t *partition,
                        struct ingest_paced **ret, struct fr_err *err)
{
    struct paced_topic *topic = find_topic(pace, record->topic, err);
    struct ingest_paced *paced;

    if (!topic)
        return false;
    *partition = choose(topic, record);
    if (*partition >= topic->partition_count)
        return fr_fail(err, FR_BAD_CONFIG, "producer: '%s' has %d partitions, not %" PRId32, topic->name,
                       topic->partition_count, *partition);
    paced = &topic->partitions[*partition];
    paced->next_bytes = record_bytes(pace, paced, record);
    pace->moved_ms = has_room(paced) ? pace->moved_ms : fr_clock_monotonic_ms();
    while (!has_room(paced)) {
        ask_committed(pace, topic);
        if (has_room(paced))
            break;
        if (fr_clock_monotonic_ms() - pace->moved_ms > PATIENCE_MS)
            return fr_fail(err, FR_EXHAUSTED, "producer: group '%s' has not moved for %d s and the embedded broker is full",
                           pace->group, PATIENCE_MS / 1000);
        rd_kafka_poll(pace->client, ASK_MS);
    }
    *ret = paced;
    return true;
}

void ingest_pace__sent(struct ingest_paced *paced)
{
    if (paced->end % MARK_RECORDS == 0 && paced->mark_count < MARKS) {
        int last = (paced->mark_first + paced->mark_count) % MARKS;

        paced->marks[last] = (struct mark){.offset = paced->end, .bytes = paced->bytes};
        paced->mark_count++;
    }
    paced->bytes += paced->next_bytes;
    paced->end++;
    paced->unacknowledged++;
}

void ingest_pace__delivered(struct ingest_paced *paced, int64_t offset)
{
    int64_t end;

    paced->unacknowledged--;
    if (offset < 0)
        return;
    end = offset + 1 + paced->unacknowledged;
    if (end > paced->end) { /* somebody else produces, too */
        paced->bytes += (uint64_t)(end - paced->end) * BACKLOG_RECORD_BYTES;
        paced->end = end;
    }
}

static bool check_topic(struct ingest_pace *pace, struct paced_topic *topic, struct fr_err *err)
{
    rd_kafka_topic_partition_list_t *low;
    bool is_whole = true;

    if (!ask_offsets(pace, topic, RD_KAFKA_OFFSET_BEGINNING, &low, err))
        return false;
    ask_committed(pace, topic); /* after the low marks: a group that is behind them now was so when they were read */
    for (int i = 0; i < topic->partition_count && is_whole; i++)
        if (low->elems[i].offset > topic->partitions[i].committed)
            is_whole =
                fr_fail(err, FR_CORRUPT,
                        "producer: the embedded broker dropped %" PRId64 " records of %s [%d] that group '%s' had not read",
                        low->elems[i].offset - topic->partitions[i].committed, topic->name, i, pace->group);
    rd_kafka_topic_partition_list_destroy(low);
    return is_whole;
}

bool ingest_pace__check(struct ingest_pace *pace, struct fr_err *err)
{
    for (struct paced_topic *topic = pace->topics; topic; topic = topic->next)
        if (!check_topic(pace, topic, err))
            return false;
    return true;
}
