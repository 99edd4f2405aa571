/*
 * A cell cut into panes, for what is kept by window in other forms than the rows' integers: distinct ids, distributions. Panes nest
 * as rows do: an event goes to the pane of the finest level that a window of its feature still needs, and a pane that no window
 * needs at its level any more is merged into one of a coarser level. So a window is the union of the panes of its level and finer.
 *
 * In memory: how many, then a directory of panes, coarsest level first, each level by number, then their bodies in the same order.
 * On disk: count, for each level, number (less the one before of the level), form, body.
 */
#ifndef FRESHET_AGGREGATORS_PANES_H
#define FRESHET_AGGREGATORS_PANES_H

#include "cells.h"
#include "type.h"

enum { AGG_SKETCH_PANES_LEAST = 6, AGG_BODY_WORDS_MAX = 1536 };

enum agg_form { /* of a body */
                AGG_FORM_WORDS, /* of 8 bytes, ascending */
                AGG_FORM_ENTRIES, /* of 4 bytes, ascending */
                AGG_FORM_REGISTERS, /* 8-byte words of all registers */
                AGG_FORMS
};

struct agg_pane {
    int64_t number;
    uint16_t count, capacity; /* in what the form counts */
    uint8_t level, form;
    uint16_t reserved;
};

/* A body outside of its cell, or the place of one inside. */
struct agg_body {
    enum agg_form form;
    uint32_t count;
    const void *bytes; /* aligned to 8 */
};

/* One that is worked on. Words behind the last that is used are zero as far as the last one is begun. */
struct agg_sketch {
    uint64_t form, count;
    uint64_t words[AGG_BODY_WORDS_MAX];
};

/* What an aggregate that keeps panes does with bodies. A body is never empty, and is a function of what was added, not of how. */
struct agg_pane_type {
    /* Adds all of the other. */
    void (*merge)(struct agg_sketch *into, const struct agg_body *from);
    void (*encode)(const struct agg_body *body, struct fr_buffer *disk);
    /* Takes any bytes; sets reader->is_failed on those that make no sense. */
    void (*decode)(struct agg_sketch *sketch, enum agg_form form, struct fr_reader *reader);
    uint32_t words_most; /* of a body */
};

/* The first of ascending words that without its lowest `bits`, where what was counted is, is not below `wanted`; `count`: none is. */
static inline uint32_t agg_words__lower_bound(const uint64_t *words, uint32_t count, int bits, uint64_t wanted)
{
    uint32_t low = 0;

    while (low < count) {
        uint32_t middle = low + (count - low) / 2;

        if (words[middle] >> bits < wanted)
            low = middle + 1;
        else
            count = middle;
    }
    return low;
}

struct agg_body agg_sketch__body(const struct agg_sketch *sketch);
void agg_sketch__load(struct agg_sketch *sketch, const struct agg_body *body);

/* Windows of six panes and more; gives the feature its panes_most. */
bool agg_panes__parse_windows(struct agg_parse *parse);

/* The pane that takes an event of this time, made when it isn't there: its place. */
enum agg_added agg_panes__place(struct agg_cell *cell, const struct agg_input *input, uint32_t *index);
struct agg_pane *agg_panes__pane(const struct agg_cell *cell, uint32_t index);
void *agg_panes__bytes(const struct agg_cell *cell, uint32_t index);
/* Room for one more in the pane, of the form that it has; its bytes may move. False: out of memory, nothing changed. */
FR_CHECKED bool agg_panes__reserve(struct agg_cell *cell, uint32_t index);
/* The sketch in the place of what the pane held. False: out of memory, nothing changed. */
FR_CHECKED bool agg_panes__store(struct agg_cell *cell, uint32_t index, const struct agg_sketch *sketch);

/* Calls `each` for every body that the window holds at the time, until it returns false. */
void agg_panes__each(struct fr_slice memory, const struct agg_window *window, int64_t time_ms,
                     bool (*each)(void *user, const struct agg_body *body), void *user);

/* The same with all bodies of one of the window's own panes merged into one. */
void agg_panes__each_whole(const struct agg_feature *feature, struct fr_slice memory, const struct agg_window *window,
                           int64_t time_ms, bool (*each)(void *user, const struct agg_body *body), void *user);

/* Every pane that counts as a piece; `describe` fills in value, count and form. */
void agg_panes__explain(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, struct agg_pieces *pieces,
                        void (*describe)(const struct agg_feature *feature, const struct agg_body *body,
                                         struct agg_piece *piece));

/* For a struct agg_cell_type. */
void agg_panes__prune(struct agg_cell *cell, const struct agg_moment *horizon);
void agg_panes__encode(const struct agg_feature *feature, struct fr_slice memory, struct fr_buffer *disk);
void agg_panes__decode(struct agg_cell *cell, struct fr_reader *reader);
void agg_panes__digest(const struct agg_feature *feature, struct fr_slice memory, const struct agg_moment *moment,
                       struct agg_facts *facts);
int64_t agg_panes__bytes_most(const struct agg_feature *feature);

#endif
