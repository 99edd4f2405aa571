/*
 * Checkpoints, so that a new owner need not read all of a changelog. A thread of each owner writes, every now and then, a file
 * for each of its partitions: users as one epoch has them, with its marker and how far the changelog was then. It reads the
 * epoch from the disk, at a bounded speed, and holds up nobody. Who has nothing of a partition takes the newest that is fit,
 * and reads the changelog on from there.
 *
 * Deletes are what makes a file too old: the changelog drops them in the end, and who begins before one that is gone would keep
 * what was deleted. So a file tells since when everything that is not in it was written: its maker's clock before it asked
 * where the changelog ends, if his epoch then reaches that end. Whoever lost the partition and does not know it yet does not
 * reach it, and writes none.
 *
 * A user who is damaged here the changelog has, as he was before that was found: who takes a file would have to read all of it
 * for him. So there is none of his partition as long as he is, which is told, and those of before stay. Where the disk does not
 * even say who it is, that goes for all.
 *
 * Reading them is in cluster_fetch.c. Nothing depends on checkpoints: where there is none, the changelog is read.
 */
#include "checkpoint.h"
#include "cluster_internal.h"

#include <freshet/clock.h>
#include <freshet/fault.h>
#include <freshet/log.h>

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    TICK_MS = 100,
    BYTES_A_MS = 64 << 10, /* is written at most: 64 MB a second */
    OFFSET_DIGITS = 20,
    ANEW_MS = 86400000, /* so old, a file is written again though nothing changed */
    DUE_ROUNDS = 3 /* a round may take long, or give way once */
};

struct shipping {
    struct pipeline_cluster *cluster;
    int64_t written[PIPELINE_CLUSTER_PARTITIONS_MAX]; /* how far the changelog was; −1: none yet */
    int64_t written_ms[PIPELINE_CLUSTER_PARTITIONS_MAX];
    struct fr_buffer key, value, memory;

    /* of a round */
    int32_t partitions[PIPELINE_CLUSTER_PARTITIONS_MAX];
    int64_t lows[PIPELINE_CLUSTER_PARTITIONS_MAX], ends[PIPELINE_CLUSTER_PARTITIONS_MAX];
    int count;
    struct pipeline_checkpoint_writer *writers[PIPELINE_CLUSTER_PARTITIONS_MAX];
    int64_t next[PIPELINE_CLUSTER_PARTITIONS_MAX];
    int64_t made_ms, began_ms;
    uint64_t bytes;
    bool is_begun;
    bool is_complete; /* each partition of which anybody is stored has a file, by now or before */
};

void pipeline_ship__register(struct pipeline_cluster *cluster, struct fr_metrics *metrics)
{
    cluster->shipped =
        fr_metrics_counter(metrics, "freshet_cluster_checkpoints_written_total", NULL, "Files of partitions' users.");
    cluster->ship_failed = fr_metrics_counter(metrics, "freshet_cluster_checkpoints_failed_total", NULL,
                                              "Files of partitions' users that could not be written.");
    cluster->ship_taken = fr_metrics_counter(metrics, "freshet_cluster_checkpoints_taken_total", NULL,
                                             "Partitions that were restored from a file, and the changelog's rest.");
    cluster->ship_refused = fr_metrics_counter(metrics, "freshet_cluster_checkpoints_refused_total", NULL,
                                               "Files that were damaged, too old or of something else.");
    cluster->ship_records = fr_metrics_counter(metrics, "freshet_cluster_checkpoints_records_total", NULL,
                                               "Records that were restored from files.");
    cluster->shipped_at =
        fr_metrics_gauge(metrics, "freshet_cluster_checkpoints_seconds", NULL,
                         "Unix time from which the files of all own partitions are, if there is anybody in them; 0: not yet.");
    if (cluster->config->checkpoints[0])
        cluster->ship_due = fr_metrics_gauge(metrics, "freshet_cluster_checkpoints_due_seconds", NULL,
                                             "Unix time by which all own partitions are to have files anew.");
}

/* Whoever has no partitions owes nothing, and what is given to him then he owes a while later. */
static void set_due(struct pipeline_cluster *cluster, int64_t made_ms)
{
    fr_gauge_set(cluster->ship_due, (double)(made_ms + DUE_ROUNDS * cluster->config->checkpoint_ms) / 1000);
}

