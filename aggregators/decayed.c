/*
 * `decayed`: exponentially decayed sums, in integers so that no order of events shows. Time is cut into blocks of 8 half-lives; an event
 * adds round(w · 2^((ts − start of its block) / half_life) · 2^24) to its block's sum of 128 bits, and a read adds up the four
 * latest blocks, each decayed to the moment (docs/values.md).
 *
 * In memory: blocks ascending, each its number, how many events, and the sum.
 */
#include "decayed.h"
#include "type.h"

#include <math.h>

enum { HALF_LIVES = 8, BLOCKS_READ = 4, SCALE_BITS = 24, BLOCKS_MAX = 4096 };

struct block {
    int64_t number;
    uint64_t events;
    uint64_t low;
    int64_t high; /* of the sum: 8-byte words keep the cell aligned to 8 */
};

#define SUM_MOST ((__int128)1 << 100) /* 2^32 events at 10,000 · 2^8 · 2^24 stay far below */

static int64_t block_ms(const struct agg_feature *feature)
{
    return HALF_LIVES * feature->half_life_ms;
}

static __int128 sum_of(const struct block *block)
{
    return (__int128)((unsigned __int128)block->high << 64 | block->low);
}

static void sum_set(struct block *block, __int128 sum)
{
    block->low = (uint64_t)sum;
    block->high = (int64_t)(sum >> 64);
}

/* The block, made in its place when it isn't there; NULL: out of memory. */
static struct block *find(struct agg_cell *cell, int64_t number)
{
    uint32_t bytes;
    struct block *blocks = agg_cell__memory(cell, &bytes);
    uint32_t count = bytes / (uint32_t)sizeof *blocks, at = count;

    while (at > 0 && blocks[at - 1].number > number)
        at--;
    if (at > 0 && blocks[at - 1].number == number)
        return &blocks[at - 1];
    if (!agg_cell__resize(cell, bytes + (uint32_t)sizeof *blocks))
        return NULL;
    blocks = agg_cell__memory(cell, &bytes);
    memmove(&blocks[at + 1], &blocks[at], (count - at) * sizeof *blocks);
    blocks[at] = (struct block){.number = number};
    return &blocks[at];
}

static enum agg_added add(struct agg_cell *cell, const struct agg_input *input)
{
    const struct agg_feature *feature = cell->feature;
    const struct proto_event *event = input->event;
    int64_t number = event->ts_ms / block_ms(feature);
    double exponent = (double)(event->ts_ms - number * block_ms(feature)) / (double)feature->half_life_ms;
    struct block *block;

    if (number <= input->horizon->time_ms / block_ms(feature) - BLOCKS_READ)
        return AGG_TOO_LATE;
    block = find(cell, number);
    if (!block)
        return AGG_NO_MEMORY;
    block->events++;
    sum_set(block, sum_of(block) + llround(feature->weights[event->action] * exp2(exponent) * (1 << SCALE_BITS)));
    return AGG_ADDED;
}

static bool merge(struct agg_cell *into, struct fr_slice from)
{
    const struct block *blocks = from.bytes;

    for (size_t i = 0; i < from.length / sizeof *blocks; i++) {
        struct block *block = find(into, blocks[i].number);

        if (!block)
            return false;
        block->events += blocks[i].events;
        sum_set(block, sum_of(block) + sum_of(&blocks[i]));
    }
    return true;
}

static void prune(struct agg_cell *cell, const struct agg_moment *horizon)
{
    uint32_t bytes, gone = 0;
    struct block *blocks = agg_cell__memory(cell, &bytes);
    uint32_t count = bytes / (uint32_t)sizeof *blocks;

    while (gone < count && blocks[gone].number <= horizon->time_ms / block_ms(cell->feature) - BLOCKS_READ)
        gone++;
    if (gone == 0)
        return;
    memmove(blocks, blocks + gone, (count - gone) * sizeof *blocks);
    if (!agg_cell__resize(cell, (count - gone) * (uint32_t)sizeof *blocks))
        return;
}

