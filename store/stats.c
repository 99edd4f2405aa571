/*
 * What a store says about itself. Counts of stripes are added up without a lock: each is right, all of them together are of no
 * one instant.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>

static struct fr_gauge *bytes_gauge(struct fr_metrics *registry, const char *kind)
{
    return fr_metrics_gauge(registry, "freshet_state_bytes", kind, "Memory that the budget covers, by what takes it.");
}

static struct fr_counter *loads_counter(struct fr_metrics *registry, const char *result)
{
    return fr_metrics_counter(registry, "freshet_state_loads_total", result,
                              "Entities wanted: in memory, known to be nowhere without the disk, found on it, or not.");
}

void store__register_metrics(struct store_metrics *metrics, struct fr_metrics *registry)
{
    *metrics = (struct store_metrics){
        .epoch_seconds = fr_metrics_histogram(registry, "freshet_epoch_seconds", NULL, "From the boundary to durable."),
        .epoch_bytes = fr_metrics_gauge(registry, "freshet_epoch_bytes", NULL, "Size of the last epoch's file."),
        .entities = fr_metrics_gauge(registry, "freshet_state_entities", NULL, "Entities, in memory or on disk only."),
        .table_entities = fr_metrics_gauge(registry, "freshet_state_table_entities", NULL, "Entities in memory."),
        .table_bytes = bytes_gauge(registry, "kind=\"table\""),
        .parts_bytes = bytes_gauge(registry, "kind=\"parts\""),
        .index_bytes = bytes_gauge(registry, "kind=\"index\""),
        .filter_bytes = bytes_gauge(registry, "kind=\"filter\""),
        .buffer_bytes = bytes_gauge(registry, "kind=\"buffers\""),
        .excerpt_bytes = bytes_gauge(registry, "kind=\"excerpts\""),
        .budget_bytes = fr_metrics_gauge(registry, "freshet_state_budget_bytes", NULL, "store.memory."),
        .dirty_bytes =
            fr_metrics_gauge(registry, "freshet_state_dirty_bytes", NULL, "In parts changed since the last boundary."),
        .level0_files = fr_metrics_gauge(registry, "freshet_level0_files", NULL, "Epoch files not compacted yet."),
        .disk_free_bytes = fr_metrics_gauge(registry, "freshet_disk_free_bytes", NULL, "Free on the disk of store.path."),
        .corrupt = fr_metrics_counter(registry, "freshet_state_corrupt_total", NULL, "Quarantined entities."),
        .looks_here = loads_counter(registry, "result=\"memory\""),
        .looks_filtered = loads_counter(registry, "result=\"filtered\""),
        .loads_found = loads_counter(registry, "result=\"hit\""),
        .loads_absent = loads_counter(registry, "result=\"miss\""),
        .evicted = fr_metrics_counter(registry, "freshet_state_evictions_total", NULL, "Entities that left memory."),
    };
}

bool store_is_failed(const struct store *store)
{
    return atomic_load(&store->is_failed);
}

void store__count_loaded(struct store *store)
{
    uint64_t unloaded = atomic_load_explicit(&store->unloaded, memory_order_relaxed);

    while (unloaded > 0 && !atomic_compare_exchange_weak_explicit(&store->unloaded, &unloaded, unloaded - 1,
                                                                  memory_order_relaxed, memory_order_relaxed))
        continue;
}

void store__count_evicted(struct store *store, uint64_t count)
{
    atomic_fetch_add_explicit(&store->evicted, count, memory_order_relaxed);
    if (store->has_metrics)
        fr_counter_add(store->metrics.evicted, count);
}

void store__note_part(struct store *store, uint8_t kind, enum store_part part)
{
    uint8_t bit = (uint8_t)(1 << part);

    if ((atomic_load_explicit(&store->kind_parts[kind], memory_order_relaxed) & bit) == 0)
        atomic_fetch_or(&store->kind_parts[kind], bit);
}

void store__put_entities(struct store *store)
{
    struct store_stats stats;
    char text[24];

    store_stats_read(store, &stats);
    (void)snprintf(text, sizeof(text), "%" PRIu64, stats.entities);
    store_meta__put(&store->meta, "entities", fr_slice_of(text));
}

void store__put_disk_entities(struct store *store, uint64_t entities)
{
    char text[24];

    if (!store->is_disk_counted)
        return;
    (void)snprintf(text, sizeof(text), "%" PRIu64, entities);
    store_meta__put(&store->meta, "disk_entities", fr_slice_of(text));
}

void store_stats_read(struct store *store, struct store_stats *stats)
{
    *stats = (struct store_stats){
        .epoch = atomic_load_explicit(&store->epoch, memory_order_relaxed),
        .epoch_bytes = atomic_load_explicit(&store->epoch_bytes, memory_order_relaxed),
        .epoch_ms = atomic_load_explicit(&store->epoch_ms, memory_order_relaxed),
        .level0_files = atomic_load_explicit(&store->level0_files, memory_order_relaxed),
        .entities = store_stripe__read(&store->unloaded),
        .disk_entities = store_stripe__read(&store->disk_entities),
        .is_disk_counted = store->is_disk_counted,
        .pending_bytes = store_stripe__read(&store->pending_bytes),
        .evicted = store_stripe__read(&store->evicted),
        .filter_bytes = store_stripe__read(&store->filter_bytes),
        .buffer_bytes = store_stripe__read(&store->buffer_bytes),
        .index_bytes = store_stripe__read(&store->index_bytes),
        .excerpt_bytes = store_stripe__read(&store->excerpt_bytes),
        .is_filter_built = atomic_load_explicit(&store->is_filter_built, memory_order_relaxed),
    };
    for (int i = 0; i < STORE_STRIPES; i++) {
        struct store_stripe *stripe = &store->stripes[i];

        stats->table_entities += store_stripe__read(&stripe->entities) - store_stripe__read(&stripe->nothings);
        stats->memory_bytes += store_stripe__read(&stripe->memory_bytes);
        stats->table_bytes += store_stripe__slot_bytes(stripe);
        stats->dirty_bytes += store_stripe__read(&stripe->dirty_bytes);
        stats->unwritten_bytes += store_stripe__unwritten_bytes(stripe);
        stats->corrupt += store_stripe__read(&stripe->corrupt);
    }
    stats->entities += stats->table_entities;
    stats->total_bytes =
        stats->memory_bytes + stats->filter_bytes + stats->buffer_bytes + stats->index_bytes + stats->excerpt_bytes;
}

void store__measure_epoch(struct store *store, int64_t took_us)
{
    const struct store_metrics *metrics = &store->metrics;

    atomic_store_explicit(&store->epoch_ms, took_us / 1000, memory_order_relaxed);
    atomic_store_explicit(&store->level0_files, store_disk__level0_files(&store->disk), memory_order_relaxed);
    atomic_store_explicit(&store->index_bytes, store_disk__index_bytes(&store->disk), memory_order_relaxed);
    if (!store->has_metrics)
        return;
    fr_histogram_add_us(metrics->epoch_seconds, took_us);
    store_metrics_refresh(store);
}

void store_metrics_refresh(struct store *store)
{
    const struct store_metrics *metrics = &store->metrics;
    struct store_stats stats;
    uint64_t free_bytes;
    struct fr_err unknown;

    if (!store->has_metrics)
        return;
    store_stats_read(store, &stats);
    fr_gauge_set(metrics->epoch_bytes, (double)stats.epoch_bytes);
    fr_gauge_set(metrics->entities, (double)stats.entities);
    fr_gauge_set(metrics->table_entities, (double)stats.table_entities);
    fr_gauge_set(metrics->table_bytes, (double)stats.table_bytes);
    fr_gauge_set(metrics->parts_bytes, (double)(stats.memory_bytes - stats.table_bytes));
    fr_gauge_set(metrics->index_bytes, (double)stats.index_bytes);
    fr_gauge_set(metrics->filter_bytes, (double)stats.filter_bytes);
    fr_gauge_set(metrics->buffer_bytes, (double)stats.buffer_bytes);
    fr_gauge_set(metrics->excerpt_bytes, (double)stats.excerpt_bytes);
    fr_gauge_set(metrics->budget_bytes, (double)store->memory_bytes);
    fr_gauge_set(metrics->dirty_bytes, (double)stats.dirty_bytes);
    fr_gauge_set(metrics->level0_files, stats.level0_files);
    if (store_directory__free_bytes(store->path, &free_bytes, &unknown)) /* else as it was told last */
        fr_gauge_set(metrics->disk_free_bytes, (double)free_bytes);
}
