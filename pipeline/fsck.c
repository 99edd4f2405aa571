/*
 * Is a store sound: opened to look at it, as a node would, and every record of the last epoch read with its checksums and decoded.
 */
#include "services.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { FSCK_MEMORY_BYTES = 64 << 20, FSCK_TOLD_MAX = 20, PROGRESS_ENTITIES = 4096 };

struct fsck {
    const struct pipeline_fsck_options *options;
    struct store_codec aggregates, codec; /* the first without the join's kinds */
    struct fr_buffer memory; /* of the part that is decoded */
    uint64_t entities, records, bytes, damaged, unread;
    uint64_t expected;
    char faults[FSCK_TOLD_MAX][256]; /* the first of them */
    int told;
    uint64_t faults_found;
};

static void find_fault(struct fsck *fsck, const char *format, ...) FR_PRINTF(2, 3);
static void find_fault(struct fsck *fsck, const char *format, ...)
{
    va_list arguments;

    fsck->faults_found++;
    if (fsck->told == FSCK_TOLD_MAX)
        return;
    va_start(arguments, format);
    vsnprintf(fsck->faults[fsck->told++], sizeof fsck->faults[0], format, arguments);
    va_end(arguments);
}

static void check_record(struct fsck *fsck, const struct store_key *key, enum store_part part, struct fr_slice disk)
{
    fsck->records++;
    fsck->bytes += disk.length;
    fr_buffer_clear(&fsck->memory);
    if (fsck->codec.decode(fsck->codec.user, key, part, disk, &fsck->memory))
        return;
    if (fsck->memory.is_failed) {
        fsck->unread++;
        return;
    }
    fsck->damaged++;
    find_fault(fsck, "entity of kind %d, key %" PRIu64 "%s, part %d: its %zu bytes make no sense", key->kind, key->ids[0],
               key->id_count > 1 ? "/…" : "", (int)part, disk.length);
}

static bool check_entity(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    struct fsck *fsck = user;

    for (enum store_part part = 0; part < STORE_PARTS; part++)
        if (disk[part].length > 0)
            check_record(fsck, key, part, disk[part]);
    if (++fsck->entities % PROGRESS_ENTITIES == 0 && fsck->options->progress)
        fsck->options->progress(fsck->options->user, fsck->entities, fsck->expected);
    return true;
}

static void find_model_fault(void *user, const char *fault)
{
    find_fault(user, "%s", fault);
}

static void check_meta(struct fsck *fsck, struct store *store)
{
    struct pipeline_offsets *offsets = calloc(1, sizeof *offsets);
    struct pipeline_tombstones tombstones = {0};
    struct fr_err err;

    if (!offsets)
        return;
    if (!pipeline_offsets__init(offsets, store, &err))
        find_fault(fsck, "%s", err.message);
    if (!pipeline_tombstones__load(&tombstones, store, &err))
        find_fault(fsck, "%s", err.message);
    if (store_meta_get(store, pipeline_replay_meta).length > 0)
        find_fault(fsck, "a replay into it did not come to its end; remove the directory and replay again");
    pipeline_tombstones__fini(&tombstones);
    pipeline_offsets__fini(offsets);
    free(offsets);
}

/* What cannot be opened is a fault, not a failure of the check; but a directory without a store is the caller's mistake. */
static bool check_store(struct fsck *fsck, struct pipeline_config *config, struct store *store, struct fr_err *err)
{
    struct store_stats stats;
    struct agg *agg = NULL;
    struct fr_err fault;

    store_stats_read(store, &stats);
    fsck->expected = stats.entities;
    check_meta(fsck, store);
    if (!agg_open(&config->catalogue, store, 0, NULL, &agg, &fault)) {
        if (fault.code != FR_CORRUPT)
            return fr_fail(err, fault.code, "%s", fault.message);
        find_fault(fsck, "%s", fault.message);
        return true;
    }
    if (!store_scan(store, check_entity, fsck, &fault))
        find_fault(fsck, "%s", fault.message);
    else if (stats.is_disk_counted && fsck->entities != stats.disk_entities)
        find_fault(fsck, "%" PRIu64 " entities are there, the last epoch counted %" PRIu64, fsck->entities,
                   stats.disk_entities);
    if (fsck->unread > 0)
        find_fault(fsck, "%" PRIu64 " records were not checked: out of memory", fsck->unread);
    agg_close(agg);
    return true;
}

