/*
 * Panes of a cell. The newest of the finest level lies last, so what most events make longer has only the entity's other cells
 * behind it; and bodies are made a little longer than they need be.
 */
#include "panes.h"

#include <assert.h>

enum { CAPACITY_FIRST = 4 };

struct head { /* of a cell; the panes follow */
    uint32_t count, reserved;
};

struct key { /* what panes are ordered by */
    int level;
    int64_t number;
};

/* ---- bodies ---- */

static uint32_t body_words(enum agg_form form, uint32_t count)
{
    return form == AGG_FORM_ENTRIES ? (count + 1) / 2 : count;
}

struct agg_body agg_sketch__body(const struct agg_sketch *sketch)
{
    return (struct agg_body){(enum agg_form)sketch->form, (uint32_t)sketch->count, sketch->words};
}

void agg_sketch__load(struct agg_sketch *sketch, const struct agg_body *body)
{
    uint32_t words = body_words(body->form, body->count);

    sketch->form = body->form;
    sketch->count = body->count;
    if (words > 0)
        sketch->words[words - 1] = 0;
    memcpy(sketch->words, body->bytes, body->count * (body->form == AGG_FORM_ENTRIES ? sizeof(uint32_t) : sizeof(uint64_t)));
}

/* ---- where things lie ---- */

static struct agg_pane *directory(const void *memory)
{
    return (struct agg_pane *)((uintptr_t)memory + sizeof(struct head)); /* written through only by who may */
}

static uint32_t pane_count(const void *memory)
{
    return memory ? ((const struct head *)memory)->count : 0;
}

static uint32_t pane_bytes(const struct agg_pane *pane)
{
    return body_words((enum agg_form)pane->form, pane->capacity) * (uint32_t)sizeof(uint64_t);
}

static uint32_t body_offset(const void *memory, uint32_t index)
{
    const struct agg_pane *panes = directory(memory);
    uint32_t offset = (uint32_t)sizeof(struct head) + pane_count(memory) * (uint32_t)sizeof *panes;

    for (uint32_t i = 0; i < index; i++)
        offset += pane_bytes(&panes[i]);
    return offset;
}

static struct agg_body body_at(const void *memory, uint32_t index)
{
    const struct agg_pane *pane = directory(memory) + index;

    return (struct agg_body){(enum agg_form)pane->form, pane->count, (const uint8_t *)memory + body_offset(memory, index)};
}

static void *cell_memory(const struct agg_cell *cell)
{
    uint32_t bytes;

    return agg_cell__memory(cell, &bytes);
}

struct agg_pane *agg_panes__pane(const struct agg_cell *cell, uint32_t index)
{
    return directory(cell_memory(cell)) + index;
}

void *agg_panes__bytes(const struct agg_cell *cell, uint32_t index)
{
    uint8_t *memory = cell_memory(cell);

    return memory + body_offset(memory, index);
}

/* ---- one pane ---- */

/* The pane's place, or that which it would have. */
static bool find(const void *memory, struct key key, uint32_t *index)
{
    const struct agg_pane *panes = directory(memory);
    uint32_t at = pane_count(memory);

    while (at > 0 &&
           (panes[at - 1].level < key.level || (panes[at - 1].level == key.level && panes[at - 1].number > key.number)))
        at--;
    *index = at;
    if (at == 0 || panes[at - 1].level != key.level || panes[at - 1].number != key.number)
        return false;
    *index = at - 1;
    return true;
}

/* Changes the length of what lies at `offset` and is `old` bytes long; what follows moves. Making it shorter never fails. */
static bool resize_at(struct agg_cell *cell, uint32_t offset, uint32_t old, uint32_t now)
{
    uint32_t used;
    uint8_t *memory = agg_cell__memory(cell, &used);
    uint64_t wanted = (uint64_t)used - old + now;

    if (now <= old) {
        memmove(memory + offset + now, memory + offset + old, used - offset - old);
        return agg_cell__resize(cell, (uint32_t)wanted);
    }
    if (wanted > UINT32_MAX / 2 || !agg_cell__resize(cell, (uint32_t)wanted))
        return false;
    memory = cell_memory(cell);
    memmove(memory + offset + now, memory + offset + old, used - offset - old);
    return true;
}

