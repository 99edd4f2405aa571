/*
 * What fills S1's tables: events as length-delimited protobuf on stdout, 100 for each of 100,000 users over 2 h of event time, with
 * any of 100,000 items, each of one of 5,000 creators. Seeded: the same bytes every time.
 *
 *   s1 [EVENTS [USERS]]
 */
#include <freshet/bench.h>
#include <freshet/buffer.h>

#include <stdio.h>
#include <stdlib.h>

enum { USERS = 100000, ITEMS = 100000, CREATORS = 5000, SPAN_MS = 7200000 };

int main(int argc, char **argv)
{
    struct bench_s1 s1 = {.events = argc > 1 ? strtoull(argv[1], NULL, 10) : UINT64_C(100) * USERS,
                          .start_ms = INT64_C(1760000000000),
                          .span_ms = SPAN_MS,
                          .users = argc > 2 ? atoi(argv[2]) : USERS,
                          .items = ITEMS,
                          .creators = CREATORS,
                          .state = 42};
    struct proto_event event;
    struct fr_buffer body, head;

    fr_buffer_init(&body);
    fr_buffer_init(&head);
    while (bench_s1_next(&s1, &event)) {
        fr_buffer_clear(&body);
        fr_buffer_clear(&head);
        proto_event_encode(&event, &body);
        fr_buffer_append_varint(&head, body.length);
        fwrite(head.bytes, 1, head.length, stdout);
        fwrite(body.bytes, 1, body.length, stdout);
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
