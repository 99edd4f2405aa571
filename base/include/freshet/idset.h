/*
 * A set of ids that any thread may ask while one thread at a time changes it: a table of fixed size, of which an id that was once in it keeps
 * its place. For lists of what is blocked: seldom changed, asked by every call.
 */
#ifndef FRESHET_IDSET_H
#define FRESHET_IDSET_H

#include <freshet/error.h>

#include <stddef.h>

enum { FR_IDSET_MOST = 1 << 24 };

struct fr_idset;

/* Empty, with room for `most` different ids in its life (1 to FR_IDSET_MOST). NULL: out of memory. */
struct fr_idset *fr_idset_new(uint32_t most);
/* What such a set takes when it is full; of a large one what no id is near is not there yet. */
size_t fr_idset_bytes(uint32_t most);
void fr_idset_free(struct fr_idset *set);

/* Any thread. 0 is in no set; nor is anything in NULL. */
bool fr_idset_has(const struct fr_idset *set, uint64_t id);
uint32_t fr_idset_count(const struct fr_idset *set);

/* Puts the id in, or takes it out. One thread at a time. False: no room for another one, nothing changed. */
FR_CHECKED bool fr_idset_put(struct fr_idset *set, uint64_t id, bool is_in);

/* Copies up to `most` of its ids, in no order, and returns how many. Any thread; what changes meanwhile may or may not be among them. */
uint32_t fr_idset_copy(const struct fr_idset *set, uint64_t *ids, uint32_t most);

#endif
