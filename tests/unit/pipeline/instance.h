/*
 * An instance without brokers: a store of its own and what a cluster keeps beside it. What it would put into a transaction is kept instead
 * (linked with --wrap=ingest_transaction_put). One thread plays all of its threads.
 */
#ifndef PIPELINE_INSTANCE_H
#define PIPELINE_INSTANCE_H

#include "store/fixture.h"

#include "cluster_internal.h"

#include <string.h>

enum { INSTANCE_PARTITIONS = 8, INSTANCE_PUTS_MAX = 16 };

struct instance_put {
    char topic[32];
    int32_t partition;
    char key[32], value[256];
    size_t key_bytes, value_bytes;
    bool is_delete;
};
static struct instance_put instance_puts[INSTANCE_PUTS_MAX];
static int instance_put_count;

struct instance {
    struct fixture *fixture;
    struct pipeline_config config;
    struct pipeline_engine engine;
    struct pipeline_cluster *cluster;
};

/* Prototype for --wrap. */
bool __wrap_ingest_transaction_put(struct ingest_group *group, const struct ingest_put *put, int64_t *offset,
                                   struct fr_err *err);
bool __wrap_ingest_transaction_put(struct ingest_group *group, const struct ingest_put *put, int64_t *offset,
                                   struct fr_err *err)
{
    struct instance_put *kept = &instance_puts[instance_put_count++];

    (void)group, (void)offset, (void)err;
    assert_true(instance_put_count <= INSTANCE_PUTS_MAX && put->key.length <= sizeof kept->key &&
                put->value.length <= sizeof kept->value);
    *kept = (struct instance_put){.partition = put->partition,
                                  .key_bytes = put->key.length,
                                  .value_bytes = put->value.length,
                                  .is_delete = put->value.bytes == NULL};
    snprintf(kept->topic, sizeof kept->topic, "%s", put->topic);
    memcpy(kept->key, put->key.bytes, put->key.length);
    if (put->value.length > 0)
        memcpy(kept->value, put->value.bytes, put->value.length);
    return true;
}

static inline void instance_begin(struct instance *instance)
{
    struct pipeline_cluster *cluster = calloc(1, sizeof *cluster);
    struct fr_err err;

    assert_non_null(cluster);
    instance->cluster = cluster;
    instance->config.store_path = instance->fixture->path;
    instance->config.id = "here";
    instance->engine = (struct pipeline_engine){.store = instance->fixture->store, .metrics = fr_metrics_new()};
    cluster->config = &instance->config;
    cluster->engine = &instance->engine;
    cluster->store = instance->fixture->store;
    cluster->without_room = fr_metrics_counter(instance->engine.metrics, "without_room", NULL, "No room.");
    snprintf(cluster->changelog, sizeof cluster->changelog, "changelog");
    snprintf(cluster->deltas, sizeof cluster->deltas, "deltas");
    atomic_store(&cluster->partitions, INSTANCE_PARTITIONS);
    atomic_store(&cluster->is_through, true);
    instance->engine.tombstones.are_shared = true;
    assert_true(pipeline_blocks__load(&instance->engine.blocks, cluster->store, &err) &&
                pipeline_tombstones__load(&instance->engine.tombstones, cluster->store, &err) &&
                pipeline_cluster_blocks__open(cluster, &err));
    instance_put_count = 0;
}

static inline void instance_end(struct instance *instance)
{
    pipeline_cluster_blocks__close(instance->cluster);
    pipeline_blocks__fini(&instance->engine.blocks);
    pipeline_tombstones__fini(&instance->engine.tombstones);
    fr_metrics_free(instance->engine.metrics);
    pipeline_cluster_tombstones__close(instance->cluster);
    free(instance->cluster);
}

/* It has those partitions, all or none of them. */
static inline void instance_own(struct instance *instance, bool is_own)
{
    for (int i = 0; i < INSTANCE_PARTITIONS; i++)
        instance->cluster->held[i].is_noted = is_own;
}

static inline int instance_setup(void **state)
{
    struct instance *instance = calloc(1, sizeof *instance);
    void *fixture;

    assert_non_null(instance);
    fixture_setup(&fixture);
    instance->fixture = fixture;
    instance_begin(instance);
    *state = instance;
    return 0;
}

static inline int instance_teardown(void **state)
{
    struct instance *instance = *state;
    void *fixture = instance->fixture;

    instance_end(instance);
    free(instance);
    return fixture_teardown(&fixture);
}

static inline void instance_commit(struct instance *instance)
{
    struct store_epoch epoch = {.boundary = NULL};
    struct fr_err err;

    assert_true(store_epoch_commit(instance->fixture->store, &epoch, &err));
}

static inline void instance_restart(struct instance *instance)
{
    instance_commit(instance);
    instance_end(instance);
    fixture_reopen(instance->fixture);
    instance_begin(instance);
}

#endif
