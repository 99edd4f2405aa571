/*
 * The disk fails, the process is killed or the power goes at each of the calls that a store makes while it opens, commits some epochs
 * and closes (tests/faults/disk.c). What is left is one whole epoch, none older than was told as durable; what failed was told, by the
 * store or by an assertion of RocksDB's, which ends the process. One kind of fault loses the store, and that is told at the next
 * open: a read that fails in the midst of a hand-over (store_disk__check_files()). FRESHET_DISK_EVERY: at every so manieth call (13).
 *
 * The one that meets the fault is this program again, in a process of its own, with "DIR" as its argument.
 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

enum { ENTITIES = 200, EPOCHS = 6, TOLD_FD = 3, LOOKS = 2000 };
enum { ENDED = 0, REFUSED = 10, NOT_OPENED = 11 };

static const char *program;

/* ---- the one that meets the fault ---- */

static void put_round(void *user, struct store *store)
{
    fixture_meta_set(store, "round", *(uint64_t *)user);
}

/* Tells each round that is durable. What level 0 or the disk's room refuses is tried again, as a committer would. */
static bool commit_round(struct store *store, uint64_t round)
{
    struct fr_err err = {0};

    for (uint64_t id = 0; id < ENTITIES; id++)
        fixture_set_part(store, id, (enum store_part)(id % STORE_PARTS), round);
    for (int look = 0; !store_epoch_commit(store, &(struct store_epoch){.boundary = put_round, .user = &round}, &err); look++) {
        if (err.code != FR_EXHAUSTED || look == LOOKS)
            return false;
        usleep(1000);
    }
    return write(TOLD_FD, &round, sizeof(round)) == sizeof(round);
}

static int meet_fault(const char *path)
{
    struct store_options options = {
        .path = path, .memory_bytes = 64 << 20, .codec = {.encode = fixture_encode, .decode = fixture_decode}};
    struct store *store = NULL;
    struct fr_err err = {0};
    int result = ENDED;

    if (!store_open(&options, &store, &err)) {
        (void)fprintf(stderr, "%s\n", err.message);
        return NOT_OPENED;
    }
    uint64_t first = fixture_meta_get(store, "round") + 1;
    for (uint64_t round = first; result == ENDED && round < first + EPOCHS; round++)
        result = commit_round(store, round) ? ENDED : REFUSED;
    store_close(store);
    return result;
}

/* ---- the one who looks ---- */

enum left { WHOLE, REFUSED_AS_DAMAGED, WRONG };

static enum left look(const char *path, uint64_t told)
{
    struct store_options options = {
        .path = path, .memory_bytes = 64 << 20, .codec = {.encode = fixture_encode, .decode = fixture_decode}};
    struct store *store = NULL;
    struct fr_err err = {0};

    if (!store_open(&options, &store, &err)) {
        print_message("after the fault: %s\n", err.message);
        return err.code == FR_CORRUPT ? REFUSED_AS_DAMAGED : WRONG;
    }
    uint64_t round = fixture_meta_get(store, "round");
    bool is_one = round == told || round == told + 1;
    for (uint64_t id = 0; id < ENTITIES; id++)
        is_one = is_one && fixture_get_part(store, id, (enum store_part)(id % STORE_PARTS)) == round;
    if (!is_one)
        print_error("%lu was told as durable, there is %lu\n", (unsigned long)told, (unsigned long)round);
    store_close(store);
    return is_one ? WHOLE : WRONG;
}

