/*
 * The cells of lists: the candidates with the greatest scores, AGG_SPARE times the limit of a reply. A score never changes by itself, so
 * nothing has to move as time passes: of a decayed sum it is the logarithm of what the sum would be at the beginning of time, of
 * a recent one its moment. A read takes the candidates in the order of their scores and asks each for its value (recall.c).
 *
 * In memory: head | ids ascending | latest events | scores; three arrays of the same capacity.
 */
#include "top.h"
#include "life.h"
#include "type.h"

#include <math.h>
#include <stdlib.h>

struct head {
    uint32_t count, capacity;
    int64_t oldest_ms; /* no entry's latest event is older */
    double least; /* no entry has a lower score */
};

struct top { /* where things are in a cell */
    struct head *head;
    uint64_t *ids;
    int64_t *latest_ms;
    double *scores;
};

enum { ENTRY_BYTES = 3 * sizeof(uint64_t), CAPACITY_LEAST = 4, KEPT_MAX = AGG_SPARE * AGG_LIST_LIMIT_MAX };

_Static_assert((int)KEPT_MAX >= (int)AGG_SHARD_KEPT, "a shard is a list too");

static struct top top_of(void *memory)
{
    struct top top = {.head = memory};

    top.ids = (uint64_t *)(top.head + 1);
    top.latest_ms = (int64_t *)(top.ids + top.head->capacity);
    top.scores = (double *)(top.latest_ms + top.head->capacity);
    return top;
}

static uint32_t kept_most(const struct agg_feature *feature)
{
    return feature->limit;
}

