/*
 * A partition's users out of a checkpoint (cluster_ship.c): thousand by thousand into the state, and at the end, inside one
 * gate, how far the changelog is in it. What breaks off before that has no position in the store, so a restart begins with an
 * empty partition. What gives way to a hand-over goes on after it with the same file, behind what it has put: a large partition
 * would not come to its end else, where hand-overs follow one another. A file that is refused is counted and told, and the next older one or the changelog is read.
 */
#include "checkpoint.h"
#include "cluster_internal.h"

#include <freshet/clock.h>
#include <freshet/fault.h>
#include <freshet/log.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* REFUSED: what came of it, if anything, is to be cleared away. GONE: its owner has written two more meanwhile. */
enum outcome { TAKEN, REFUSED, GONE, GAVE_WAY, FAILED };

struct fetching {
    struct pipeline_cluster *cluster;
    int32_t partition;
    struct pipeline_checkpoint_wanted wanted;
    struct pipeline_marker marker;
    int64_t next;
    uint64_t records, put_before; /* of the file at hand, so far; of them another time */
    struct pipeline_checkpoint_record found[PIPELINE_CHECKPOINT_RECORDS];
    struct agg_copy copies[PIPELINE_CHECKPOINT_RECORDS];
    int count;
};

static enum outcome outcome_of(const struct fr_err *err)
{
    return err->code == FR_CORRUPT || err->code == FR_BAD_CONFIG ? REFUSED : FAILED;
}

static bool take_record(struct fetching *fetching, const struct pipeline_checkpoint_record *record, struct fr_err *err)
{
    struct pipeline_cluster *cluster = fetching->cluster;
    struct agg_copy *copy = &fetching->copies[fetching->count];

    if (pipeline_tombstone__is(record->key))
        return pipeline_cluster_tombstones__receive(cluster, fetching->partition, record->key, record->value, err);
    if (!pipeline_copy__read_key(record->key, &copy->key, &copy->part) ||
        ingest_partition_of(copy->key.ids[0], atomic_load(&cluster->partitions)) != fetching->partition)
        return fr_fail(err, FR_CORRUPT, "cluster: it has a record that makes no sense, or of another partition");
    copy->bytes = record->value;
    fetching->count++;
    return true;
}

static bool put_copies(struct fetching *fetching, struct fr_err *err)
{
    struct pipeline_cluster *cluster = fetching->cluster;
    struct store_visit visit = store_visit_enter(cluster->store);
    bool ok = agg_copies_load(cluster->engine->agg, fetching->copies, fetching->count, err);

    if (ok) {
        store_gate_enter(cluster->store);
        ok = agg_copies_put(cluster->engine->agg, fetching->copies, fetching->count, err);
        store_gate_leave(cluster->store);
    }
    store_visit_leave(cluster->store, visit);
    fr_counter_add(cluster->ship_records, (uint64_t)fetching->count);
    return ok;
}

static enum outcome take_records(struct fetching *fetching, struct pipeline_checkpoint_reader *reader, struct fr_err *err)
{
    struct pipeline_cluster *cluster = fetching->cluster;
    struct pipeline_held *held = &cluster->held[fetching->partition];
    int count;

    while ((count = pipeline_checkpoint__read(reader, fetching->found, err)) > 0) {
        if (atomic_load(&cluster->is_held))
            return GAVE_WAY;
        if (pipeline_cluster__is_stopping(cluster)) {
            fr_fail(err, FR_UNAVAILABLE, "cluster: the node is closing");
            return FAILED;
        }
        fetching->records += (uint64_t)count;
        if (fetching->records <= fetching->put_before)
            continue; /* it breaks off between two reads, and each reads as much as it did */
        pipeline_cluster__wait_for_room(cluster, true);
        held->is_empty = false;
        fetching->count = 0;
        for (int i = 0; i < count; i++)
            if (!take_record(fetching, &fetching->found[i], err))
                return outcome_of(err);
        if (!put_copies(fetching, err))
            return outcome_of(err);
        held->begun.records = fetching->records;
        fr_fault_meet(FR_FAULT_MID_USERS_READ);
    }
    return count == 0 ? TAKEN : outcome_of(err);
}

/* Nothing of the partition is left then, or a hand-over has come. */
static bool begin_anew(struct pipeline_cluster *cluster, int32_t partition, struct fr_err *err)
{
    cluster->held[partition].begun.records = 0;
    return pipeline_share__clear(cluster, &partition, 1, err);
}

/* Behind what is here of this very file, or, where that is another's, from the first record of an empty partition. */
static enum outcome go_on(struct fetching *fetching, const struct pipeline_checkpoint_head *head,
                          struct pipeline_checkpoint_reader *reader, struct fr_err *err)
{
    struct pipeline_begun *begun = &fetching->cluster->held[fetching->partition].begun;

    if (begun->records > 0 && (begun->next != head->next || begun->made_ms != head->made_ms)) {
        if (!begin_anew(fetching->cluster, fetching->partition, err))
            return FAILED;
        if (atomic_load(&fetching->cluster->is_held))
            return GAVE_WAY;
    }
    *begun = (struct pipeline_begun){.next = head->next, .made_ms = head->made_ms, .records = begun->records};
    fetching->put_before = begun->records;
    return take_records(fetching, reader, err);
}