/* An empty pane with room for the first entries. */
static bool insert(struct agg_cell *cell, struct key key, uint32_t index)
{
    struct agg_pane made = {
        .number = key.number, .level = (uint8_t)key.level, .form = AGG_FORM_WORDS, .capacity = CAPACITY_FIRST};
    uint32_t bytes, old = 0, directory_at, body_at;
    uint8_t *memory = agg_cell__memory(cell, &bytes);

    if (!memory)
        old = sizeof(struct head);
    if (!agg_cell__resize(cell, bytes + old + (uint32_t)sizeof made + pane_bytes(&made)))
        return false;
    memory = cell_memory(cell);
    bytes += old;
    directory_at = (uint32_t)(sizeof(struct head) + index * sizeof made);
    body_at = body_offset(memory, index);
    memmove(memory + body_at + sizeof made + pane_bytes(&made), memory + body_at, bytes - body_at);
    memmove(memory + directory_at + sizeof made, memory + directory_at, body_at - directory_at);
    memcpy(memory + directory_at, &made, sizeof made);
    ((struct head *)(void *)memory)->count++;
    return true;
}

static void take_out(struct agg_cell *cell, uint32_t index)
{
    uint8_t *memory = cell_memory(cell);
    uint32_t directory_at = (uint32_t)(sizeof(struct head) + index * sizeof(struct agg_pane));
    bool ok = resize_at(cell, body_offset(memory, index), pane_bytes(directory(memory) + index), 0);

    ((struct head *)(void *)memory)->count--;
    if (pane_count(memory) == 0)
        ok = agg_cell__resize(cell, 0) && ok;
    else
        ok = resize_at(cell, directory_at, sizeof(struct agg_pane), 0) && ok;
    assert(ok); /* shorter never fails */
}

bool agg_panes__reserve(struct agg_cell *cell, uint32_t index)
{
    struct agg_pane *pane = agg_panes__pane(cell, index);
    struct agg_pane longer = *pane;
    uint32_t old = pane_bytes(pane);

    if (pane->count < pane->capacity)
        return true;
    longer.capacity = (uint16_t)((pane->count + pane->count / 8U + CAPACITY_FIRST) & ~1U);
    if (!resize_at(cell, body_offset(cell_memory(cell), index), old, pane_bytes(&longer)))
        return false;
    *agg_panes__pane(cell, index) = longer;
    return true;
}

bool agg_panes__store(struct agg_cell *cell, uint32_t index, const struct agg_sketch *sketch)
{
    struct agg_pane pane = *agg_panes__pane(cell, index);
    uint32_t old = pane_bytes(&pane);

    pane.form = (uint8_t)sketch->form;
    pane.count = (uint16_t)sketch->count;
    pane.capacity = (uint16_t)(body_words((enum agg_form)sketch->form, (uint32_t)sketch->count) *
                               (sketch->form == AGG_FORM_ENTRIES ? 2 : 1));
    if (!resize_at(cell, body_offset(cell_memory(cell), index), old, pane_bytes(&pane)))
        return false;
    *agg_panes__pane(cell, index) = pane;
    memcpy(agg_panes__bytes(cell, index), sketch->words, pane_bytes(&pane));
    return true;
}

/* ---- levels ---- */

/* From this level on the first that the feature still needs at the moment; −1: none. `first_ms` is where the pane begins. */
static int level_from(const struct agg_feature *feature, int level, int64_t first_ms, const struct agg_moment *moment)
{
    for (; level < AGG_LEVELS; level++) {
        if (feature->panes_most[level] > 0 &&
            first_ms / agg__level_ms[level] > moment->pane[level] - feature->panes_most[level])
            return level;
    }
    return -1;
}

