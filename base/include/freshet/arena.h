/*
 * An arena: memory of one batch or one call, taken piece by piece and given back at once. It never exceeds its limit, so a
 * hostile input costs at most that. One thread at a time; not shared.
 */
#ifndef FRESHET_ARENA_H
#define FRESHET_ARENA_H

#include <freshet/slice.h>

struct fr_arena;

/* `limit_bytes` bounds what all pieces together may take. NULL when out of memory. Free with fr_arena_free(). */
struct fr_arena *fr_arena_new(size_t limit_bytes);
void fr_arena_free(struct fr_arena *arena);

/* `bytes` bytes, aligned for any type, not cleared; NULL when the limit or memory is exhausted. Valid until reset or free. */
void *fr_arena_take(struct fr_arena *arena, size_t bytes);

/* The same, cleared; NULL also when count × bytes overflows. */
void *fr_arena_take_zeroed(struct fr_arena *arena, size_t count, size_t bytes);

/* A terminated copy; NULL when exhausted. */
char *fr_arena_copy(struct fr_arena *arena, struct fr_slice text);

/* Gives everything back and keeps up to `keep_bytes` of blocks for reuse. */
void fr_arena_reset(struct fr_arena *arena, size_t keep_bytes);

/* What is taken now, in bytes. */
size_t fr_arena_used(const struct fr_arena *arena);

#endif
