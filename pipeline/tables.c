/*
 * One lane reads all tables' topics: a row is a few hundred nanoseconds, and the order of a partition is all there is to keep. The places
 * where it stands are meta records of their own, under the table's generation: another generation of a table finds none, and begins at the
 * beginning.
 */
#include "internal.h"

#include <freshet/log.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH_ROWS = 512, QUEUE_BYTES = 16 << 20, OUTCOMES = 5, TABLES_MOST = 64 };

static const char *const outcome_names[OUTCOMES] = {"changed", "same", "deleted", "unknown", "left_out"};

struct pipeline_tables {
    struct pipeline_tables_options options;
    struct pipeline_offsets offsets;
    _Atomic(struct ingest *) ingest;
    bool is_embedded;
    char group[512];
    _Atomic int64_t *targets; /* by partition: where it ended when that was first known; −1: it is not */
    atomic_bool is_caught_up;
    struct agg_table_row rows[BATCH_ROWS];
    struct fr_counter *outcomes[TABLES_MOST][OUTCOMES];
};

/* NULL: there are no tables, or it is not open yet, though the committer runs and calls come. */
static struct ingest *ingest_of(struct pipeline_tables *tables)
{
    return tables ? atomic_load_explicit(&tables->ingest, memory_order_acquire) : NULL;
}

static bool on_cluster(void *user, const char *cluster_id, struct fr_err *err)
{
    struct pipeline_tables *tables = user;

    return pipeline_offsets__cluster(&tables->offsets, cluster_id, tables->is_embedded, tables->options.config->store_path,
                                     err);
}

static struct ingest_position on_start(void *user, int partition, const char *topic, int32_t number)
{
    struct pipeline_tables *tables = user;
    uint64_t generation = 0;
    char name[300];

    for (int i = 0; i < agg_table_count(tables->options.agg); i++) {
        struct agg_table_info info = agg_table_at(tables->options.agg, i);

        if (strcmp(info.topic, topic) == 0)
            generation = info.generation;
    }
    snprintf(name, sizeof name, "(table %" PRIu64 ")%s", generation, topic);
    return pipeline_offsets__start(&tables->offsets, partition, name, number);
}

static bool has_room(struct pipeline_tables *tables, struct fr_err *err)
{
    struct store_stats stats;

    if (!ingest_of(tables)) /* an epoch would not know whose dead letters to wait for */
        return fr_fail(err, FR_EXHAUSTED, "pipeline: tables are being opened; rows wait");
    if (store_is_failed(tables->options.store))
        return fr_fail(err, FR_EXHAUSTED, "pipeline: the store has failed; rows wait");
    store_stats_read(tables->options.store, &stats);
    return stats.unwritten_bytes + stats.pending_bytes <= tables->options.dirty_bytes_most ||
           fr_fail(err, FR_EXHAUSTED, "pipeline: too much waits for an epoch; rows wait");
}

/* Somebody who should be blocked is not: the one thing about rows that an operator must hear of. */
static void tell_left_out(const struct pipeline_tables *tables, int table, uint64_t rows)
{
    static struct fr_log_place place;
    struct agg_table_info info = agg_table_at(tables->options.agg, table);

    if (rows > 0)
        fr_log_limited(&place, 6, FR_LOG_ERROR, "pipeline",
                       "table %s: %" PRIu64 " rows block nothing, because it has no room for more ids than the %" PRIu32
                       " that it blocks and those that it did since the start; restart the node, or delete rows",
                       info.name, rows, info.blocked);
}

static void count(struct pipeline_tables *tables, int table, const struct agg_table_tally *tally)
{
    const uint64_t counts[OUTCOMES] = {tally->changed, tally->same, tally->deleted, tally->unknown, tally->left_out};

    for (int i = 0; i < OUTCOMES; i++)
        if (counts[i] > 0)
            fr_counter_add(tables->outcomes[table][i], counts[i]);
    tell_left_out(tables, table, tally->left_out);
}

