/*
 * The registry as it is kept in the store, for registry.c, which reads and writes it, and compare.c, which tells what a changed
 * configuration does to it. Both judge by the same two functions.
 */
#ifndef FRESHET_AGGREGATORS_REGISTRY_H
#define FRESHET_AGGREGATORS_REGISTRY_H

#include "internal.h"

enum { AGG_REGISTRY_BYTES_MAX = 64 << 20 };

struct agg_kept_kind {
    struct fr_slice name;
    uint64_t number;
    bool is_retired; /* the configuration had it no longer */
    uint8_t key[STORE_KEY_IDS_MAX];
    uint64_t key_count;
    int64_t retention_ms; /* −1: kept by a version that did not say */
};

struct agg_kept_slot {
    struct fr_slice name, definition;
    bool is_retired;
    int64_t windows_ms[AGG_WINDOWS_MAX];
    uint64_t window_count;
    uint64_t limit, emit, number, generation;
    int64_t complete_from_ms;
};

struct agg_registry {
    uint64_t next_kind, next_slot;
    struct agg_kept_kind *kinds;
    struct agg_kept_slot *slots;
    uint64_t kind_count, slot_count;
};

/* The registry of the store, in `arena`, into which its names borrow. FR_CORRUPT when it makes no sense. */
FR_CHECKED bool agg_registry__read(struct store *store, struct fr_arena *arena, struct agg_registry *registry,
                                   struct fr_err *err);

/* The kind or slot that the registry knows under the name, retired or not; NULL when it never had one. */
const struct agg_kept_kind *agg_registry__kind(const struct agg_registry *registry, const char *name);
const struct agg_kept_slot *agg_registry__slot(const struct agg_registry *registry, const char *name);

/* What becomes of the state under the kind or slot (NULL: there is none). KEPT and KEPT_LESS: its number goes on. */
enum agg_fate agg_registry__judge_kind(const struct agg_kept_kind *kind, const struct agg_entity *entity);
enum agg_fate agg_registry__judge_slot(const struct agg_kept_slot *slot, const struct agg_feature *feature);

#endif