static void encode(const struct agg_feature *feature, struct fr_slice memory, struct fr_buffer *disk)
{
    const struct block *blocks = memory.bytes;
    size_t count = memory.length / sizeof *blocks;

    (void)feature;
    fr_buffer_append_varint(disk, count);
    for (size_t i = 0; i < count; i++) {
        fr_buffer_append_varint(disk, (uint64_t)(blocks[i].number - (i > 0 ? blocks[i - 1].number : 0)));
        fr_buffer_append_varint(disk, blocks[i].events);
        fr_buffer_append_varint(disk, blocks[i].low);
        fr_buffer_append_varint(disk, (uint64_t)blocks[i].high);
    }
}

static void decode(struct agg_cell *cell, struct fr_reader *reader)
{
    uint64_t count = fr_reader_varint(reader);
    int64_t number = 0;

    if (count == 0 || count > BLOCKS_MAX)
        reader->is_failed = true;
    for (uint64_t i = 0; i < count && !reader->is_failed; i++) {
        uint64_t more = fr_reader_varint(reader);
        struct block *block;

        if (more > (uint64_t)(PROTO_TS_MS_END / block_ms(cell->feature)) || (i > 0 && more == 0)) {
            reader->is_failed = true;
            return;
        }
        number += (int64_t)more;
        block = find(cell, number);
        if (!block) {
            reader->is_failed = true;
            return;
        }
        block->events = fr_reader_varint(reader);
        block->low = fr_reader_varint(reader);
        block->high = (int64_t)fr_reader_varint(reader);
        if (block->events == 0 || sum_of(block) > SUM_MOST || sum_of(block) < 0)
            reader->is_failed = true;
    }
}

/* Calls for each block that counts at the time. */
static bool counts(const struct agg_feature *feature, const struct block *block, int64_t time_ms)
{
    int64_t newest = time_ms / block_ms(feature);

    return block->number > newest - BLOCKS_READ && block->number <= newest;
}

static void digest(const struct agg_feature *feature, struct fr_slice memory, const struct agg_moment *moment,
                   struct agg_facts *facts)
{
    const struct block *blocks = memory.bytes;

    for (size_t i = 0; i < memory.length / sizeof *blocks; i++) {
        if (blocks[i].number > moment->time_ms / block_ms(feature) - BLOCKS_READ)
            agg_facts__add_cell(facts, feature, (const uint64_t *)&blocks[i], sizeof blocks[i] / sizeof(uint64_t));
    }
}

double agg_decayed__value(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms)
{
    const struct block *blocks = memory.bytes;
    double sum = 0;

    for (size_t i = 0; i < memory.length / sizeof *blocks; i++) {
        double exponent = (double)(blocks[i].number * block_ms(feature) - time_ms) / (double)feature->half_life_ms;

        if (counts(feature, &blocks[i], time_ms))
            sum += (double)sum_of(&blocks[i]) * exp2(exponent - SCALE_BITS);
    }
    return sum;
}

/* Blocks are 8 half-lives apart: 2^8 between one and the next. */
double agg_decayed__score(struct fr_slice memory)
{
    const struct block *blocks = memory.bytes;
    size_t count = memory.length / sizeof *blocks;
    int64_t newest = blocks[count - 1].number;
    double sum = 0;

    for (size_t i = 0; i < count; i++) {
        int64_t before = blocks[i].number - newest < -100 ? -100 : blocks[i].number - newest;

        sum += ldexp((double)sum_of(&blocks[i]), (int)(HALF_LIVES * before));
    }
    return log2(sum) + (double)(HALF_LIVES * newest);
}

double agg_decayed__bound(const struct agg_feature *feature, double score, int64_t time_ms)
{
    return exp2(score - SCALE_BITS - (double)time_ms / (double)feature->half_life_ms) * (1 + 1e-5);
}

