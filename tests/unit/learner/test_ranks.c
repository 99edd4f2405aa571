/* Labels that are ranks of watches, by looking at each watch of the log again: however it was read. */
#include "story.h"

#include <freshet/message.h>

#include <math.h>

struct ranked {
    const char *task;
    int length[EXAMPLES_MAX], time[EXAMPLES_MAX];
    int count;
};

static const struct proto_event *impression_of(const struct story *story, const Freshet__V1__Example *example)
{
    for (int i = 0; i < story->event_count; i++) {
        const struct proto_event *event = &story->events[i].event;

        if (event->action == FRESHET__V1__ACTION__IMPRESSION && event->request_id == example->request_id &&
            event->item_id == example->item_id)
            return event;
    }
    fail_msg("an example of nothing that was shown");
    return NULL;
}

/* The watch that a label is of, as the documentation's buckets. */
static void bucket_of(const struct story *story, const Freshet__V1__Example *example, const Freshet__V1__Label *label,
                      int *length, int *time)
{
    const struct proto_event *shown = impression_of(story, example);
    double duration_s = duration_of(example->item_id), part;

    for (*length = 0; *length < 12 && duration_s >= exp2(*length + 1);)
        ++*length;
    part = seconds_of(example->item_id, shown->ts_ms + label->delay_ms) / exp2(*length);
    for (*time = 0; *time < 80 && part >= exp2((double)*time / 8 - 6);)
        ++*time;
}

static float rank_of(const struct ranked *before, int length, int time)
{
    double below = 0, own = 1, all = 1;

    for (int i = 0; i < before->count; i++) {
        all += before->length[i] == length;
        below += before->length[i] == length && before->time[i] < time;
        own += before->length[i] == length && before->time[i] == time;
    }
    return (float)((below + own / 2) / all);
}

/* Its labels of ranks, and whether its own is one that counts from now on. */
static void check_example(const struct story *story, const Freshet__V1__Example *example, struct ranked ranked[2])
{
    for (size_t i = 0; i < example->n_labels; i++) {
        const Freshet__V1__Label *label = example->labels[i];
        int of = strcmp(label->task, ranked[0].task) == 0 ? 0 : strcmp(label->task, ranked[1].task) == 0 ? 1 : -1;
        int length, time;

        if (of < 0 || label->value == 0)
            continue;
        assert_true(duration_of(example->item_id) > 0 && label->observed);
        bucket_of(story, example, label, &length, &time);
        assert_true(label->value == rank_of(&ranked[of], length, time));
        if (i > 0)
            continue;
        ranked[of].length[ranked[of].count] = length;
        ranked[of].time[ranked[of].count++] = time;
    }
}

static void check_ranks(const struct story *story, struct node *node)
{
    struct ranked *ranked = calloc(2, sizeof *ranked);
    struct fr_arena *arena = fr_arena_new(1 << 20);
    struct learner_outbox_entry entry;
    struct fr_buffer chunk;
    struct fr_err err;

    ranked[0].task = "watch";
    ranked[1].task = "begin";
    fr_buffer_init(&chunk);
    for (int64_t at = 1; at < learner_join_stats(node->join).next_position; at++) {
        struct fr_reader reader;

        assert_true(learner_outbox_read(learner_join_outbox(node->join), at, &chunk, &err));
        reader = fr_reader(fr_buffer_slice(&chunk));
        while (learner_outbox_next(&reader, &entry)) {
            fr_arena_reset(arena, 1 << 16);
            check_example(
                story, (const Freshet__V1__Example *)proto_unpack(&freshet__v1__example__descriptor, entry.wire, arena, &err),
                ranked);
        }
    }
    assert_true(ranked[0].count > 10 && ranked[1].count > 10);
    fr_buffer_fini(&chunk);
    fr_arena_free(arena);
    free(ranked);
}

static void a_watch_is_ranked_among_those_of_the_examples_before_it(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SCHEDULES; seed++) {
        struct story *story = story_new(seed, true);
        struct node *node = read_anyhow(story, every_policy, seed);

        check_ranks(story, node);
        node_free(node);
        free(story);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_watch_is_ranked_among_those_of_the_examples_before_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
