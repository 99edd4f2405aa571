/*
 * Dead letters: records that could not be read, kept as they came, with where and why in headers. A letter is ours until Kafka has
 * acknowledged it: librdkafka borrows its bytes, and what it gives back with an error waits here and is sent again, for ever. So
 * that an epoch can be made durable behind them, letters belong to one of two generations: a flush closes the current one and waits
 * until it is empty, however many letters come after.
 *
 * The lock is here because letters are posted by lanes, acknowledged in whichever thread serves the client, and awaited by the
 * committer.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LETTERS_MAX = 10000, /* under way at once; more wait */
    LETTERS_BYTES_MAX = 64 << 20,
    CUT_BYTES = 512 << 10, /* what is too large for the topic is sent again with so much of its value */
    CUT_BYTES_LEAST = 1 << 10, /* less is not accepted anywhere: given up */
    RETRY_MS = 500,
    WAIT_MS = 20,
    ERROR_BYTES = 256,
    HEADERS = 6
};

struct letter {
    struct letter *next, *previous; /* all that are under way */
    int generation;
    bool is_waiting; /* not with librdkafka: to be sent at due_ms */
    int64_t due_ms;
    const char *topic; /* lives as long as the client */
    int32_t partition;
    int64_t offset;
    enum proto_verdict verdict;
    bool has_key, has_value; /* an empty one is not the same as none */
    struct letter *next_due;
    size_t key_bytes, value_bytes, original_bytes;
    char why[ERROR_BYTES];
    char bytes[]; /* key, value */
};

struct ingest_letters {
    const char *topic;
    const char *brokers;
    rd_kafka_t *client;
    pthread_mutex_t lock;
    struct letter *first;
    int counts[2]; /* under way, of each generation */
    size_t bytes;
    int generation;
    int waiting;
    struct fr_counter *reasons[PROTO_VERDICTS];
    struct fr_counter *lost;
};

static void register_counters(struct ingest_letters *letters, struct fr_metrics *metrics)
{
    for (int verdict = PROTO_EMPTY; verdict < PROTO_VERDICTS; verdict++) {
        char labels[64];

        snprintf(labels, sizeof labels, "reason=\"%s\"", proto_verdict_name((enum proto_verdict)verdict));
        letters->reasons[verdict] =
            fr_metrics_counter(metrics, "freshet_dead_letters_total", labels, "Records that could not be read, by reason");
    }
    letters->lost =
        fr_metrics_counter(metrics, "freshet_dead_letters_lost_total", NULL, "Dead letters that Kafka refused in every size");
}

struct ingest_letters *ingest_letters__new(const char *topic, const char *brokers, struct fr_metrics *metrics)
{
    struct ingest_letters *letters = calloc(1, sizeof *letters);

    if (!letters)
        return NULL;
    if (pthread_mutex_init(&letters->lock, NULL) != 0) {
        free(letters);
        return NULL;
    }
    letters->topic = topic;
    letters->brokers = brokers;
    register_counters(letters, metrics);
    return letters;
}

void ingest_letters__set_client(struct ingest_letters *letters, rd_kafka_t *client)
{
    letters->client = client;
}

void ingest_letters__free(struct ingest_letters *letters)
{
    if (!letters)
        return;
    while (letters->first) {
        struct letter *letter = letters->first;

        letters->first = letter->next;
        free(letter);
    }
    pthread_mutex_destroy(&letters->lock);
    free(letters);
}

static size_t letter_bytes(const struct letter *letter)
{
    return sizeof *letter + letter->key_bytes + letter->original_bytes;
}

static void link_letter(struct ingest_letters *letters, struct letter *letter)
{
    pthread_mutex_lock(&letters->lock);
    letter->generation = letters->generation;
    letter->next = letters->first;
    if (letter->next)
        letter->next->previous = letter;
    letters->first = letter;
    letters->counts[letter->generation]++;
    letters->bytes += letter_bytes(letter);
    pthread_mutex_unlock(&letters->lock);
}

static void unlink_letter(struct ingest_letters *letters, struct letter *letter)
{
    pthread_mutex_lock(&letters->lock);
    if (letter->previous)
        letter->previous->next = letter->next;
    else
        letters->first = letter->next;
    if (letter->next)
        letter->next->previous = letter->previous;
    letters->counts[letter->generation]--;
    letters->bytes -= letter_bytes(letter);
    pthread_mutex_unlock(&letters->lock);
    free(letter);
}

