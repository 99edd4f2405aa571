/*
 * RocksDB as the store uses it: one column family, ingested files only. The memtable and the WAL stay empty, which keeps clear
 * of 7.8's trouble with both (writer hang after a stall, level 0 misordered by ingestion over memtable entries); what is left is
 * files, the manifest and compaction. RocksDB's C API aborts when it cannot allocate: that, and only that, is out of our hands.
 */
#include "internal.h"

#include <freshet/fault.h>

#include <stdlib.h>

enum {
    BLOCK_BYTES = 4 << 10, /* a load wants a hundred bytes of one */
    FILTER_KEY_BITS = 10,
    LEVEL0_FILES = 8, /* make a compaction: each rewrites the next level, so half as many cost half as much */
    LEVELS = 7,
    LOOK_ATTEMPTS = 10,
    INFO_LOG_FATAL = 4,
};

/*
 * Copied by RocksDB into each options object that is given it. Blocks are not cached: keys are hashes, so a block that one entity
 * came out of is not soon wanted for another, and memory is better spent on entities. The files' own indexes and filters stay
 * with the open files, whole, and are counted (store_disk__index_bytes()).
 */
static rocksdb_block_based_table_options_t *table_options(void)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();

    rocksdb_block_based_options_set_block_size(table, BLOCK_BYTES);
    rocksdb_block_based_options_set_format_version(table, 5);
    rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(FILTER_KEY_BITS));
    rocksdb_block_based_options_set_whole_key_filtering(table, 1);
    rocksdb_block_based_options_set_no_block_cache(table, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 0);
    return table;
}

/*
 * Nothing is compressed: of varints and hashes zstd saves 30 % of the disk, for more than half of what a load and a compaction
 * cost. What an earlier version compressed is read as it is.
 */
static rocksdb_options_t *base_options(void)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_block_based_table_options_t *table = table_options();

    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    return options;
}

#ifdef FRESHET_FAULTS

/* A filter that keeps everything: it is where a compaction passes by. */
static unsigned char keep(void *unused, int level, const char *key, size_t key_bytes, const char *value, size_t value_bytes,
                          char **new_value, size_t *new_value_bytes, unsigned char *is_changed)
{
    (void)unused, (void)level, (void)key, (void)key_bytes, (void)value, (void)value_bytes;
    (void)new_value, (void)new_value_bytes, (void)is_changed;
    fr_fault_meet(FR_FAULT_MID_COMPACTION);
    return 0;
}

static void destroy_nothing(void *unused)
{
    (void)unused;
}

static const char *filter_name(void *unused)
{
    (void)unused;
    return "fault point";
}

/* One for all stores, to the end of the process. */
static void watch_compactions(rocksdb_options_t *options)
{
    static rocksdb_compactionfilter_t *filter;

    if (filter == NULL)
        filter = rocksdb_compactionfilter_create(NULL, destroy_nothing, keep, filter_name);
    rocksdb_options_set_compaction_filter(options, filter);
}

#else

static void watch_compactions(rocksdb_options_t *options)
{
    (void)options;
}

#endif

/* The last level has no filters: the store's own (filter.c) knows what is on disk, so nearly all that comes down there is found. */
static rocksdb_options_t *open_options(void)
{
    rocksdb_options_t *options = base_options();

    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_paranoid_checks(options, 1);
    rocksdb_options_set_num_levels(options, LEVELS);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);
    rocksdb_options_set_level0_file_num_compaction_trigger(options, LEVEL0_FILES);
    rocksdb_options_set_optimize_filters_for_hits(options, 1);
    rocksdb_options_set_max_background_jobs(options, 2);
    rocksdb_options_set_max_open_files(options, 512);
    rocksdb_options_set_write_buffer_size(options, 1 << 20); /* never used */
    rocksdb_options_set_max_manifest_file_size(options, 64 << 20);
    rocksdb_options_set_bytes_per_sync(options, 1 << 20); /* no compaction saves its dirty pages up for one long fsync */
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_stats_persist_period_sec(options, 0);
    /* Its warnings are lost so; but the second line that a full or broken disk does not take aborts the process (measured). */
    rocksdb_options_set_info_log_level(options, INFO_LOG_FATAL);
    rocksdb_options_set_max_log_file_size(options, 4 << 20);
    rocksdb_options_set_keep_log_file_num(options, 4);
    watch_compactions(options);
    return options;
}

bool store_disk__is_corruption(const char *message)
{
    return strncmp(message, "Corruption", strlen("Corruption")) == 0;
}

bool store_disk__fail(char *message, struct fr_err *err, const char *path, const char *what)
{
    if (store_disk__is_corruption(message))
        (void)fr_fail(err, FR_CORRUPT,
                      "store: cannot %s in '%s': %s; restore a backup, or move the directory away and replay from "
                      "Kafka",
                      what, path, message);
    else
        (void)fr_fail(err, FR_UNAVAILABLE, "store: cannot %s in '%s': %s", what, path, message);
    rocksdb_free(message);
    return false;
}