/* ---- names ---- */

void pipeline_ship__name(const struct pipeline_cluster *cluster, int partition, int64_t next, char name[PATH_MAX])
{
    snprintf(name, PATH_MAX, "%s/%s.%04d.%0*" PRId64 ".users", cluster->config->checkpoints, cluster->config->group, partition,
             OFFSET_DIGITS, next);
}

/* Nobody else's: by the store. */
static void unfinished_name_of(const struct pipeline_cluster *cluster, int partition, char name[PATH_MAX])
{
    snprintf(name, PATH_MAX, "%s/.%s.%04d.%016" PRIx64 ".part", cluster->config->checkpoints, cluster->config->group, partition,
             cluster->store_id);
}

/* −1: of another partition, or no such file. */
static int64_t offset_of(const struct pipeline_cluster *cluster, int partition, const char *name)
{
    char before[PATH_MAX];
    int length = snprintf(before, sizeof before, "%s.%04d.", cluster->config->group, partition);
    char *end;
    int64_t next;

    if (strncmp(name, before, (size_t)length) != 0 || strlen(name) != (size_t)length + OFFSET_DIGITS + strlen(".users"))
        return -1;
    next = strtoll(name + length, &end, 10);
    return strcmp(end, ".users") == 0 ? next : -1;
}

static int newest_first(const void *a, const void *b)
{
    int64_t first = *(const int64_t *)a, second = *(const int64_t *)b;

    return (first < second) - (first > second);
}

int pipeline_ship__find(const struct pipeline_cluster *cluster, int partition, int64_t offsets[PIPELINE_SHIP_FILES])
{
    DIR *directory = opendir(cluster->config->checkpoints);
    const struct dirent *entry;
    int count = 0;

    if (!directory)
        return -1;
    while ((entry = readdir(directory)) != NULL) {
        int64_t next = offset_of(cluster, partition, entry->d_name);

        if (next < 0)
            continue;
        if (count == PIPELINE_SHIP_FILES) /* the last of them is the oldest */
            count--;
        offsets[count++] = next;
        qsort(offsets, (size_t)count, sizeof *offsets, newest_first);
    }
    (void)closedir(directory);
    return count;
}

/* One before it stays, for who is reading it, and in case that this one is damaged. What claims to go further is of another changelog. */
static void remove_others(const struct pipeline_cluster *cluster, int partition, int64_t next)
{
    int64_t offsets[PIPELINE_SHIP_FILES];
    int count = pipeline_ship__find(cluster, partition, offsets);
    bool has_one = false;

    for (int i = 0; i < count; i++) {
        char name[PATH_MAX];
        bool is_kept = offsets[i] == next || (offsets[i] < next && !has_one);

        has_one = has_one || offsets[i] < next;
        if (is_kept)
            continue;
        pipeline_ship__name(cluster, partition, offsets[i], name);
        (void)remove(name);
    }
}

/* What crashes have left: of this store, and of those that are lost, when nobody can be writing it any more. */
static void remove_unfinished(const struct pipeline_cluster *cluster)
{
    DIR *directory = opendir(cluster->config->checkpoints);
    char before[PATH_MAX], own[32];
    int length = snprintf(before, sizeof before, ".%s.", cluster->config->group);
    const struct dirent *entry;

    snprintf(own, sizeof own, ".%016" PRIx64 ".part", cluster->store_id);
    while (directory && (entry = readdir(directory)) != NULL) {
        const char *end = strrchr(entry->d_name, '.');
        char name[PATH_MAX];
        struct stat state;

        if (strncmp(entry->d_name, before, (size_t)length) != 0 || strcmp(end, ".part") != 0 ||
            snprintf(name, sizeof name, "%s/%s", cluster->config->checkpoints, entry->d_name) >= (int)sizeof name)
            continue;
        if (strstr(entry->d_name, own) ||
            (stat(name, &state) == 0 && fr_clock_wall_ms() / 1000 - state.st_mtime > ANEW_MS / 1000))
            (void)remove(name);
    }
    if (directory)
        (void)closedir(directory);
}