static struct key key_of(int level, int64_t first_ms)
{
    return (struct key){level, first_ms / agg__level_ms[level]};
}

static int64_t first_ms_of(const struct agg_pane *pane)
{
    return pane->number * agg__level_ms[pane->level];
}

enum agg_added agg_panes__place(struct agg_cell *cell, const struct agg_input *input, uint32_t *index)
{
    int64_t ts_ms = input->event->ts_ms;
    int level = level_from(cell->feature, 0, ts_ms, input->horizon);

    if (level < 0)
        return AGG_TOO_LATE;
    if (find(cell_memory(cell), key_of(level, ts_ms), index) || insert(cell, key_of(level, ts_ms), *index))
        return AGG_ADDED;
    return AGG_NO_MEMORY;
}

/* Merges the body into this pane. False: out of memory, nothing changed. */
static bool put(struct agg_cell *cell, struct key key, const struct agg_body *body)
{
    struct agg_sketch sketch; /* not where the body lies: that moves */
    uint32_t index;

    if (find(cell_memory(cell), key, &index)) {
        struct agg_body there = body_at(cell_memory(cell), index);

        agg_sketch__load(&sketch, &there);
        cell->feature->type->panes->merge(&sketch, body);
        return agg_panes__store(cell, index, &sketch);
    }
    agg_sketch__load(&sketch, body);
    if (!insert(cell, key, index))
        return false;
    if (agg_panes__store(cell, index, &sketch))
        return true;
    take_out(cell, index);
    return false;
}

bool agg_panes__merge(struct agg_cell *into, struct fr_slice from)
{
    const struct agg_pane *panes = directory(from.bytes);

    for (uint32_t i = 0; i < pane_count(from.bytes); i++) {
        struct agg_body body = body_at(from.bytes, i);

        if (!put(into, (struct key){panes[i].level, panes[i].number}, &body))
            return false;
    }
    return true;
}

/* The oldest pane of the level goes where it is needed. False: out of memory; it stays, and nothing reads wrong. */
static bool merge_oldest(struct agg_cell *cell, uint32_t index, const struct agg_moment *horizon)
{
    struct agg_pane pane = *agg_panes__pane(cell, index);
    int level = level_from(cell->feature, pane.level + 1, first_ms_of(&pane), horizon);
    bool is_there = true;

    if (level >= 0) {
        struct agg_body body = body_at(cell_memory(cell), index);

        if (!put(cell, key_of(level, first_ms_of(&pane)), &body))
            return false;
        is_there = find(cell_memory(cell), (struct key){pane.level, pane.number}, &index); /* one place further on, perhaps */
    }
    assert(is_there);
    take_out(cell, index);
    return true;
}

void agg_panes__prune(struct agg_cell *cell, const struct agg_moment *horizon)
{
    for (int level = 0; level < AGG_LEVELS; level++) { /* the finest first: what merges may merge again */
        int64_t oldest = horizon->pane[level] - cell->feature->panes_most[level];

        for (;;) {
            const void *memory = cell_memory(cell);
            const struct agg_pane *panes = directory(memory);
            uint32_t count = pane_count(memory), index = 0;

            while (index < count && panes[index].level > level)
                index++;
            if (index == count || panes[index].level != level || panes[index].number > oldest)
                break;
            if (!merge_oldest(cell, index, horizon))
                return;
        }
    }
}

/* ---- reading ---- */