/* Rows of one table at a time, so that they are counted by table; what is between offsets and them is inside one gate. */
static bool apply_rows(struct pipeline_tables *tables, int row_count, struct fr_err *err)
{
    for (int from = 0, to; from < row_count; from = to) {
        struct agg_table_tally tally = {0};

        for (to = from + 1; to < row_count && tables->rows[to].table == tables->rows[from].table;)
            to++;
        if (!agg_table_rows_apply(tables->options.agg, tables->rows + from, to - from, &tally, err))
            return false;
        count(tables, tables->rows[from].table, &tally);
    }
    return true;
}

static bool on_batch(void *user, const struct ingest_batch *batch, struct fr_err *err)
{
    struct pipeline_tables *tables = user;
    struct store *store = tables->options.store;
    struct store_visit visit;
    bool is_applied;

    if (!has_room(tables, err))
        return false;
    for (int i = 0; i < batch->row_count; i++)
        tables->rows[i] = (struct agg_table_row){.row = batch->rows[i].row, .table = batch->rows[i].table};
    visit = store_visit_enter(store);
    is_applied = agg_table_rows_load(tables->options.agg, tables->rows, batch->row_count, err);
    if (is_applied) {
        store_gate_enter(store);
        is_applied = apply_rows(tables, batch->row_count, err);
        for (int i = 0; i < batch->advance_count && is_applied; i++)
            pipeline_offsets__advance(&tables->offsets, batch->advances[i].partition,
                                      (struct ingest_position){batch->advances[i].next_offset, batch->advances[i].last});
        store_gate_leave(store);
    }
    store_visit_leave(store, visit);
    return is_applied;
}

static void on_fatal(void *user, const struct fr_err *err)
{
    struct pipeline_tables *tables = user;

    tables->options.fatal(tables->options.user, err);
}

/* ---- how far it is ---- */

bool pipeline_tables__is_caught_up(struct pipeline_tables *tables)
{
    struct ingest *ingest = ingest_of(tables);

    if (!tables || atomic_load_explicit(&tables->is_caught_up, memory_order_relaxed))
        return true;
    if (!ingest || !ingest_is_assigned(ingest))
        return false;
    for (int i = 0; i < ingest_partition_count(ingest); i++) {
        struct ingest_partition partition = ingest_partition_at(ingest, i);
        int64_t target = atomic_load(&tables->targets[i]);

        if (target < 0 && partition.end >= 0 && atomic_compare_exchange_strong(&tables->targets[i], &target, partition.end))
            target = partition.end;
        if (target < 0 || (target > partition.low && pipeline_offsets__next(&tables->offsets, i) < target))
            return false;
    }
    atomic_store(&tables->is_caught_up, true);
    return true;
}

int64_t pipeline_tables__lag(struct pipeline_tables *tables)
{
    struct ingest *ingest = ingest_of(tables);
    int64_t lag = 0;

    if (!ingest || !ingest_is_assigned(ingest))
        return tables ? -1 : 0;
    for (int i = 0; i < ingest_partition_count(ingest); i++) {
        struct ingest_partition partition = ingest_partition_at(ingest, i);
        int64_t next = pipeline_offsets__next(&tables->offsets, i);

        next = next < partition.low ? partition.low : next;
        lag += partition.end > next ? partition.end - next : 0;
    }
    return lag;
}

/* ---- the epoch ---- */

void pipeline_tables__save(struct pipeline_tables *tables, struct store *store)
{
    if (tables)
        pipeline_offsets__save(&tables->offsets, store);
}

bool pipeline_tables__flush(struct pipeline_tables *tables, int timeout_ms, bool is_last, struct fr_err *err)
{
    struct ingest *ingest = ingest_of(tables);

    return !ingest || ingest_dead_letters_flush(ingest, timeout_ms, is_last, err);
}

/* ---- start and stop ---- */