static void open_db(const char *path, struct store_disk *disk, char **message)
{
    const char *names[] = {"default"};
    const rocksdb_options_t *family_options[] = {disk->options};

    disk->db = rocksdb_open_column_families(disk->options, path, 1, names, family_options, &disk->family, message);
}

/*
 * Beside a running node: all files are opened at once and stay readable when compaction removes them. One that goes between the
 * reading of the manifest and its opening fails this; then the manifest is read anew.
 */
static void look_at_db(const char *path, struct store_disk *disk, char **message)
{
    const char *names[] = {"default"};
    const rocksdb_options_t *family_options[] = {disk->options};

    rocksdb_options_set_create_if_missing(disk->options, 0);
    rocksdb_options_set_max_open_files(disk->options, -1);
    for (int attempt = 0; attempt < LOOK_ATTEMPTS; attempt++) {
        rocksdb_free(*message);
        *message = NULL;
        disk->db = rocksdb_open_for_read_only_column_families(disk->options, path, 1, names, family_options, &disk->family, 0,
                                                              message);
        if (*message == NULL)
            return;
    }
}

bool store_disk__open(const char *path, bool is_read_only, struct store_disk *disk, struct fr_err *err)
{
    char *message = NULL;

    disk->options = open_options();
    disk->sst_options = base_options();
    disk->env = rocksdb_envoptions_create();
    disk->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(disk->read, 1);
    disk->ingest = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(disk->ingest, 1);
    rocksdb_ingestexternalfileoptions_set_snapshot_consistency(disk->ingest, 1);
    rocksdb_ingestexternalfileoptions_set_allow_blocking_flush(disk->ingest, 0); /* there is nothing to flush, ever */

    if (is_read_only)
        look_at_db(path, disk, &message);
    else
        open_db(path, disk, &message);
    if (message == NULL)
        return true;
    (void)fr_fail(err, FR_CORRUPT,
                  "store: cannot open '%s': %s; restore a backup, or move the directory away and replay from Kafka", path,
                  message);
    rocksdb_free(message);
    disk->db = NULL;
    store_disk__close(disk);
    return false;
}

void store_disk__close(struct store_disk *disk)
{
    if (disk->db != NULL) {
        rocksdb_column_family_handle_destroy(disk->family);
        rocksdb_close(disk->db);
    }
    if (disk->options != NULL) {
        rocksdb_ingestexternalfileoptions_destroy(disk->ingest);
        rocksdb_readoptions_destroy(disk->read);
        rocksdb_envoptions_destroy(disk->env);
        rocksdb_options_destroy(disk->sst_options);
        rocksdb_options_destroy(disk->options);
    }
    *disk = (struct store_disk){0};
}

/*
 * Taking a file over, RocksDB 7.8 reads its first and its last key without asking whether reading worked: after a read that
 * failed, the manifest has an empty key for a bound. What lies outside the bounds is then not found, and a compaction of such files
 * aborts the process. So it is looked for after each epoch and at open.
 */
bool store_disk__check_files(const struct store_disk *disk, const char *path, struct fr_err *err)
{
    const rocksdb_livefiles_t *files = rocksdb_livefiles(disk->db);
    int count = rocksdb_livefiles_count(files), wrong = -1;

    for (int i = 0; i < count && wrong < 0; i++) {
        size_t smallest_bytes, largest_bytes;
        const char *smallest = rocksdb_livefiles_smallestkey(files, i, &smallest_bytes);
        const char *largest = rocksdb_livefiles_largestkey(files, i, &largest_bytes);
        size_t shorter = smallest_bytes < largest_bytes ? smallest_bytes : largest_bytes;
        int order = memcmp(smallest, largest, shorter);

        if (smallest_bytes == 0 || order > 0 || (order == 0 && smallest_bytes > largest_bytes))
            wrong = i;
    }
    if (wrong >= 0)
        (void)fr_fail(err, FR_CORRUPT,
                      "store: '%s%s' was taken over with wrong bounds, because a read failed; restore a backup, or move the "
                      "directory away and replay from Kafka",
                      path, rocksdb_livefiles_name(files, wrong));
    rocksdb_livefiles_destroy(files);
    return wrong < 0;
}

int store_disk__level0_files(const struct store_disk *disk)
{
    /* A string property: rocksdb_property_int() answers −1 for it. */
    char *text = rocksdb_property_value(disk->db, "rocksdb.num-files-at-level0");
    int files = text != NULL ? (int)strtol(text, NULL, 10) : -1;

    rocksdb_free(text);
    return files;
}

uint64_t store_disk__index_bytes(const struct store_disk *disk)
{
    uint64_t bytes = 0;

    return rocksdb_property_int(disk->db, "rocksdb.estimate-table-readers-mem", &bytes) == 0 ? bytes : 0;
}
