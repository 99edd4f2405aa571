/*
 * Offers GetFeatures at a rate, in time whether or not the server keeps up, and tells what became of the calls:
 *
 *   offer ADDRESS CONNECTIONS RATE SECONDS ITEMS DEADLINE_MS FEATURE_SET
 *
 * prints one line of JSON: good (answered within the deadline, counted from when the call was due), late, shed (RESOURCE_EXHAUSTED),
 * expired (DEADLINE_EXCEEDED), failed, unsent (no connection had room), good_per_second, p50_us and p99_us of the good.
 */
#include "offer.h"

#include "load.h"

#include <freshet/clock.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum { CONNECTIONS_MAX = 256, MESSAGES = 64, REST_MS = 2000 };

static struct offer_session sessions[CONNECTIONS_MAX];
static int session_count;
static struct offer offer;

static bool make_messages(int items, const char *feature_set)
{
    uint64_t draw = 1;

    offer.message_count = MESSAGES;
    offer.messages = calloc(MESSAGES, sizeof *offer.messages);
    for (int i = 0; offer.messages && i < MESSAGES; i++) {
        struct fr_buffer message;

        fr_buffer_init(&message);
        load_request(&draw, LOAD_USERS, items, feature_set, &message);
        fr_buffer_append_byte(&offer.messages[i], 0);
        for (int shift = 24; shift >= 0; shift -= 8)
            fr_buffer_append_byte(&offer.messages[i], (uint8_t)(message.length >> shift));
        fr_buffer_append(&offer.messages[i], message.bytes, message.length);
        fr_buffer_fini(&message);
    }
    return offer.messages != NULL;
}

static bool ask(int64_t due_us)
{
    static int turn;

    for (int i = 0; i < session_count; i++) {
        struct offer_session *session = &sessions[turn++ % session_count];

        if (session->open < OFFER_OPEN_MAX)
            return offer_session_ask(session, due_us);
    }
    offer.ends[OFFER_UNSENT]++;
    return true;
}

static bool move_bytes(struct pollfd *fds, int wait_ms)
{
    for (int i = 0; i < session_count; i++) {
        if (!offer_session_flush(&sessions[i]))
            return false;
        fds[i] = (struct pollfd){.fd = sessions[i].fd, .events = POLLIN};
        if (sessions[i].out.length > 0)
            fds[i].events |= POLLOUT;
    }
    poll(fds, (nfds_t)session_count, wait_ms);
    for (int i = 0; i < session_count; i++)
        if (fds[i].revents & ~POLLOUT && !offer_session_read(&sessions[i]))
            return false;
    return true;
}

static int open_calls(void)
{
    int open = 0;

    for (int i = 0; i < session_count; i++)
        open += sessions[i].open;
    return open;
}

static bool run(double rate, double seconds)
{
    static struct pollfd fds[CONNECTIONS_MAX];
    int64_t begin_us = fr_clock_monotonic_us(), end_us = begin_us + (int64_t)(seconds * 1e6);
    uint64_t due = 0;

    for (;;) {
        int64_t now_us = fr_clock_monotonic_us();

        if (now_us >= end_us + REST_MS * 1000 || (now_us >= end_us && open_calls() == 0))
            return true;
        for (; now_us < end_us && (double)due <= (double)(now_us - begin_us) * rate / 1e6; due++)
            if (!ask(begin_us + (int64_t)((double)due * 1e6 / rate)))
                return false;
        if (!move_bytes(fds, 1))
            return false;
    }
}

static int by_value(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return (x > y) - (x < y);
}

static void report(double seconds)
{
    static const char *const names[] = {"good", "late", "shed", "expired", "failed", "unsent"};
    int *latency_us = (int *)(void *)offer.latencies.bytes;
    size_t count = offer.latencies.length / sizeof *latency_us;

    qsort(latency_us, count, sizeof *latency_us, by_value);
    printf("{");
    for (int i = 0; i < OFFER_ENDS; i++)
        printf("\"%s\":%llu,", names[i], (unsigned long long)offer.ends[i]);
    printf("\"good_per_second\":%.0f,\"p50_us\":%d,\"p99_us\":%d}\n", (double)offer.ends[OFFER_GOOD] / seconds,
           count > 0 ? latency_us[count / 2] : 0, count > 0 ? latency_us[count * 99 / 100] : 0);
}

int main(int argc, char **argv)
{
    double rate = argc == 8 ? atof(argv[3]) : 0, seconds = argc == 8 ? atof(argv[4]) : 0;
    int wanted = argc == 8 ? atoi(argv[2]) : 0;
    bool ok;

    if (wanted < 1 || wanted > CONNECTIONS_MAX || !(rate > 0) || !(seconds > 0)) {
        fprintf(stderr, "usage: offer ADDRESS CONNECTIONS RATE SECONDS ITEMS DEADLINE_MS FEATURE_SET\n");
        return 2;
    }
    fr_buffer_init(&offer.latencies);
    offer.deadline_ms = atoi(argv[6]);
    ok = make_messages(atoi(argv[5]), argv[7]);
    for (; ok && session_count < wanted; session_count++) {
        sessions[session_count].offer = &offer;
        sessions[session_count].fd = load_connect(argv[1]);
        ok = sessions[session_count].fd >= 0 && offer_session_open(&sessions[session_count]);
    }
    ok = ok && run(rate, seconds);
    if (ok)
        report(seconds);
    for (int i = 0; i < session_count; i++)
        offer_session_close(&sessions[i]);
    return ok ? 0 : 1;
}