static void find_metrics(struct pipeline_tables *tables)
{
    for (int t = 0; t < agg_table_count(tables->options.agg) && t < TABLES_MOST; t++) {
        for (int i = 0; i < OUTCOMES; i++) {
            char labels[160];

            snprintf(labels, sizeof labels, "table=\"%s\",outcome=\"%s\"", agg_table_at(tables->options.agg, t).name,
                     outcome_names[i]);
            tables->outcomes[t][i] = fr_metrics_counter(tables->options.metrics, "freshet_table_rows_total", labels,
                                                        "Records of tables: rows changed or new, told again, deleted, "
                                                        "tombstones of none; left_out of those that block: they "
                                                        "block nothing, for want of room.");
        }
    }
}

bool pipeline_tables__open(const struct pipeline_tables_options *options, struct pipeline_tables **ret, struct fr_err *err)
{
    struct pipeline_tables *tables;

    *ret = NULL;
    if (agg_table_count(options->agg) == 0)
        return true;
    tables = calloc(1, sizeof *tables);
    if (!tables)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for tables");
    *ret = tables; /* the caller closes it */
    tables->options = *options;
    tables->targets = calloc(PIPELINE_PARTITIONS_MAX, sizeof *tables->targets);
    if (!tables->targets)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for tables");
    for (int i = 0; i < PIPELINE_PARTITIONS_MAX; i++)
        atomic_init(&tables->targets[i], -1);
    tables->is_embedded = options->config->is_embedded;
    snprintf(tables->group, sizeof tables->group, "%s.tables", options->config->group);
    find_metrics(tables);
    for (int t = 0; t < agg_table_count(options->agg) && t < TABLES_MOST; t++)
        count(tables, t, &(struct agg_table_tally){.left_out = agg_table_at(options->agg, t).left_out});
    return pipeline_offsets__init(&tables->offsets, options->store, err);
}

bool pipeline_tables__start(struct pipeline_tables *tables, const char *brokers, const char *cluster_id, struct fr_err *err)
{
    const struct pipeline_config *config = tables ? tables->options.config : NULL;
    struct ingest_topic topics[TABLES_MOST];
    struct ingest_options options;
    struct ingest *ingest;
    int topic_count;

    if (!tables)
        return true;
    topic_count = agg_table_count(tables->options.agg);
    for (int i = 0; i < topic_count; i++) {
        struct agg_table_info info = agg_table_at(tables->options.agg, i);

        topics[i] =
            (struct ingest_topic){.name = info.topic, .partitions = info.partitions, .table = info.layout, .table_number = i};
    }
    options = (struct ingest_options){
        .brokers = brokers,
        .cluster_id = cluster_id,
        .group = tables->group,
        .topics = topics,
        .topic_count = topic_count,
        .dead_letters = config->dead_letters,
        .start = INGEST_EARLIEST, /* a table is all of its topic */
        .is_adopting = config->is_adopting,
        .properties = config->properties,
        .property_count = config->property_count,
        .lanes = 1,
        .batch_max = BATCH_ROWS,
        .queue_bytes = QUEUE_BYTES,
        .max_future_ms = -1,
        .metrics = tables->options.metrics,
        .sink = {.user = tables, .cluster = on_cluster, .start = on_start, .batch = on_batch, .fatal = on_fatal}};
    if (!ingest_open(&options, &ingest, err))
        return false;
    atomic_store_explicit(&tables->ingest, ingest, memory_order_release);
    return true;
}

void pipeline_tables__stop(struct pipeline_tables *tables)
{
    struct ingest *ingest = ingest_of(tables);

    if (ingest)
        ingest_stop(ingest);
}

bool pipeline_tables__close(struct pipeline_tables *tables, int deadline_ms)
{
    bool is_closed;

    if (!tables)
        return true;
    pipeline_tables__stop(tables);
    is_closed = ingest_close(ingest_of(tables), deadline_ms);
    if (!is_closed)
        return false; /* what its threads may still look at stays */
    pipeline_offsets__fini(&tables->offsets);
    free((void *)tables->targets);
    free(tables);
    return true;
}