/* From here on the partition is known to be here up to the marker. */
static void settle(struct fetching *fetching)
{
    struct pipeline_cluster *cluster = fetching->cluster;
    struct pipeline_held *held = &cluster->held[fetching->partition];

    store_gate_enter(cluster->store);
    held->marker = fetching->marker;
    atomic_store(&held->time_ms, held->marker.stream_time_ms);
    atomic_store(&held->changelog_next, fetching->next);
    held->is_saved = false;
    held->begun.records = 0;
    store_gate_leave(cluster->store);
}

static enum outcome take_file(struct fetching *fetching, const char *name, struct fr_err *err)
{
    struct pipeline_checkpoint_reader *reader = NULL;
    struct pipeline_checkpoint_head head;
    FILE *file = fopen(name, "rbe");
    enum outcome outcome = REFUSED;
    const char *unfit;

    if (!file && errno == ENOENT)
        return GONE;
    if (!file) {
        fr_fail(err, FR_CORRUPT, "cluster: cannot open '%s': %s", name, strerror(errno));
        return REFUSED;
    }
    if (!pipeline_checkpoint__open(file, name, &head, &reader, err))
        return outcome_of(err);
    unfit = pipeline_checkpoint__unfit(&head, &fetching->wanted);
    if (unfit)
        fr_fail(err, FR_CORRUPT, "cluster: the checkpoint '%s' %s", name, unfit);
    else if (pipeline_marker__decode(fetching->cluster, head.marker, &fetching->marker, err))
        outcome = go_on(fetching, &head, reader, err);
    fetching->next = head.next;
    pipeline_checkpoint__close(reader);
    if (outcome == TAKEN)
        settle(fetching);
    return outcome;
}

static bool ask(struct fetching *fetching, struct fr_err *err)
{
    struct pipeline_cluster *cluster = fetching->cluster;
    int64_t low, end;

    while (!ingest_group_marks(cluster->group, cluster->changelog, &fetching->partition, 1, &low, &end, err))
        if (atomic_load(&cluster->is_held) || !pipeline_cluster__wait_again(cluster, err))
            return false;
    fetching->wanted = (struct pipeline_checkpoint_wanted){.fingerprint = cluster->fingerprint,
                                                           .partition = (uint64_t)fetching->partition,
                                                           .partitions = (uint64_t)atomic_load(&cluster->partitions),
                                                           .group = cluster->config->group,
                                                           .low = low,
                                                           .end = end,
                                                           .now_ms = fr_clock_wall_ms(),
                                                           .oldest_ms = PIPELINE_CLUSTER_OLDEST_MS};
    return true;
}

static enum outcome take_newest(struct fetching *fetching, const int64_t *offsets, int count, struct fr_err *err)
{
    struct pipeline_cluster *cluster = fetching->cluster;
    int64_t began_ms = fr_clock_monotonic_ms();
    enum outcome outcome = REFUSED;

    for (int i = 0; i < count && (outcome == REFUSED || outcome == GONE); i++) {
        char name[PATH_MAX];

        pipeline_ship__name(cluster, fetching->partition, offsets[i], name);
        fetching->records = 0;
        outcome = take_file(fetching, name, err);
        if (outcome == TAKEN) {
            fr_counter_add(cluster->ship_taken, 1);
            fr_log(FR_LOG_INFO, "cluster", "partition %d: %" PRIu64 " records of '%s' within %" PRId64 " ms",
                   fetching->partition, fetching->records, name, fr_clock_monotonic_ms() - began_ms);
        } else if (outcome == REFUSED) {
            fr_counter_add(cluster->ship_refused, 1);
            fr_log(FR_LOG_WARN, "cluster", "%s; without it more of the changelog is read", err->message);
            if (!begin_anew(cluster, fetching->partition, err))
                outcome = FAILED;
            else if (atomic_load(&cluster->is_held))
                outcome = GAVE_WAY; /* what it brought may be there still: the next to come clears it away */
        }
    }
    return outcome;
}

/* What was begun is worth more than what is newer. */
static void put_first(int64_t *offsets, int count, int64_t first)
{
    for (int i = 1; i < count; i++)
        if (offsets[i] == first) {
            memmove(offsets + 1, offsets, (size_t)i * sizeof *offsets);
            offsets[0] = first;
        }
}

bool pipeline_ship__fetch(struct pipeline_cluster *cluster, int32_t partition, struct fr_err *err)
{
    int64_t offsets[PIPELINE_SHIP_FILES];
    int count = cluster->config->checkpoints[0] ? pipeline_ship__find(cluster, partition, offsets) : 0;
    struct fetching *fetching;
    enum outcome outcome;

    if (count < 0)
        fr_log(FR_LOG_WARN, "cluster", "cannot read '%s': %s; without it more of the changelog is read",
               cluster->config->checkpoints, strerror(errno));
    if (count <= 0)
        return begin_anew(cluster, partition, err);
    if (cluster->held[partition].begun.records > 0)
        put_first(offsets, count, cluster->held[partition].begun.next);
    fetching = calloc(1, sizeof *fetching);
    if (!fetching)
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for a checkpoint");
    fetching->cluster = cluster;
    fetching->partition = partition;
    if (ask(fetching, err))
        outcome = take_newest(fetching, offsets, count, err);
    else
        outcome = atomic_load(&cluster->is_held) ? GAVE_WAY : FAILED;
    free(fetching);
    return outcome == GONE ? begin_anew(cluster, partition, err) : outcome != FAILED;
}