/* ---- what it says ---- */

static void print_text(const struct fsck *fsck, const char *path, uint64_t epoch, struct fr_buffer *out)
{
    fr_buffer_append_format(out, "%s: %s; epoch %" PRIu64 ", %" PRIu64 " entities, %" PRIu64 " records, %" PRIu64 " bytes\n",
                            path, fsck->faults_found == 0 ? "sound" : "damaged", epoch, fsck->entities, fsck->records,
                            fsck->bytes);
    for (int i = 0; i < fsck->told; i++)
        fr_buffer_append_format(out, "  %s\n", fsck->faults[i]);
    if (fsck->faults_found > (uint64_t)fsck->told)
        fr_buffer_append_format(out, "  and %" PRIu64 " more\n", fsck->faults_found - (uint64_t)fsck->told);
    if (fsck->faults_found > 0)
        fr_buffer_append_text(out, "  the way back: freshet restore, or a replay from Kafka into an empty directory\n");
}

static void print_quoted(const char *text, struct fr_buffer *out)
{
    fr_buffer_append_byte(out, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fr_buffer_append_byte(out, '\\');
        fr_buffer_append_byte(out, (unsigned char)*text < 0x20 ? ' ' : (uint8_t)*text);
    }
    fr_buffer_append_byte(out, '"');
}

static void print_json(const struct fsck *fsck, const char *path, uint64_t epoch, struct fr_buffer *out)
{
    fr_buffer_append_text(out, "{\"directory\":");
    print_quoted(path, out);
    fr_buffer_append_format(out,
                            ",\"sound\":%s,\"epoch\":\"%" PRIu64 "\",\"entities\":\"%" PRIu64 "\",\"records\":\"%" PRIu64
                            "\",\"bytes\":\"%" PRIu64 "\",\"faultsFound\":\"%" PRIu64 "\",\"faults\":[",
                            fsck->faults_found == 0 ? "true" : "false", epoch, fsck->entities, fsck->records, fsck->bytes,
                            fsck->faults_found);
    for (int i = 0; i < fsck->told; i++) {
        if (i > 0)
            fr_buffer_append_byte(out, ',');
        print_quoted(fsck->faults[i], out);
    }
    fr_buffer_append_text(out, "]}\n");
}

bool pipeline_fsck(struct pipeline_config *config, const struct pipeline_fsck_options *options, struct fr_buffer *out,
                   bool *is_sound, struct fr_err *err)
{
    struct fsck *fsck = calloc(1, sizeof *fsck);
    struct store_options store_options = {.path = config->store_path, .memory_bytes = FSCK_MEMORY_BYTES, .is_read_only = true};
    struct store *store = NULL;
    struct store_stats stats = {0};
    struct fr_err fault;
    bool is_done = true;

    if (!fsck)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    fsck->options = options;
    fsck->aggregates = agg_codec(config->catalogue);
    fsck->codec = store_options.codec = pipeline_codec__with_join(&fsck->aggregates);
    fr_buffer_init(&fsck->memory);
    if (store_open(&store_options, &store, &fault)) {
        store_stats_read(store, &stats);
        is_done = check_store(fsck, config, store, err);
    } else if (fault.code == FR_CORRUPT) {
        find_fault(fsck, "%s", fault.message);
    } else {
        *err = fault;
        is_done = false;
    }
    if (is_done)
        pipeline_backup__models_check(config->store_path, find_model_fault, fsck);
    *is_sound = fsck->faults_found == 0;
    if (is_done)
        (options->is_json ? print_json : print_text)(fsck, config->store_path, stats.epoch, out);
    store_close(store);
    fr_buffer_fini(&fsck->memory);
    free(fsck);
    return is_done;
}
