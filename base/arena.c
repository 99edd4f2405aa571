/*
 * An arena is a list of blocks, the newest first; a piece is cut from the newest. Blocks grow, so that a small call costs one
 * small allocation and a large batch a few large ones. The limit counts pieces, and a block is never larger than what the limit
 * leaves, so the memory behind is at most twice the limit and one block header each.
 */
#include <freshet/arena.h>

#include <stdint.h>
#include <stdlib.h>

enum { BLOCK_BYTES_FIRST = 4096, BLOCK_BYTES_MOST = 1 << 20, ALIGNMENT = 16 };

struct block {
    struct block *next;
    size_t capacity;
    size_t used;
    _Alignas(ALIGNMENT) unsigned char bytes[];
};

struct fr_arena {
    struct block *blocks; /* the newest, cut from, first */
    struct block *spare; /* empty ones, kept by a reset */
    size_t limit;
    size_t used;
    size_t block_bytes; /* of the next block */
};

struct fr_arena *fr_arena_new(size_t limit_bytes)
{
    struct fr_arena *arena = malloc(sizeof(*arena));

    if (arena)
        *arena = (struct fr_arena){.limit = limit_bytes, .block_bytes = BLOCK_BYTES_FIRST};
    return arena;
}

static void free_list(struct block *block)
{
    while (block) {
        struct block *next = block->next;

        free(block);
        block = next;
    }
}

void fr_arena_free(struct fr_arena *arena)
{
    if (!arena)
        return;
    free_list(arena->blocks);
    free_list(arena->spare);
    free(arena);
}

static struct block *take_spare(struct fr_arena *arena, size_t bytes)
{
    for (struct block **at = &arena->spare; *at; at = &(*at)->next) {
        struct block *block = *at;

        if (block->capacity >= bytes) {
            *at = block->next;
            return block;
        }
    }
    return NULL;
}

static struct block *new_block(struct fr_arena *arena, size_t bytes)
{
    size_t left = arena->limit - arena->used;
    size_t capacity = arena->block_bytes < left ? arena->block_bytes : left;
    struct block *block;

    if (capacity < bytes)
        capacity = bytes;
    if (capacity > SIZE_MAX - sizeof(*block))
        return NULL;
    block = malloc(sizeof(*block) + capacity);
    if (!block)
        return NULL;
    *block = (struct block){.capacity = capacity};
    if (arena->block_bytes < BLOCK_BYTES_MOST)
        arena->block_bytes *= 2;
    return block;
}

void *fr_arena_take(struct fr_arena *arena, size_t bytes)
{
    struct block *block = arena->blocks;
    void *piece;

    if (bytes == 0)
        bytes = 1; /* a piece of its own even so */
    if (bytes > SIZE_MAX - ALIGNMENT)
        return NULL;
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (bytes > arena->limit - arena->used)
        return NULL;

    if (!block || block->capacity - block->used < bytes) {
        block = take_spare(arena, bytes);
        if (!block)
            block = new_block(arena, bytes);
        if (!block)
            return NULL;
        block->next = arena->blocks;
        arena->blocks = block;
    }
    piece = block->bytes + block->used;
    block->used += bytes;
    arena->used += bytes;
    return piece;
}

void *fr_arena_take_zeroed(struct fr_arena *arena, size_t count, size_t bytes)
{
    size_t all;
    void *piece;

    if (__builtin_mul_overflow(count, bytes, &all))
        return NULL;
    piece = fr_arena_take(arena, all);
    if (piece)
        memset(piece, 0, all);
    return piece;
}

char *fr_arena_copy(struct fr_arena *arena, struct fr_slice text)
{
    char *copy;

    if (text.length == SIZE_MAX)
        return NULL;
    copy = fr_arena_take(arena, text.length + 1);
    if (!copy)
        return NULL;
    if (text.length > 0)
        memcpy(copy, text.bytes, text.length);
    copy[text.length] = '\0';
    return copy;
}

/* Moves what fits into `left` bytes from `block` on to the spare list and frees the rest. */
static void keep_some(struct fr_arena *arena, struct block *block, size_t *left)
{
    while (block) {
        struct block *next = block->next;

        if (block->capacity <= *left) {
            *left -= block->capacity;
            block->used = 0;
            block->next = arena->spare;
            arena->spare = block;
        } else {
            free(block);
        }
        block = next;
    }
}

void fr_arena_reset(struct fr_arena *arena, size_t keep_bytes)
{
    struct block *used = arena->blocks;
    struct block *spare = arena->spare;

    arena->blocks = NULL;
    arena->spare = NULL;
    arena->used = 0;
    arena->block_bytes = BLOCK_BYTES_FIRST;
    keep_some(arena, used, &keep_bytes); /* the newest are the largest: one of them is worth many small ones */
    keep_some(arena, spare, &keep_bytes);
}

size_t fr_arena_used(const struct fr_arena *arena)
{
    return arena->used;
}