bool agg_decayed__is_past(int64_t half_life_ms, int64_t number, int64_t horizon_ms)
{
    return number <= horizon_ms / (HALF_LIVES * half_life_ms) - BLOCKS_READ;
}

bool agg_decayed__is_gone(const struct agg_feature *feature, int64_t latest_ms, int64_t time_ms)
{
    return agg_decayed__is_past(feature->half_life_ms, latest_ms / block_ms(feature), time_ms);
}

int64_t agg_decayed__unit(int64_t half_life_ms, int64_t ts_ms, int64_t *number)
{
    *number = ts_ms / (HALF_LIVES * half_life_ms);
    return llround(exp2((double)(ts_ms % (HALF_LIVES * half_life_ms)) / (double)half_life_ms) * (1 << SCALE_BITS));
}

double agg_decayed__left(int64_t half_life_ms, int64_t number, double sum, int64_t time_ms)
{
    int64_t start_ms = number * HALF_LIVES * half_life_ms;

    if (agg_decayed__is_past(half_life_ms, number, time_ms) || start_ms > time_ms)
        return 0;
    return sum * exp2((double)(start_ms - time_ms) / (double)half_life_ms - SCALE_BITS);
}

static float value(const struct agg_feature *feature, struct fr_slice memory, const struct agg_window *window,
                   enum agg_output output, int64_t time_ms)
{
    const struct block *blocks = memory.bytes;
    uint64_t events = 0;

    (void)window;
    if (output == AGG_OUTPUT_VALUE)
        return (float)agg_decayed__value(feature, memory, time_ms);
    for (size_t i = 0; i < memory.length / sizeof *blocks; i++)
        events += counts(feature, &blocks[i], time_ms) ? blocks[i].events : 0;
    return (float)events;
}

/* What is left of each block; the blocks' shares add up to the value. */
static void explain(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, struct agg_pieces *pieces)
{
    const struct block *blocks = memory.bytes;

    for (size_t i = 0; i < memory.length / sizeof *blocks; i++) {
        struct agg_piece piece = {
            .start_ms = blocks[i].number * block_ms(feature), .span_ms = block_ms(feature), .count = blocks[i].events};

        piece.value =
            (double)sum_of(&blocks[i]) * exp2((double)(piece.start_ms - time_ms) / (double)feature->half_life_ms - SCALE_BITS);
        if (counts(feature, &blocks[i], time_ms))
            agg_pieces__add(pieces, &piece);
    }
}

static int64_t bytes_most(const struct agg_feature *feature)
{
    (void)feature;
    return (BLOCKS_READ + 1) * (int64_t)sizeof(struct block);
}

/* ---- settings ---- */

static bool parse_decayed(struct agg_parse *parse)
{
    bool ok = agg_parse__seconds(parse, "half_life", &parse->feature->half_life_ms);

    return agg_parse__weights(parse) && ok;
}

static void define_decayed(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; half_life %lld", (long long)feature->half_life_ms);
    agg_feature__define_weights(feature, text);
}

static const struct agg_cell_type cells = {.part = STORE_PART_SKETCHES,
                                           .add = add,
                                           .merge = merge,
                                           .prune = prune,
                                           .encode = encode,
                                           .decode = decode,
                                           .digest = digest,
                                           .value = value,
                                           .explain = explain,
                                           .bytes_most = bytes_most};
static const char *const keys[] = {"actions", "scenes", "where", "weights", "half_life", NULL};

const struct agg_type agg_type__decayed = {.name = "decayed",
                                           .keys = keys,
                                           .emits = 1 << AGG_OUTPUT_VALUE | 1 << AGG_OUTPUT_N | 1 << AGG_OUTPUT_AGE,
                                           .parse = parse_decayed,
                                           .define = define_decayed,
                                           .cells = &cells};