static void send_later(struct ingest_letters *letters, struct letter *letter, int64_t pause_ms)
{
    pthread_mutex_lock(&letters->lock);
    letter->is_waiting = true;
    letter->due_ms = fr_clock_monotonic_ms() + pause_ms;
    letters->waiting++;
    pthread_mutex_unlock(&letters->lock);
}

static rd_kafka_headers_t *make_headers(const struct letter *letter)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(HEADERS);
    char number[24];

    rd_kafka_header_add(headers, "topic", -1, letter->topic, -1);
    snprintf(number, sizeof number, "%" PRId32, letter->partition);
    rd_kafka_header_add(headers, "partition", -1, number, -1);
    snprintf(number, sizeof number, "%" PRId64, letter->offset);
    rd_kafka_header_add(headers, "offset", -1, number, -1);
    rd_kafka_header_add(headers, "reason", -1, proto_verdict_name(letter->verdict), -1);
    rd_kafka_header_add(headers, "error", -1, letter->why, -1);
    if (letter->value_bytes < letter->original_bytes) {
        snprintf(number, sizeof number, "%zu", letter->original_bytes);
        rd_kafka_header_add(headers, "truncated", -1, number, -1);
    }
    return headers;
}

/* Less of a letter that is too large. False when there is nothing left to cut. */
static bool cut(struct letter *letter)
{
    if (letter->value_bytes <= CUT_BYTES_LEAST)
        return false;
    letter->value_bytes = letter->value_bytes > CUT_BYTES ? CUT_BYTES : letter->value_bytes / 2;
    return true;
}

static void give_up(struct ingest_letters *letters, struct letter *letter)
{
    static struct fr_log_place place;

    fr_counter_add(letters->lost, 1);
    fr_log_limited(&place, 10, FR_LOG_ERROR, "ingest",
                   "dead letter of %s [%" PRId32 "] offset %" PRId64 " is too large for '%s' even when cut: dropped",
                   letter->topic, letter->partition, letter->offset, letters->topic);
    unlink_letter(letters, letter);
}

/* What is to become of a letter that Kafka, or librdkafka itself, did not take. */
static void handle_refusal(struct ingest_letters *letters, struct letter *letter, rd_kafka_resp_err_t error)
{
    static struct fr_log_place place;

    if (error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || error == RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE) {
        if (cut(letter))
            send_later(letters, letter, 0);
        else
            give_up(letters, letter);
        return;
    }
    if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
        fr_log_limited(&place, 6, FR_LOG_WARN, "ingest", "dead letters: '%s' does not take them, retrying: %s", letters->topic,
                       rd_kafka_err2str(error));
    send_later(letters, letter, error == RD_KAFKA_RESP_ERR__QUEUE_FULL ? WAIT_MS : RETRY_MS);
}

static void send_letter(struct ingest_letters *letters, struct letter *letter)
{
    rd_kafka_headers_t *headers = make_headers(letter);
    rd_kafka_resp_err_t error =
        rd_kafka_producev(letters->client, RD_KAFKA_V_TOPIC(letters->topic), RD_KAFKA_V_PARTITION(RD_KAFKA_PARTITION_UA),
                          RD_KAFKA_V_KEY(letter->has_key ? letter->bytes : NULL, letter->key_bytes),
                          RD_KAFKA_V_VALUE(letter->has_value ? letter->bytes + letter->key_bytes : NULL, letter->value_bytes),
                          RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(letter), RD_KAFKA_V_END);

    if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    rd_kafka_headers_destroy(headers);
    handle_refusal(letters, letter, error);
}

void ingest_letters__on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct ingest_letters *letters = opaque;
    struct letter *letter = message->_private;

    (void)client;
    switch (message->err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        unlink_letter(letters, letter);
        break;
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
    case RD_KAFKA_RESP_ERR__DESTROY:
        break; /* closing: ingest_letters__free() has it */
    default:
        handle_refusal(letters, letter, message->err);
    }
}

/* Those that are due, taken from those that wait: nobody else frees them meanwhile. */
static struct letter *take_due(struct ingest_letters *letters)
{
    int64_t now_ms = fr_clock_monotonic_ms();
    struct letter *due = NULL;

