/*
 * What happens next in the simulated world: a binary heap by time; of equal times, what was added first.
 */
#include "internal.h"

#include <stdlib.h>

static bool is_before(const struct cli_agenda_entry *a, const struct cli_agenda_entry *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void cli_agenda__add(struct cli_agenda *agenda, int64_t at_us, enum cli_agenda_kind kind, uint32_t index)
{
    struct cli_agenda_entry entry = {at_us, agenda->added++, kind, index};
    int at = agenda->count;

    if (agenda->count == agenda->capacity) {
        int capacity = agenda->capacity > 0 ? agenda->capacity * 2 : 1024;
        struct cli_agenda_entry *entries = realloc(agenda->entries, (size_t)capacity * sizeof *entries);

        if (!entries) {
            agenda->is_failed = true;
            return;
        }
        agenda->entries = entries;
        agenda->capacity = capacity;
    }
    agenda->count++;
    while (at > 0 && is_before(&entry, &agenda->entries[(at - 1) / 2])) {
        agenda->entries[at] = agenda->entries[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    agenda->entries[at] = entry;
}

bool cli_agenda__take(struct cli_agenda *agenda, struct cli_agenda_entry *entry)
{
    struct cli_agenda_entry last;
    int at = 0;

    if (agenda->count == 0)
        return false;
    *entry = agenda->entries[0];
    last = agenda->entries[--agenda->count];
    for (;;) {
        int child = 2 * at + 1;

        if (child >= agenda->count)
            break;
        if (child + 1 < agenda->count && is_before(&agenda->entries[child + 1], &agenda->entries[child]))
            child++;
        if (!is_before(&agenda->entries[child], &last))
            break;
        agenda->entries[at] = agenda->entries[child];
        at = child;
    }
    agenda->entries[at] = last;
    return true;
}