/* ---- writing ---- */

static void give_up(struct shipping *shipping, int partition, const struct fr_err *err)
{
    static struct fr_log_place place;

    pipeline_checkpoint__abandon(shipping->writers[partition]);
    shipping->writers[partition] = NULL;
    if (!err)
        return;
    shipping->is_complete = false;
    fr_counter_add(shipping->cluster->ship_failed, 1);
    fr_log_limited(&place, 4, FR_LOG_WARN, "cluster", "no checkpoint of partition %d: %s", partition, err->message);
}

/* No record is left out: a value of nothing is one that found no memory. */
static void put(struct shipping *shipping, int partition, const struct fr_buffer *key, struct fr_slice value)
{
    struct fr_err err;
    bool ok;

    if (!shipping->writers[partition])
        return;
    ok = (!key->is_failed && value.length > 0) || fr_fail(&err, FR_EXHAUSTED, "cluster: out of memory for a checkpoint");
    if (!ok || !pipeline_checkpoint__append(shipping->writers[partition], fr_buffer_slice(key), value, &err))
        give_up(shipping, partition, &err);
    shipping->bytes += key->length + value.length;
}

/* As the changelog has them, where they have no key that a store knows. */
static void put_tombstone(void *user, const char *name, struct fr_slice value)
{
    struct shipping *shipping = user;
    uint64_t user_id = strtoull(name + strlen("tombstone/"), NULL, 10);

    fr_buffer_clear(&shipping->key);
    fr_buffer_clear(&shipping->value);
    pipeline_tombstone__key(user_id, &shipping->key);
    fr_buffer_append_varint(&shipping->value, PIPELINE_CLUSTER_VERSION);
    fr_buffer_append(&shipping->value, value.bytes, value.length);
    put(shipping, ingest_partition_of(user_id, atomic_load(&shipping->cluster->partitions)), &shipping->key,
        shipping->value.is_failed ? fr_slice(NULL, 0) : fr_buffer_slice(&shipping->value));
}

static bool is_news(const struct shipping *shipping, int partition, int64_t next)
{
    return next != shipping->written[partition] || shipping->made_ms - shipping->written_ms[partition] >= ANEW_MS;
}

/* A file of a partition as the scan's own epoch has it, if it is to be one. */
static void create(struct shipping *shipping, int index)
{
    struct pipeline_cluster *cluster = shipping->cluster;
    int partition = shipping->partitions[index];
    struct pipeline_checkpoint_head head = {.fingerprint = cluster->fingerprint,
                                            .partition = (uint64_t)partition,
                                            .partitions = (uint64_t)atomic_load(&cluster->partitions),
                                            .made_ms = shipping->made_ms,
                                            .group = fr_slice_of(cluster->config->group)};
    char path[PATH_MAX];
    struct fr_reader reader;
    struct fr_err err;

    snprintf(path, sizeof path, "cluster/partition/%d", partition);
    fr_buffer_clear(&shipping->value);
    (void)store_scan_meta(cluster->store, path, &shipping->value); /* nothing: it went, or has had no epoch yet */
    reader = fr_reader(fr_buffer_slice(&shipping->value));
    head.next = shipping->next[partition] = (int64_t)fr_reader_varint(&reader);
    head.marker = fr_slice(reader.at, (size_t)(reader.end - reader.at));
    /* Behind the marker there is the transaction's own record. Short of the end it is another's now, or is written to just then. */
    if (head.marker.length == 0 || head.next + 1 < shipping->ends[index]) {
        shipping->is_complete = false;
        return;
    }
    if (!is_news(shipping, partition, head.next))
        return;
    unfinished_name_of(cluster, partition, path);
    if (!pipeline_checkpoint__create(path, &head, &shipping->writers[partition], &err))
        give_up(shipping, partition, &err);
}

static bool begin(struct shipping *shipping)
{
    bool is_any = false;
    struct fr_err err;

    shipping->is_begun = true;
    for (int i = 0; i < shipping->count; i++) {
        create(shipping, i);
        is_any = is_any || shipping->writers[shipping->partitions[i]];
    }
    if (is_any && !store_scan_meta_each(shipping->cluster->store, "tombstone/", put_tombstone, shipping, &err)) {
        for (int i = 0; i < shipping->count; i++)
            give_up(shipping, shipping->partitions[i], &err);
        return false;
    }
    return is_any;
}