/* Runs it with the fault; its status, and the round that it told last. */
static int run(const char *path, const char *fault, const char *calls, const char *count_file, uint64_t *told)
{
    int pipe_fds[2], status;
    uint64_t round;

    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(pipe_fds[1], TOLD_FD);
        if (pipe_fds[0] != TOLD_FD)
            close(pipe_fds[0]);
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        setenv("LD_PRELOAD", FRESHET_DISK_FAULTS, 1);
        setenv("FRESHET_DISK_DIR", path, 1);
        setenv("FRESHET_DISK_FAULT", fault, 1);
        if (calls)
            setenv("FRESHET_DISK_CALLS", calls, 1);
        if (count_file)
            setenv("FRESHET_DISK_COUNT", count_file, 1);
        execl(program, program, path, (char *)NULL);
        _exit(127);
    }
    close(pipe_fds[1]);
    while (read(pipe_fds[0], &round, sizeof(round)) == sizeof(round))
        *told = round;
    close(pipe_fds[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static unsigned long count_calls(struct fixture *fixture, const char *calls)
{
    char file[80];
    uint64_t told = 0;
    unsigned long count = 0;

    snprintf(file, sizeof file, "%s.count", fixture->path);
    assert_int_equal(run(fixture->path, "", calls, file, &told), 0);
    assert_int_equal(told, EPOCHS);
    FILE *counted = fopen(file, "r");
    assert_non_null(counted);
    assert_int_equal(fscanf(counted, "%lu", &count), 1);
    fclose(counted);
    unlink(file);
    return count;
}

static void begin_anew(const struct fixture *fixture)
{
    nftw(fixture->path, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int every(void)
{
    const char *asked = getenv("FRESHET_DISK_EVERY");

    return asked ? atoi(asked) : 13;
}

/* Each k-th call, from a random first: all remainders come up in time, none is left out for ever. */
static void at_every_call(struct fixture *fixture, const char *action, const char *calls, bool must_die, bool may_lose)
{
    unsigned long count = count_calls(fixture, calls), done = 0, killed = 0, aborted = 0, lost = 0;

    srandom((unsigned)getpid());
    for (unsigned long k = 1 + (unsigned long)random() % (unsigned long)every(); k <= count; k += (unsigned long)every()) {
        char fault[48];
        uint64_t told = 0;

        snprintf(fault, sizeof fault, "%s:%lu", action, k);
        begin_anew(fixture);
        int status = run(fixture->path, fault, calls, NULL, &told);
        bool is_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        bool is_aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
        if (WIFSIGNALED(status) && !is_killed && !is_aborted)
            fail_msg("%s: died of signal %d", fault, WTERMSIG(status));
        if (!WIFSIGNALED(status) && WEXITSTATUS(status) != ENDED && WEXITSTATUS(status) != REFUSED &&
            WEXITSTATUS(status) != NOT_OPENED)
            fail_msg("%s: exit %d", fault, WEXITSTATUS(status));
        enum left left = look(fixture->path, told);
        if (left == WRONG || (left == REFUSED_AS_DAMAGED && !may_lose))
            fail_msg("%s: what is left is not the last epoch", fault);
        if (left == REFUSED_AS_DAMAGED && !WIFSIGNALED(status) && WEXITSTATUS(status) == ENDED)
            fail_msg("%s: damaged, and nobody was told", fault);
        done++;
        killed += is_killed;
        aborted += is_aborted;
        lost += left == REFUSED_AS_DAMAGED;
    }
    if (must_die)
        assert_true(killed > done * 3 / 4); /* how many calls there are depends a little on when compaction comes */
    print_message("%s: %lu of %lu calls; one whole epoch was left but for %lu, which were told; RocksDB aborted %lu times\n",
                  action, done, count, lost, aborted);
}

static void a_kill_at_any_call_leaves_the_last_epoch(void **state)
{
    at_every_call(*state, "kill", NULL, true, false);
}

static void so_does_the_loss_of_power(void **state)
{
    at_every_call(*state, "lose", NULL, true, false);
}

static void so_does_a_call_that_fails_once(void **state)
{
    at_every_call(*state, "eio", NULL, false, false);
}

static void so_does_a_full_disk(void **state)
{
    at_every_call(*state, "enospc", NULL, false, false);
}

static void a_read_that_fails_leaves_it_or_is_told(void **state)
{
    at_every_call(*state, "eio", "read", false, true);
}

static void half_a_write_is_no_trouble(void **state)
{
    at_every_call(*state, "short", "write", false, false);
}

static int setup_closed(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    fixture_set_path(fixture);
    *state = fixture;
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_kill_at_any_call_leaves_the_last_epoch, setup_closed, fixture_teardown),
        cmocka_unit_test_setup_teardown(so_does_the_loss_of_power, setup_closed, fixture_teardown),
        cmocka_unit_test_setup_teardown(so_does_a_call_that_fails_once, setup_closed, fixture_teardown),
        cmocka_unit_test_setup_teardown(so_does_a_full_disk, setup_closed, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_read_that_fails_leaves_it_or_is_told, setup_closed, fixture_teardown),
        cmocka_unit_test_setup_teardown(half_a_write_is_no_trouble, setup_closed, fixture_teardown),
    };

    if (argc == 2)
        return meet_fault(argv[1]);
    program = "/proc/self/exe";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