    pthread_mutex_lock(&letters->lock);
    for (struct letter *letter = letters->waiting > 0 ? letters->first : NULL; letter; letter = letter->next) {
        if (!letter->is_waiting || letter->due_ms > now_ms)
            continue;
        letter->is_waiting = false;
        letters->waiting--;
        letter->next_due = due; /* the list has the youngest first, so this turns them into the order they came in */
        due = letter;
    }
    pthread_mutex_unlock(&letters->lock);
    return due;
}

void ingest_letters__resend(struct ingest_letters *letters)
{
    struct letter *letter = take_due(letters);

    while (letter) {
        struct letter *next = letter->next_due;

        send_letter(letters, letter);
        letter = next;
    }
}

static bool is_full(struct ingest_letters *letters)
{
    bool is_full;

    pthread_mutex_lock(&letters->lock);
    is_full = letters->counts[0] + letters->counts[1] >= LETTERS_MAX || letters->bytes >= LETTERS_BYTES_MAX;
    pthread_mutex_unlock(&letters->lock);
    return is_full;
}

static struct letter *new_letter(const struct ingest_letter_draft *draft)
{
    struct letter *letter = calloc(1, sizeof *letter + draft->key.length + draft->value.length);

    if (!letter)
        return NULL;
    letter->topic = draft->topic;
    letter->partition = draft->partition;
    letter->offset = draft->offset;
    letter->verdict = draft->verdict;
    letter->has_key = draft->key.bytes != NULL;
    letter->has_value = draft->value.bytes != NULL;
    letter->key_bytes = draft->key.length;
    letter->value_bytes = letter->original_bytes = draft->value.length;
    snprintf(letter->why, sizeof letter->why, "%s", draft->why);
    if (draft->key.length > 0)
        memcpy(letter->bytes, draft->key.bytes, draft->key.length);
    if (draft->value.length > 0)
        memcpy(letter->bytes + draft->key.length, draft->value.bytes, draft->value.length);
    return letter;
}

static void count_letter(struct ingest_letters *letters, const struct ingest_letter_draft *draft)
{
    static struct fr_log_place places[PROTO_VERDICTS]; /* one reason must not drown another */

    fr_counter_add(letters->reasons[draft->verdict], 1);
    fr_log_limited(&places[draft->verdict], 5, FR_LOG_WARN, "ingest",
                   "dead letter (%s): %s [%" PRId32 "] offset %" PRId64 ": %s", proto_verdict_name(draft->verdict),
                   draft->topic, draft->partition, draft->offset, draft->why);
}

bool ingest_letters__post(struct ingest_letters *letters, const struct ingest_letter_draft *draft, struct fr_queue *stop)
{
    struct letter *letter = NULL;

    count_letter(letters, draft);
    if (!letters->topic)
        return true;
    for (;;) {
        if (!is_full(letters))
            letter = new_letter(draft);
        if (letter)
            break;
        if (fr_queue_is_closed(stop))
            return false;
        rd_kafka_poll(letters->client, WAIT_MS); /* full, or out of memory: acknowledgements help both */
    }
    link_letter(letters, letter);
    send_letter(letters, letter);
    return true;
}

/* Serves the client until a generation is empty. */
static bool wait_empty(struct ingest_letters *letters, int generation, int64_t until_ms, struct fr_queue *stop)
{
    for (;;) {
        int count;

        pthread_mutex_lock(&letters->lock);
        count = letters->counts[generation];
        pthread_mutex_unlock(&letters->lock);
        if (count == 0)
            return true;
        if (fr_clock_monotonic_ms() >= until_ms || (stop && fr_queue_is_closed(stop)))
            return false;
        rd_kafka_poll(letters->client, WAIT_MS);
    }
}

bool ingest_letters__flush(struct ingest_letters *letters, int timeout_ms, struct fr_queue *stop, struct fr_err *err)
{
    int64_t until_ms = fr_clock_monotonic_ms() + timeout_ms;
    int current = letters->generation; /* only flushing changes it, and only one thread flushes */
    bool is_empty = wait_empty(letters, 1 - current, until_ms, stop);

    if (is_empty) {
        pthread_mutex_lock(&letters->lock);
        letters->generation = 1 - current;
        pthread_mutex_unlock(&letters->lock);
        is_empty = wait_empty(letters, current, until_ms, stop);
    }
    if (is_empty)
        return true;
    return fr_fail(err, FR_UNAVAILABLE, "kafka: dead letters to '%s' are not acknowledged by %s within %d ms", letters->topic,
                   letters->brokers, timeout_ms);
}