/* The first entry whose id is `id` or greater. */
static uint32_t lower_bound(const struct top *top, uint64_t id)
{
    uint32_t low = 0, high = top->head->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (top->ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void find_least(struct top *top)
{
    double least = INFINITY;

    for (uint32_t i = 0; i < top->head->count; i++)
        least = top->scores[i] < least ? top->scores[i] : least;
    top->head->least = least;
}

/* The arrays from one capacity to another that holds them; nothing moves in the first. */
static bool relay(struct agg_cell *cell, uint32_t capacity)
{
    uint32_t bytes;
    struct head *head = agg_cell__memory(cell, &bytes);
    uint32_t old = head ? head->capacity : 0, more = (uint32_t)sizeof *head + capacity * ENTRY_BYTES;
    struct top from, to;

    if (more > bytes && !agg_cell__resize(cell, more))
        return false;
    head = agg_cell__memory(cell, &bytes);
    from = top_of(head);
    head->capacity = capacity;
    to = top_of(head);
    if (capacity > old) { /* the last array first: each moves up */
        memmove(to.scores, from.scores, head->count * sizeof *to.scores);
        memmove(to.latest_ms, from.latest_ms, head->count * sizeof *to.latest_ms);
    } else {
        memmove(to.latest_ms, from.latest_ms, head->count * sizeof *to.latest_ms);
        memmove(to.scores, from.scores, head->count * sizeof *to.scores);
    }
    return more >= bytes || agg_cell__resize(cell, more);
}

static void drop(struct top *top, uint32_t at)
{
    uint32_t after = --top->head->count - at;

    memmove(top->ids + at, top->ids + at + 1, after * sizeof *top->ids);
    memmove(top->latest_ms + at, top->latest_ms + at + 1, after * sizeof *top->latest_ms);
    memmove(top->scores + at, top->scores + at + 1, after * sizeof *top->scores);
}

/* Of equal ones that with the greatest id: replies break ties by the lesser. */
static uint32_t find_last(const struct top *top)
{
    uint32_t at = 0;

    for (uint32_t i = 1; i < top->head->count; i++)
        at = top->scores[i] <= top->scores[at] ? i : at;
    return at;
}

static bool insert(struct agg_cell *cell, uint64_t id, int64_t latest_ms, double score)
{
    uint32_t bytes, at, after, most = kept_most(cell->feature);
    struct head *head = agg_cell__memory(cell, &bytes);
    struct top top;

    if (!head || (head->count == head->capacity && head->count < most)) {
        uint32_t capacity = head ? head->capacity * 2 : CAPACITY_LEAST;

        if (!relay(cell, capacity > most ? most : capacity))
            return false;
        head = agg_cell__memory(cell, &bytes);
    }
    top = top_of(head);
    while (head->count >= most)
        drop(&top, find_last(&top));
    at = lower_bound(&top, id);
    after = head->count - at;
    memmove(top.ids + at + 1, top.ids + at, after * sizeof *top.ids);
    memmove(top.latest_ms + at + 1, top.latest_ms + at, after * sizeof *top.latest_ms);
    memmove(top.scores + at + 1, top.scores + at, after * sizeof *top.scores);
    top.ids[at] = id;
    top.latest_ms[at] = latest_ms;
    top.scores[at] = score;
    if (head->count++ == 0 || latest_ms < head->oldest_ms)
        head->oldest_ms = latest_ms;
    find_least(&top);
    return true;
}

/* First events only become earlier, sums and latest events only greater: of two lanes' news the one that is further on holds. */
static double further(const struct agg_feature *feature, double was, double now)
{
    return feature->is_first == (now < was) ? now : was;
}

/* One that isn't there, unless as many greater ones are. */
static bool offer(struct agg_cell *cell, uint64_t id, int64_t latest_ms, double score)
{
    uint32_t bytes;
    struct head *head = agg_cell__memory(cell, &bytes);

    if (head && head->count >= kept_most(cell->feature) && score <= head->least) {
        struct top top = top_of(head);

        if (score < head->least || id > top.ids[find_last(&top)])
            return true;
    }
    return insert(cell, id, latest_ms, score);
}

static enum agg_added take(struct agg_cell *cell, const struct agg_brought *brought, const struct agg_moment *horizon)
{
    uint32_t bytes, at;
    struct head *head = agg_cell__memory(cell, &bytes);
    struct top top;
    double was;

    (void)horizon;
    if (!head)
        return offer(cell, brought->id, brought->ts_ms, brought->score) ? AGG_ADDED : AGG_NO_MEMORY;
    top = top_of(head);
    at = lower_bound(&top, brought->id);
    if (at == head->count || top.ids[at] != brought->id)
        return offer(cell, brought->id, brought->ts_ms, brought->score) ? AGG_ADDED : AGG_NO_MEMORY;
    was = top.scores[at];
    top.scores[at] = further(cell->feature, was, brought->score);
    if (top.latest_ms[at] < brought->ts_ms)
        top.latest_ms[at] = brought->ts_ms;
    if (was <= head->least || top.scores[at] < head->least)
        find_least(&top);
    return AGG_ADDED;
}

/* No read at the horizon or later shows it. */
static bool is_gone(const struct agg_feature *feature, int64_t latest_ms, double score, int64_t horizon_ms)
{
    const struct agg_feature *source = feature->source;

    if (feature->is_first)
        return (double)horizon_ms - score >= (double)feature->new_ms;
    return agg_entity__is_expired(feature->ranked, latest_ms, horizon_ms) ||
           (source && agg_decayed__is_gone(source, latest_ms, horizon_ms));
}

static void prune(struct agg_cell *cell, const struct agg_moment *horizon)
{
    uint32_t bytes, kept = 0;
    struct head *head = agg_cell__memory(cell, &bytes);
    struct top top = top_of(head);

    if (!is_gone(cell->feature, head->oldest_ms, head->least, horizon->time_ms))
        return;
    head->oldest_ms = INT64_MAX;
    for (uint32_t i = 0; i < head->count; i++) {
        if (is_gone(cell->feature, top.latest_ms[i], top.scores[i], horizon->time_ms))
            continue;
        top.ids[kept] = top.ids[i];
        top.latest_ms[kept] = top.latest_ms[i];
        top.scores[kept] = top.scores[i];
        if (head->oldest_ms > top.latest_ms[kept])
            head->oldest_ms = top.latest_ms[kept];
        kept++;
    }
    head->count = kept;
    find_least(&top);
    if (kept == 0 ? !agg_cell__resize(cell, 0) : kept * 4 < head->capacity && !relay(cell, kept * 2))
        return; /* it stays longer than it must */
}

/* ---- disk ---- */

static struct top read_only(struct fr_slice memory)
{
    return top_of((void *)(uintptr_t)memory.bytes);
}

static void encode(const struct agg_feature *feature, struct fr_slice memory, struct fr_buffer *disk)
{
    struct top top = read_only(memory);

    (void)feature;
    if (top.head->count == 0)
        return;
    fr_buffer_append_varint(disk, top.head->count);
    for (uint32_t i = 0; i < top.head->count; i++) {
        uint64_t bits;

        memcpy(&bits, &top.scores[i], sizeof bits);
        fr_buffer_append_varint(disk, top.ids[i] - (i > 0 ? top.ids[i - 1] : 0));
        fr_buffer_append_varint(disk, (uint64_t)top.latest_ms[i]);
        fr_buffer_append_fixed64(disk, bits);
    }
}

/* A list that was longer once is cut to the greatest. */
static void decode(struct agg_cell *cell, struct fr_reader *reader)
{
    uint64_t count = fr_reader_varint(reader), id = 0;

    if (count == 0 || count > KEPT_MAX)
        reader->is_failed = true;
    for (uint64_t i = 0; i < count && !reader->is_failed; i++) {
        uint64_t more = fr_reader_varint(reader), latest_ms = fr_reader_varint(reader), bits = fr_reader_fixed64(reader);
        double score;

        memcpy(&score, &bits, sizeof score);
        id += more;
        if (more == 0 || id < more /* around */ || latest_ms == 0 || latest_ms >= (uint64_t)PROTO_TS_MS_END || !isfinite(score))
            reader->is_failed = true;
        if (!reader->is_failed && !offer(cell, id, (int64_t)latest_ms, score))
            reader->is_failed = true;
    }
}

/* Without the scores of sums: their last bits depend on the moment at which blocks were pruned. */
static void digest(const struct agg_feature *feature, struct fr_slice memory, const struct agg_moment *moment,
                   struct agg_facts *facts)
{
    struct top top = read_only(memory);

    for (uint32_t i = 0; i < top.head->count; i++) {
        uint64_t words[2] = {top.ids[i], feature->source ? (uint64_t)top.latest_ms[i] : (uint64_t)top.scores[i]};

        if (!is_gone(feature, top.latest_ms[i], top.scores[i], moment->time_ms))
            agg_facts__add_cell(facts, feature, words, 2);
    }
}

static int64_t bytes_most(const struct agg_feature *feature)
{
    return (int64_t)sizeof(struct head) + (int64_t)kept_most(feature) * ENTRY_BYTES;
}

static void define(const struct agg_feature *feature, struct fr_buffer *text)
{
    if (feature->source)
        fr_buffer_append_format(text, "; ranked by %s", feature->source->definition);
    if (feature->is_first && feature->new_ms != AGG_NEW_MS) /* the others' text is that of versions that knew no pools */
        fr_buffer_append_format(text, "; of %lld", (long long)feature->new_ms);
}

/* ---- reading ---- */

static int by_score(const void *a, const void *b)
{
    const struct agg_ranked *left = a, *right = b;

    if (left->score > right->score || left->score < right->score)
        return left->score > right->score ? -1 : 1;
    return left->id < right->id ? -1 : left->id > right->id;
}

uint32_t agg_top__read(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, struct agg_ranked *ranked)
{
    struct top top;
    uint32_t count = 0;

    if (memory.length == 0)
        return 0;
    top = read_only(memory);
    for (uint32_t i = 0; i < top.head->count; i++) {
        if (!is_gone(feature, top.latest_ms[i], top.scores[i], time_ms))
            ranked[count++] = (struct agg_ranked){.id = top.ids[i], .latest_ms = top.latest_ms[i], .score = top.scores[i]};
    }
    return count;
}

void agg_top__sort(struct agg_ranked *ranked, uint32_t count)
{
    if (count > 1)
        qsort(ranked, count, sizeof *ranked, by_score);
}

uint32_t agg_top__count(struct fr_slice memory)
{
    return memory.length > 0 ? read_only(memory).head->count : 0;
}

static const struct agg_cell_type cells = {.part = STORE_PART_LISTS,
                                           .take = take,
                                           .prune = prune,
                                           .encode = encode,
                                           .decode = decode,
                                           .digest = digest,
                                           .bytes_most = bytes_most};

const struct agg_type agg_type__top = {.name = "list", .is_hidden = true, .define = define, .cells = &cells};
