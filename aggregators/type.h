/*
 * The interface between the catalogue and an aggregate: what its settings are, what state it keeps, what its columns show. One
 * struct agg_type for each aggregate, in the file that is named after it; types.c lists them.
 */
#ifndef FRESHET_AGGREGATORS_TYPE_H
#define FRESHET_AGGREGATORS_TYPE_H

#include "cells.h"
#include "internal.h"

#include <freshet/yaml.h>

struct agg_ratio_column;

/* One feature while its settings are read. */
struct agg_parse {
    struct agg_catalogue *catalogue;
    struct agg_feature *feature;
    struct fr_yaml *at, *map; /* its name, its settings */
    struct fr_buffer where; /* the condition in one spelling */
    struct fr_diagnostics *diagnostics;
};

struct agg_type {
    const char *name;
    bool is_hidden; /* no feature of the configuration can be one */
    const char *const *keys; /* settings beside entity, aggregate and emit; NULL ends them */
    uint8_t emits; /* a bit for each output that `emit` may name */
    /* Reads its own settings; actions, scenes and where are read before. Mistakes go to the diagnostics. */
    bool (*parse)(struct agg_parse *parse);
    /* Once every feature is parsed: finds the features that the settings name, makes hidden ones. May be NULL. */
    bool (*link)(struct agg_parse *parse);
    /* Appends what makes the state what it is, beside entity, actions, scenes and where. May be NULL. */
    void (*define)(const struct agg_feature *feature, struct fr_buffer *text);
    const struct agg_cell_type *cells; /* NULL: its state is in the rows, a sequence, or of other features */
    const struct agg_pane_type *panes; /* of cells that keep panes */
    const struct agg_curve_type *curve; /* of cells that are held against those of all events */
    /* Of what keeps nothing and is reckoned from measures of other features, once those are read (ratio.h). `id` is that of the key's place
     * `target_place`, 0 where a row names none, or the feature has no targets. NULL: it is no such. */
    float (*of_operands)(const struct agg_ratio_column *column, const double *operands, uint64_t id);
    /* Of what keeps nothing and is made of its source's records: a column, or a sequence. NULL: it is no such. */
    float (*of_records)(const struct agg_feature *feature, const struct agg_ring *rings, int64_t time_ms);
    /* Of what keeps nothing and is made of counters of its entity alone; `view` NULL: the entity isn't there. */
    float (*of_rows)(const struct agg_feature *feature, const struct agg_view *view);
    bool (*list_records)(const struct agg_feature *feature, const struct agg_ring *rings, int64_t time_ms,
                         struct fr_arena *arena, struct agg_sequence *sequence);
};

extern const struct agg_type agg_type__actor, agg_type__age, agg_type__budget, agg_type__burst, agg_type__capped,
    agg_type__coec, agg_type__count, agg_type__covisit, agg_type__decayed, agg_type__distinct, agg_type__gauge, agg_type__ips,
    agg_type__last, agg_type__life, agg_type__lift, agg_type__match, agg_type__max, agg_type__min, agg_type__mean,
    agg_type__quantile, agg_type__ratio, agg_type__series, agg_type__sum, agg_type__top, agg_type__watch_rank,
    agg_type__entropy, agg_type__top_values, agg_type__share, agg_type__gini, agg_type__quota, agg_type__returning;
extern const struct agg_type *const agg__types[AGG_AGGREGATES]; /* NULL: not in this version */

/* ---- For parse and link; all return false, with the mistake told, when something is wrong ---- */

bool agg_parse__tell(struct agg_parse *parse, const struct fr_yaml *at, const char *key, const char *what);
bool agg_parse__tell_nearest(struct agg_parse *parse, const struct fr_yaml *at, const char *key, const char *const *names,
                             int count);
/* A list of actions as bits; absent: all. */
bool agg_parse__actions(struct agg_parse *parse, const char *key, uint32_t *bits);
bool agg_parse__scenes(struct agg_parse *parse, uint32_t *bits);
/* `windows`, each with its level: the greatest resolution that divides it into at least `panes_least` panes. */
bool agg_parse__windows(struct agg_parse *parse, int panes_least);
/* `of` as one of the fields, 0-terminated; absent: the first. */
bool agg_parse__of(struct agg_parse *parse, const uint8_t *fields);
/* That a read can tell which one is the parent of an entity; `key` is the setting that asks for it. */
bool agg_parse__parent(struct agg_parse *parse, const char *key, const struct agg_entity *parent);
/* What it takes must satisfy this condition, too. */
bool agg_parse__narrow(struct agg_parse *parse, const char *condition);
/* `weights` by action, each 0.1 to 10,000; 1 of those that are not named. */
bool agg_parse__weights(struct agg_parse *parse);
/* As parts of a definition. */
void agg_feature__define_weights(const struct agg_feature *feature, struct fr_buffer *text);
/* A span of whole seconds, one at least, that must be there. */
bool agg_parse__seconds(struct agg_parse *parse, const char *key, int64_t *ms);
/* The feature that `key` names; it must be of the same entity unless `is_any_entity`. NULL with the mistake told. */
struct agg_feature *agg_parse__feature(struct agg_parse *parse, const struct fr_yaml *at, const char *key, bool is_any_entity);

/*
 * A hidden feature "<of>.<suffix>" of `entity` that takes the same events as `of`, or the one that is there already; NULL when out
 * of memory. The caller sets what else it needs (windows) before the catalogue is laid out.
 */
struct agg_feature *agg_feature__hidden(struct agg_catalogue *catalogue, const struct agg_feature *of,
                                        struct agg_entity *entity, const char *suffix, enum agg_aggregate aggregate);
/* The same without one to follow: "<entity>.<suffix>", of all events. */
struct agg_feature *agg_feature__kept(struct agg_catalogue *catalogue, struct agg_entity *entity, const char *suffix,
                                      enum agg_aggregate aggregate);
/* The hidden feature takes only events that name one of the entity, which its definition tells. */
void agg_feature__narrow(struct agg_feature *feature, const struct agg_catalogue *catalogue, const struct agg_entity *entity);
/* Gives the hidden feature the window too, unless it has it. False: it has AGG_WINDOWS_MAX others. */
bool agg_feature__add_window(struct agg_feature *feature, const struct agg_window *window);

#endif
