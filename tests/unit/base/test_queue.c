#include <freshet/clock.h>
#include <freshet/queue.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SENDERS = 3, RECEIVERS = 2, MESSAGES = 5000 };

static void send_number(struct fr_queue *queue, intptr_t number)
{
    void *message = (void *)number;

    assert_true(fr_queue_send(queue, &message, -1));
    assert_null(message);
}

static intptr_t receive_number(struct fr_queue *queue)
{
    void *message = NULL;

    assert_true(fr_queue_receive(queue, &message, -1));
    return (intptr_t)message;
}

static void messages_come_out_in_order_around_the_ring(void **state)
{
    struct fr_queue *queue = fr_queue_new(3);

    (void)state;
    for (intptr_t i = 1; i < 20; i += 2) {
        send_number(queue, i);
        send_number(queue, i + 1);
        assert_int_equal(fr_queue_length(queue), 2);
        assert_int_equal(receive_number(queue), i);
        assert_int_equal(receive_number(queue), i + 1);
    }
    fr_queue_close(queue);
    fr_queue_free(queue);
    fr_queue_free(NULL);
}

static void a_full_queue_leaves_the_message_with_the_sender(void **state)
{
    struct fr_queue *queue = fr_queue_new(1);
    int one = 1;
    void *message = &one;
    int64_t before_ms = fr_clock_monotonic_ms();

    (void)state;
    send_number(queue, 5);
    assert_false(fr_queue_send(queue, &message, 0));
    assert_false(fr_queue_send(queue, &message, 20));
    assert_true(fr_clock_monotonic_ms() - before_ms >= 19);
    assert_ptr_equal(message, &one);
    assert_int_equal(receive_number(queue), 5);
    fr_queue_close(queue);
    fr_queue_free(queue);
}

static void an_empty_queue_gives_nothing_in_time(void **state)
{
    struct fr_queue *queue = fr_queue_new(1);
    void *message = NULL;

    (void)state;
    assert_false(fr_queue_receive(queue, &message, 0));
    assert_false(fr_queue_receive(queue, &message, 10));
    assert_null(message);
    fr_queue_close(queue);
    fr_queue_free(queue);
}

static void a_closed_queue_is_drained_and_takes_no_more(void **state)
{
    struct fr_queue *queue = fr_queue_new(2);
    void *message = &message;

    (void)state;
    send_number(queue, 5);
    assert_false(fr_queue_is_closed(queue));
    fr_queue_close(queue);
    fr_queue_close(queue);
    assert_true(fr_queue_is_closed(queue));
    assert_false(fr_queue_send(queue, &message, -1));
    assert_ptr_equal(message, &message);
    assert_int_equal(receive_number(queue), 5);
    assert_false(fr_queue_receive(queue, &message, -1));
    fr_queue_free(queue);
}

static void *receive_until_closed(void *argument)
{
    struct fr_queue *queue = argument;
    void *message;
    intptr_t sum = 0;

    while (fr_queue_receive(queue, &message, -1))
        sum += (intptr_t)message;
    return (void *)sum;
}

static void *send_many(void *argument)
{
    struct fr_queue *queue = argument;

    for (intptr_t i = 1; i <= MESSAGES; i++) {
        void *message = (void *)i;

        while (!fr_queue_send(queue, &message, i % 2 ? -1 : 5))
            continue; /* full for that long */
    }
    return NULL;
}

static void every_message_reaches_exactly_one_receiver(void **state)
{
    struct fr_queue *queue = fr_queue_new(4);
    pthread_t senders[SENDERS];
    pthread_t receivers[RECEIVERS];
    intptr_t sum = 0;

    (void)state;
    for (int i = 0; i < RECEIVERS; i++)
        assert_int_equal(pthread_create(&receivers[i], NULL, receive_until_closed, queue), 0);
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&senders[i], NULL, send_many, queue), 0);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(senders[i], NULL);
    fr_queue_close(queue); /* wakes the receivers that wait for ever */
    for (int i = 0; i < RECEIVERS; i++) {
        void *part;

        pthread_join(receivers[i], &part);
        sum += (intptr_t)part;
    }
    assert_int_equal(sum, (intptr_t)SENDERS * MESSAGES * (MESSAGES + 1) / 2);
    fr_queue_free(queue);
}

static void *send_one(void *argument)
{
    void *message = &message;

    return fr_queue_send(argument, &message, -1) ? NULL : argument;
}

static void closing_wakes_a_sender_that_waits_for_room(void **state)
{
    struct fr_queue *queue = fr_queue_new(1);
    pthread_t sender;
    void *refused;

    (void)state;
    send_number(queue, 1);
    assert_int_equal(pthread_create(&sender, NULL, send_one, queue), 0);
    fr_queue_close(queue);
    pthread_join(sender, &refused);
    assert_ptr_equal(refused, queue);
    receive_number(queue);
    fr_queue_free(queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_out_in_order_around_the_ring),
        cmocka_unit_test(a_full_queue_leaves_the_message_with_the_sender),
        cmocka_unit_test(an_empty_queue_gives_nothing_in_time),
        cmocka_unit_test(a_closed_queue_is_drained_and_takes_no_more),
        cmocka_unit_test(every_message_reaches_exactly_one_receiver),
        cmocka_unit_test(closing_wakes_a_sender_that_waits_for_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