static void slow_down(const struct shipping *shipping)
{
    int64_t due_ms = shipping->began_ms + (int64_t)(shipping->bytes / BYTES_A_MS);

    if (due_ms > fr_clock_monotonic_ms() + TICK_MS)
        fr_clock_sleep_ms(TICK_MS);
}

/* Of such a one the file would be refused, and those of before would be gone by then. */
static bool is_sound(struct shipping *shipping, const struct store_key *key, const struct fr_slice disk[STORE_PARTS],
                     struct fr_err *err)
{
    if (store_scan_is_sound(shipping->cluster->store, key, disk, &shipping->memory))
        return true;
    if (shipping->memory.is_failed)
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for a checkpoint");
    return fr_fail(err, FR_CORRUPT,
                   "cluster: what is stored of user %" PRIu64 " is damaged; start this instance with an empty store.path, and "
                   "what it has is read from the topics",
                   key->ids[0]);
}

static bool put_entity(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    struct shipping *shipping = user;
    struct pipeline_cluster *cluster = shipping->cluster;
    struct fr_err err;
    int partition;

    if ((!shipping->is_begun && !begin(shipping)) || pipeline_cluster__is_stopping(cluster))
        return false;
    if (!agg_is_of_user(cluster->engine->agg, key))
        return true;
    partition = ingest_partition_of(key->ids[0], atomic_load(&cluster->partitions));
    if (!shipping->writers[partition])
        return true;
    if (!is_sound(shipping, key, disk, &err)) {
        give_up(shipping, partition, &err);
        return true;
    }
    for (enum store_part part = 0; part < STORE_PARTS; part++) {
        if (disk[part].length == 0)
            continue;
        fr_buffer_clear(&shipping->key);
        pipeline_copy__key(key, part, &shipping->key);
        put(shipping, partition, &shipping->key, disk[part]);
    }
    slow_down(shipping);
    return true;
}

/*
 * Another has written one that goes further since the round began: he owns it now, and who stood still for so long has not been told yet.
 * What is older than the round and goes further is of another changelog.
 */
static bool is_outrun(const struct shipping *shipping, int partition)
{
    int64_t offsets[PIPELINE_SHIP_FILES];
    int count = pipeline_ship__find(shipping->cluster, partition, offsets);

    for (int i = 0; i < count && offsets[i] > shipping->next[partition]; i++) {
        char name[PATH_MAX];
        struct stat state;

        pipeline_ship__name(shipping->cluster, partition, offsets[i], name);
        if (stat(name, &state) == 0 && state.st_mtim.tv_sec * 1000 + state.st_mtim.tv_nsec / 1000000 > shipping->made_ms)
            return true;
    }
    return false;
}

static void finish(struct shipping *shipping, int partition)
{
    struct pipeline_checkpoint_writer *writer = shipping->writers[partition];
    char name[PATH_MAX];
    struct fr_err err;

    if (atomic_load(&shipping->cluster->held[partition].place) != PIPELINE_CLUSTER_HERE || is_outrun(shipping, partition)) {
        give_up(shipping, partition, NULL); /* its new owner has gone further, and may have written that */
        return;
    }
    shipping->writers[partition] = NULL;
    pipeline_ship__name(shipping->cluster, partition, shipping->next[partition], name);
    fr_fault_meet(FR_FAULT_MID_USERS_WRITE);
    if (!pipeline_checkpoint__finish(writer, name, &err)) {
        give_up(shipping, partition, &err);
        return;
    }
    remove_others(shipping->cluster, partition, shipping->next[partition]);
    shipping->written[partition] = shipping->next[partition];
    shipping->written_ms[partition] = shipping->made_ms;
    fr_counter_add(shipping->cluster->shipped, 1);
}

