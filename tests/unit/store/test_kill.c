/*
 * A process that commits epoch after epoch is killed at a random moment; what it leaves is one whole epoch. Another process
 * looks: this one never opens a store, since RocksDB's threads would not be in what it forks.
 */
#include "fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

enum { ENTITIES = 300, ROUNDS = 12 };

static void put_round(void *user, struct store *store)
{
    fixture_meta_set(store, "round", *(uint64_t *)user);
}

/* Tells each round that is durable through the pipe, until it is killed. */
static void commit_for_ever(struct fixture *fixture, int told)
{
    struct fr_err err;

    fixture_open(fixture);
    for (uint64_t round = fixture_meta_get(fixture->store, "round") + 1;; round++) {
        for (uint64_t id = 0; id < ENTITIES; id++)
            fixture_set_part(fixture->store, id, (enum store_part)(id % STORE_PARTS), round);
        while (!store_epoch_commit(fixture->store, &(struct store_epoch){.boundary = put_round, .user = &round}, &err)) {
            if (err.code != FR_EXHAUSTED)
                _exit(1);
            usleep(1000); /* level 0 is deep, of those killed before it: compaction comes */
        }
        if (write(told, &round, sizeof(round)) != sizeof(round))
            _exit(1);
    }
}

/* Kills it some while after its first epoch; the last round it told of as durable. */
static uint64_t run_and_kill(struct fixture *fixture)
{
    int told[2], status;
    uint64_t round = 0, last = 0;

    assert_int_equal(pipe(told), 0);
    pid_t child = fork();
    if (child == 0) {
        close(told[0]);
        commit_for_ever(fixture, told[1]);
    }
    close(told[1]);
    int rounds = 1 + (int)(random() % 4);
    while (rounds-- > 0 && read(told[0], &round, sizeof(round)) == sizeof(round))
        last = round;
    nanosleep(&(struct timespec){.tv_nsec = random() % 20000000}, NULL); /* the random moment itself, not a wait */
    kill(child, SIGKILL);
    while (read(told[0], &round, sizeof(round)) == sizeof(round))
        last = round;
    close(told[0]);
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    return last;
}

/* Whether all that is there is of one round, durable and not told yet at the most. */
static bool is_whole(struct fixture *fixture, uint64_t told)
{
    fixture_open(fixture);
    uint64_t round = fixture_meta_get(fixture->store, "round");
    bool is_whole = round == told || round == told + 1;
    for (uint64_t id = 0; id < ENTITIES; id++)
        is_whole = is_whole && fixture_get_part(fixture->store, id, (enum store_part)(id % STORE_PARTS)) == round;
    fixture_close(fixture);
    return is_whole;
}

static void a_killed_process_leaves_one_whole_epoch(void **state)
{
    struct fixture *fixture = *state;
    int status;

    srandom(3);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t told = run_and_kill(fixture);
        pid_t child = fork();

        if (child == 0)
            _exit(is_whole(fixture, told) ? 0 : 1);
        waitpid(child, &status, 0);
        assert_int_equal(status, 0);
    }
}

static int setup_closed(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    fixture_set_path(fixture);
    *state = fixture;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_killed_process_leaves_one_whole_epoch, setup_closed, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