void agg_panes__each(struct fr_slice memory, const struct agg_window *window, int64_t time_ms,
                     bool (*each)(void *user, const struct agg_body *body), void *user)
{
    const struct agg_pane *panes = directory(memory.bytes);
    uint32_t count = memory.length > 0 ? pane_count(memory.bytes) : 0;
    int64_t newest = agg_window__pane(time_ms, window->level);

    for (uint32_t i = count; i-- > 0;) {
        int64_t number;

        if (panes[i].level > window->level)
            break;
        number = panes[i].number / (agg__level_ms[window->level] / agg__level_ms[panes[i].level]);
        if (number > newest - window->panes && number <= newest) {
            struct agg_body body = body_at(memory.bytes, i);

            if (!each(user, &body))
                break;
        }
    }
}

/* The window's pane that the pane is in, or is; −1: it doesn't count. */
static int64_t number_in(const struct agg_pane *pane, const struct agg_window *window, int64_t newest)
{
    int64_t number =
        pane->level > window->level ? -1 : pane->number / (agg__level_ms[window->level] / agg__level_ms[pane->level]);

    return number > newest - window->panes && number <= newest ? number : -1;
}

void agg_panes__each_whole(const struct agg_feature *feature, struct fr_slice memory, const struct agg_window *window,
                           int64_t time_ms, bool (*each)(void *user, const struct agg_body *body), void *user)
{
    const struct agg_pane *panes = directory(memory.bytes);
    uint32_t count = memory.length > 0 ? pane_count(memory.bytes) : 0;
    int64_t newest = agg_window__pane(time_ms, window->level);

    for (uint32_t i = 0; i < count; i++) {
        int64_t number = number_in(&panes[i], window, newest);
        bool is_first = number >= 0;
        struct agg_body body = body_at(memory.bytes, i);
        struct agg_sketch sketch;

        for (uint32_t k = 0; k < i && is_first; k++)
            is_first = number_in(&panes[k], window, newest) != number;
        if (!is_first)
            continue;
        agg_sketch__load(&sketch, &body);
        for (uint32_t k = i + 1; k < count; k++) {
            body = body_at(memory.bytes, k);
            if (number_in(&panes[k], window, newest) == number)
                feature->type->panes->merge(&sketch, &body);
        }
        body = agg_sketch__body(&sketch);
        if (!each(user, &body))
            break;
    }
}

void agg_panes__explain(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, struct agg_pieces *pieces,
                        void (*describe)(const struct agg_feature *feature, const struct agg_body *body,
                                         struct agg_piece *piece))
{
    const struct agg_pane *panes = directory(memory.bytes);
    uint32_t count = memory.length > 0 ? pane_count(memory.bytes) : 0;

    for (uint32_t i = 0; i < count; i++) {
        struct agg_body body = body_at(memory.bytes, i);
        struct agg_piece piece = {.start_ms = first_ms_of(&panes[i]),
                                  .span_ms = agg__level_ms[panes[i].level],
                                  .windows = agg_pieces__windows(feature, panes[i].level, panes[i].number, time_ms)};

        describe(feature, &body, &piece);
        agg_pieces__add(pieces, &piece);
    }
}

void agg_panes__digest(const struct agg_feature *feature, struct fr_slice memory, const struct agg_moment *moment,
                       struct agg_facts *facts)
{
    const struct agg_pane *panes = directory(memory.bytes);
    struct {
        uint64_t level_ms, number;
        struct agg_sketch sketch;
    } settled; /* all panes that would lie in the same one by now */

    for (uint32_t i = 0; i < pane_count(memory.bytes); i++) {
        int level = level_from(feature, panes[i].level, first_ms_of(&panes[i]), moment);
        bool is_first = level >= 0;
        struct agg_body body = body_at(memory.bytes, i);

        for (uint32_t k = 0; k < i && is_first; k++)
            is_first = first_ms_of(&panes[k]) / agg__level_ms[level] != first_ms_of(&panes[i]) / agg__level_ms[level] ||
                       level_from(feature, panes[k].level, first_ms_of(&panes[k]), moment) != level;
        if (!is_first)
            continue;
        settled.level_ms = (uint64_t)agg__level_ms[level];
        settled.number = (uint64_t)(first_ms_of(&panes[i]) / agg__level_ms[level]);
        agg_sketch__load(&settled.sketch, &body);
        for (uint32_t k = i + 1; k < pane_count(memory.bytes); k++) {
            if (level_from(feature, panes[k].level, first_ms_of(&panes[k]), moment) != level ||
                (uint64_t)(first_ms_of(&panes[k]) / agg__level_ms[level]) != settled.number)
                continue;
            body = body_at(memory.bytes, k);
            feature->type->panes->merge(&settled.sketch, &body);
        }
        agg_facts__add_cell(facts, feature, &settled.level_ms,
                            4 + body_words((enum agg_form)settled.sketch.form, (uint32_t)settled.sketch.count));
    }
}