/* Where the scan failed, or was not come to, no partition has a file this time; why is told once, for all. */
static void end_files(struct shipping *shipping, bool is_scanned)
{
    if (!is_scanned && !shipping->is_begun && !pipeline_cluster__is_stopping(shipping->cluster))
        fr_counter_add(shipping->cluster->ship_failed, (uint64_t)shipping->count);
    for (int i = 0; i < shipping->count; i++) {
        int partition = shipping->partitions[i];

        if (!shipping->writers[partition])
            continue;
        if (is_scanned && !pipeline_cluster__is_stopping(shipping->cluster)) {
            finish(shipping, partition);
            continue;
        }
        fr_counter_add(shipping->cluster->ship_failed, !is_scanned);
        give_up(shipping, partition, NULL);
    }
}

/* Where the changelog of each own partition ends, then an epoch, then what that is. */
static bool write_files(struct shipping *shipping, struct fr_err *err)
{
    struct pipeline_cluster *cluster = shipping->cluster;
    bool ok;

    shipping->count = 0;
    for (int i = 0; i < atomic_load(&cluster->partitions); i++)
        if (atomic_load(&cluster->held[i].place) == PIPELINE_CLUSTER_HERE)
            shipping->partitions[shipping->count++] = i;
    shipping->is_begun = false;
    shipping->is_complete = true;
    shipping->bytes = 0;
    shipping->made_ms = fr_clock_wall_ms(); /* before anybody is asked */
    shipping->began_ms = fr_clock_monotonic_ms();
    remove_unfinished(cluster);
    if (shipping->count == 0) {
        set_due(cluster, shipping->made_ms);
        return true;
    }
    ok = ingest_group_marks(cluster->group, cluster->changelog, shipping->partitions, shipping->count, shipping->lows,
                            shipping->ends, err) &&
         pipeline_share__commit(cluster, err) && store_scan(cluster->store, put_entity, shipping, err);
    end_files(shipping, ok);
    if (ok && shipping->is_complete && !pipeline_cluster__is_stopping(cluster)) { /* also where nobody is stored yet */
        fr_gauge_set(cluster->shipped_at, (double)shipping->made_ms / 1000);
        set_due(cluster, shipping->made_ms);
    }
    return ok;
}

static void *run(void *user)
{
    struct shipping *shipping = user;
    struct pipeline_cluster *cluster = shipping->cluster;
    int64_t last_ms = fr_clock_monotonic_ms();
    static struct fr_log_place place;
    struct fr_err err;

    while (!pipeline_cluster__is_stopping(cluster)) {
        fr_clock_sleep_ms(TICK_MS);
        if (fr_clock_monotonic_ms() - last_ms < cluster->config->checkpoint_ms || atomic_load(&cluster->is_held))
            continue;
        last_ms = fr_clock_monotonic_ms();
        if (!write_files(shipping, &err) && !pipeline_cluster__is_stopping(cluster))
            fr_log_limited(&place, 4, FR_LOG_WARN, "cluster", "no checkpoints this time: %s", err.message);
    }
    fr_buffer_fini(&shipping->key);
    fr_buffer_fini(&shipping->value);
    fr_buffer_fini(&shipping->memory);
    free(shipping);
    return NULL;
}

bool pipeline_ship__start(struct pipeline_cluster *cluster, struct fr_err *err)
{
    struct shipping *shipping;

    if (!cluster->config->checkpoints[0])
        return true;
    shipping = calloc(1, sizeof *shipping);
    if (!shipping)
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for checkpoints");
    shipping->cluster = cluster;
    fr_buffer_init(&shipping->key);
    fr_buffer_init(&shipping->value);
    fr_buffer_init(&shipping->memory);
    for (int i = 0; i < PIPELINE_CLUSTER_PARTITIONS_MAX; i++)
        shipping->written[i] = -1;
    set_due(cluster, fr_clock_wall_ms());
    remove_unfinished(cluster);
    if (pthread_create(&cluster->ship, NULL, run, shipping) != 0) {
        free(shipping);
        return fr_fail(err, FR_EXHAUSTED, "cluster: cannot start the checkpoints' thread; raise the limit of threads");
    }
    pthread_setname_np(cluster->ship, "checkpoints");
    cluster->is_ship_started = true;
    return true;
}

void pipeline_ship__stop(struct pipeline_cluster *cluster)
{
    if (cluster->is_ship_started)
        pthread_join(cluster->ship, NULL);
    cluster->is_ship_started = false;
}
