/*
 * The pages of the operations port.
 */
#include "services.h"

#include <freshet/clock.h>
#include <freshet/heap.h>

#include <stdio.h>
#include <unistd.h>

enum { PAGE_ARENA_BYTES = 64 << 20 };

void pipeline_pages__status(void *user, struct fr_buffer *body, const char **content_type, int *status)
{
    struct fr_arena *arena = fr_arena_new(PAGE_ARENA_BYTES);
    ProtobufCMessage *message = arena ? pipeline_admin__status_message(user, arena) : NULL;

    *content_type = "application/json";
    if (message) {
        proto_json_print(message, body);
    } else {
        fr_buffer_append_text(body, "{\"code\":\"resource_exhausted\",\"message\":\"out of memory for the status\"}");
        *status = 503;
    }
    fr_buffer_append_byte(body, '\n');
    fr_arena_free(arena);
}

static double resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0, resident = 0;

    if (!file)
        return 0;
    if (fscanf(file, "%lu %lu", &pages, &resident) != 2)
        resident = 0;
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void set_gauge(struct fr_metrics *metrics, const char *name, const char *help, double value)
{
    fr_gauge_set(fr_metrics_gauge(metrics, name, NULL, help), value);
}

static void set_memory_gauges(const struct pipeline_services *services)
{
    struct fr_metrics *metrics = services->metrics;
    struct fr_heap heap;

    set_gauge(metrics, "freshet_machine_memory_bytes",
              "What this process may have: its control group's limit, or the machine's.",
              (double)services->machine.memory_bytes);
    set_gauge(metrics, "freshet_resident_memory_bytes", "Resident memory of the process.", resident_bytes());
    if (!fr_heap_read(&heap))
        return;
    set_gauge(metrics, "freshet_allocated_memory_bytes",
              "Memory allocated and not freed, of all parts and libraries: what leaks grows here.",
              (double)heap.allocated_bytes);
    set_gauge(metrics, "freshet_active_memory_bytes",
              "Pages with something allocated in them: above allocated by what is fragmented.", (double)heap.active_bytes);
}

static void set_partition_gauges(struct pipeline_services *services)
{
    struct ingest *ingest = atomic_load_explicit(&services->stream->ingest, memory_order_acquire);
    int count = ingest ? ingest_partition_count(ingest) : 0;

    for (int i = 0; i < count; i++) {
        struct ingest_partition partition = ingest_partition_at(ingest, i);
        int64_t next = pipeline_offsets__next(services->offsets, i);
        struct fr_buffer topic;
        char labels[700];

        fr_buffer_init(&topic);
        fr_metrics_escape(&topic, partition.topic);
        snprintf(labels, sizeof labels, "topic=\"%.*s\",partition=\"%d\"", (int)topic.length, (const char *)topic.bytes,
                 partition.number);
        fr_buffer_fini(&topic);
        fr_gauge_set(fr_metrics_gauge(services->metrics, "freshet_partition_next_offset", labels, "Next offset to apply."),
                     (double)next);
        next = next < partition.low ? partition.low : next;
        fr_gauge_set(fr_metrics_gauge(services->metrics, "freshet_partition_lag_events", labels,
                                      "End offset less next offset; 0 where another instance has the partition."),
                     partition.is_owned && partition.end > next && next >= 0 ? (double)(partition.end - next) : 0);
    }
}

static void set_cluster_gauges(const struct pipeline_services *services)
{
    int count = pipeline_cluster__partitions(services->cluster), owned = 0;
    int64_t lag = 0;

    for (int i = 0; i < count; i++) {
        struct pipeline_cluster_partition partition = pipeline_cluster__partition(services->cluster, i);

        owned += partition.is_here;
        lag += partition.deltas_lag;
    }
    set_gauge(services->metrics, "freshet_cluster_partitions", "Partitions of the cluster; 0 until they are known.", count);
    set_gauge(services->metrics, "freshet_cluster_owned", "Partitions that are this instance's.", owned);
    set_gauge(services->metrics, "freshet_cluster_deltas_lag", "Offsets of the deltas that this instance has not merged.",
              (double)lag);
}

/* Gauges are set when somebody looks; counters and histograms are always true. */
static void set_gauges(struct pipeline_services *services)
{
    struct pipeline_lag lag = pipeline_stream__lag(services->stream);
    int64_t stream_time_ms = pipeline_stream__time(services->stream);
    struct fr_metrics *metrics = services->metrics;

    set_gauge(metrics, "freshet_ready", "1 when the node is ready.", pipeline_admin__not_ready(services) == NULL);
    set_gauge(metrics, "freshet_lag_events", "Events in Kafka that are not applied yet.", (double)lag.events);
    set_gauge(metrics, "freshet_stale_seconds", "How long the node has been behind; 0 when it is not.",
              (double)lag.stale_ms / 1e3);
    set_gauge(metrics, "freshet_broker_connected", "1 when the brokers answer.", lag.is_connected);
    set_gauge(metrics, "freshet_clock_skew_seconds",
              "Least age of a record by its timestamp, of a minute: below 0 this machine's clock is behind, far above 0 ahead.",
              (double)pipeline_stream__skew(services->stream) / 1e3);
    set_gauge(metrics, "freshet_stream_time_seconds", "Greatest event time applied, Unix seconds.",
              (double)stream_time_ms / 1e3);
    set_gauge(metrics, "freshet_event_time_lag_seconds", "Wall clock less the greatest event time applied.",
              stream_time_ms ? (double)(fr_clock_wall_ms() - stream_time_ms) / 1e3 : 0);
    set_gauge(metrics, "freshet_applied_events", "Records finished over the life of the store, canaries aside.",
              (double)pipeline_stream__records(services->stream));
    set_gauge(metrics, "freshet_epoch_age_seconds", "Since an epoch became durable, or since the start.",
              (double)(fr_clock_monotonic_ms() - atomic_load(&services->committer->durable_at_ms)) / 1e3);
    set_memory_gauges(services);
    if (services->tables)
        set_gauge(metrics, "freshet_table_lag_records", "Records of tables in Kafka that are not applied yet; -1: not known.",
                  (double)pipeline_tables__lag(services->tables));
    if (services->cluster)
        set_cluster_gauges(services);
    set_partition_gauges(services);
}

void pipeline_pages__metrics(void *user, struct fr_buffer *body, const char **content_type, int *status)
{
    struct pipeline_services *services = user;

    (void)status;
    *content_type = "text/plain; version=0.0.4; charset=utf-8";
    store_metrics_refresh(services->store);
    set_gauges(services);
    fr_metrics_print(services->metrics, body);
}

/* The process answers: that is all it says. */
void pipeline_pages__health(void *user, struct fr_buffer *body, const char **content_type, int *status)
{
    (void)user;
    (void)status;
    *content_type = "text/plain; charset=utf-8";
    fr_buffer_append_text(body, "ok\n");
}

void pipeline_pages__ready(void *user, struct fr_buffer *body, const char **content_type, int *status)
{
    char reason[PIPELINE_REASON_BYTES];
    bool is_ready = pipeline_admin__is_ready(user, reason);

    *content_type = "text/plain; charset=utf-8";
    *status = is_ready ? 200 : 503;
    fr_buffer_append_format(body, "%s\n", is_ready ? "ready" : reason);
}