/* ---- disk ---- */

void agg_panes__encode(const struct agg_feature *feature, struct fr_slice memory, struct fr_buffer *disk)
{
    const struct agg_pane *panes = directory(memory.bytes);
    uint32_t count = pane_count(memory.bytes);

    fr_buffer_append_varint(disk, count);
    for (uint32_t i = 0; i < count; i++) {
        bool is_same = i > 0 && panes[i].level == panes[i - 1].level;
        struct agg_body body = body_at(memory.bytes, i);

        fr_buffer_append_byte(disk, panes[i].level);
        fr_buffer_append_varint(disk, (uint64_t)(panes[i].number - (is_same ? panes[i - 1].number : 0)));
        fr_buffer_append_byte(disk, panes[i].form);
        feature->type->panes->encode(&body, disk);
    }
}

static uint8_t read_byte(struct fr_reader *reader)
{
    struct fr_slice byte = fr_reader_bytes(reader, 1);

    return reader->is_failed ? 0 : *(const uint8_t *)byte.bytes;
}

void agg_panes__decode(struct agg_cell *cell, struct fr_reader *reader)
{
    uint64_t count = fr_reader_varint(reader);
    struct key before = {AGG_LEVELS, 0};
    struct agg_sketch sketch;
    struct agg_body body;

    reader->is_failed = reader->is_failed || count == 0;
    for (uint64_t i = 0; i < count && !reader->is_failed; i++) {
        int level = read_byte(reader);
        uint64_t more = fr_reader_varint(reader);
        uint8_t form = read_byte(reader);
        bool is_same = level == before.level;

        if (level > before.level || level >= AGG_LEVELS || (is_same && more == 0) || form >= AGG_FORMS ||
            more > (uint64_t)(PROTO_TS_MS_END / agg__level_ms[level])) {
            reader->is_failed = true;
            return;
        }
        before = (struct key){level, (is_same ? before.number : 0) + (int64_t)more};
        if (before.number > PROTO_TS_MS_END / agg__level_ms[level])
            reader->is_failed = true;
        cell->feature->type->panes->decode(&sketch, (enum agg_form)form, reader);
        if (reader->is_failed)
            return;
        body = agg_sketch__body(&sketch);
        if (!put(cell, before, &body)) /* also to a level that no window needs any more: prune merges it */
            reader->is_failed = true;
    }
}

/* ---- settings ---- */

int64_t agg_panes__bytes_most(const struct agg_feature *feature)
{
    int64_t panes = 0, words = feature->type->panes->words_most;

    for (int level = 0; level < AGG_LEVELS; level++)
        panes += feature->panes_most[level] > 0 ? feature->panes_most[level] + 1 : 0;
    return (int64_t)sizeof(struct head) + panes * ((int64_t)sizeof(struct agg_pane) + words * (int64_t)sizeof(uint64_t));
}

bool agg_panes__parse_windows(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature;
    bool ok = agg_parse__windows(parse, AGG_SKETCH_PANES_LEAST);

    for (int i = 0; i < feature->window_count; i++) {
        const struct agg_window *window = &feature->windows[i];

        if (feature->panes_most[window->level] < window->panes)
            feature->panes_most[window->level] = window->panes;
    }
    return ok;
}
