/* Fault points: which one is armed is read once, when the process starts. In builds for tests only. */
#include <freshet/clock.h>
#include <freshet/fault.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_MISSPELLED = 2, LOOK_MS = 10 };

enum action { KILL, FAIL, DELAY, HOLD };

static const char *const names[FR_FAULTS] = {
    [FR_FAULT_AFTER_POLL] = "after_poll",
    [FR_FAULT_AFTER_DECODE] = "after_decode",
    [FR_FAULT_MID_APPLY] = "mid_apply",
    [FR_FAULT_AFTER_GATE] = "after_gate",
    [FR_FAULT_MID_TRANSACTION] = "mid_transaction",
    [FR_FAULT_BEFORE_FENCE] = "before_fence",
    [FR_FAULT_MID_SST_WRITE] = "mid_sst_write",
    [FR_FAULT_AFTER_SST_FINISH] = "after_sst_finish",
    [FR_FAULT_MID_INGEST] = "mid_ingest",
    [FR_FAULT_AFTER_INGEST_BEFORE_KAFKA_COMMIT] = "after_ingest_before_kafka_commit",
    [FR_FAULT_MID_COMPACTION] = "mid_compaction",
    [FR_FAULT_MID_CHECKPOINT] = "mid_checkpoint",
    [FR_FAULT_MID_BACKUP] = "mid_backup",
    [FR_FAULT_MID_MODEL_CHECKPOINT] = "mid_model_checkpoint",
    [FR_FAULT_MID_OPEN] = "mid_open",
    [FR_FAULT_MID_USERS_WRITE] = "mid_users_write",
    [FR_FAULT_MID_USERS_READ] = "mid_users_read",
    [FR_FAULT_MID_RESTORE] = "mid_restore",
};

static struct {
    int point; /* −1: none */
    uint64_t at;
    enum action action;
    int64_t wait; /* us for a kill, ms for a delay */
    _Atomic uint64_t met;
} armed = {.point = -1};

static bool read_action(const char *text)
{
    if (strncmp(text, "kill", strlen("kill")) == 0)
        armed.action = KILL;
    else if (strcmp(text, "error") == 0)
        armed.action = FAIL;
    else if (strcmp(text, "hold") == 0)
        armed.action = HOLD;
    else if (strncmp(text, "delay+", strlen("delay+")) == 0)
        armed.action = DELAY;
    else
        return false;
    armed.wait = strchr(text, '+') ? strtoll(strchr(text, '+') + 1, NULL, 10) : 0;
    return true;
}

/* A misspelled fault would be a test that passes because nothing happens. */
__attribute__((constructor)) static void arm(void)
{
    const char *text = getenv("FRESHET_FAULT");
    char name[64], action[64];

    if (!text)
        return;
    if (sscanf(text, "%63[^:]:%lu:%63s", name, &armed.at, action) == 3 && armed.at > 0 && read_action(action))
        for (int i = 0; i < FR_FAULTS; i++)
            armed.point = strcmp(name, names[i]) == 0 ? i : armed.point;
    if (armed.point >= 0)
        return;
    fprintf(stderr, "FRESHET_FAULT='%s': no such fault; write POINT:N:ACTION, as in mid_apply:3:kill\n", text);
    _exit(EXIT_MISSPELLED);
}

static void *kill_later(void *unused)
{
    (void)unused;
    usleep((useconds_t)armed.wait);
    kill(getpid(), SIGKILL);
    return NULL;
}

static void die(void)
{
    pthread_t thread;

    if (armed.wait > 0 && pthread_create(&thread, NULL, kill_later, NULL) == 0) {
        pthread_detach(thread);
        return;
    }
    kill(getpid(), SIGKILL);
    pause();
}

static bool strikes(enum fr_fault_point point)
{
    return (int)point == armed.point && atomic_fetch_add(&armed.met, 1) + 1 == armed.at;
}

/* It says that it does, so that a test knows when. */
static void hold(enum fr_fault_point point)
{
    const char *path = getenv("FRESHET_FAULT_FILE");

    fprintf(stderr, "fault: %s is held\n", names[point]);
    while (path && access(path, F_OK) == 0)
        fr_clock_sleep_ms(LOOK_MS);
}

bool fr_fault(enum fr_fault_point point, struct fr_err *err)
{
    if (!strikes(point))
        return true;
    switch (armed.action) {
    case KILL:
        die();
        return true;
    case DELAY:
        fr_clock_sleep_ms((int)armed.wait);
        return true;
    case HOLD:
        hold(point);
        return true;
    case FAIL:
        break;
    }
    return fr_fail(err, FR_UNAVAILABLE, "fault: %s was told to fail", names[point]);
}

void fr_fault_meet(enum fr_fault_point point)
{
    struct fr_err unused;

    (void)!fr_fault(point, &unused);
}
