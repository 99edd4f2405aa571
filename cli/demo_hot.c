/*
 * The hottest few of the last seconds, for the eye: a small table in which the coldest makes room (Space-Saving without its
 * bound), and everything fades by a fifth each second.
 */
#include "internal.h"

static void fade(struct cli_hot *hot, int64_t now_ms)
{
    for (; now_ms - hot->faded_ms >= 1000; hot->faded_ms += 1000) {
        if (now_ms - hot->faded_ms > 60000) /* nothing would be left of it */
            *hot = (struct cli_hot){.faded_ms = now_ms - 1000};
        for (int i = 0; i < HOT_ENTRIES; i++)
            hot->entries[i].score *= 0.8;
    }
}

void cli_hot__add(struct cli_hot *hot, uint64_t id, double weight, int64_t now_ms)
{
    int coldest = 0;

    if (id == 0 || weight <= 0)
        return;
    fade(hot, now_ms);
    for (int i = 0; i < HOT_ENTRIES; i++) {
        if (hot->entries[i].id == id) {
            hot->entries[i].score += weight;
            return;
        }
        if (hot->entries[i].score < hot->entries[coldest].score)
            coldest = i;
    }
    hot->entries[coldest] = (struct cli_hot_entry){.id = id, .score = hot->entries[coldest].score + weight};
}

int cli_hot__top(const struct cli_hot *hot, struct cli_hot_entry top[HOT_SHOWN])
{
    int count = 0;

    for (int i = 0; i < HOT_ENTRIES; i++) {
        struct cli_hot_entry entry = hot->entries[i];
        int at = count;

        if (entry.id == 0)
            continue;
        while (at > 0 && top[at - 1].score < entry.score)
            at--;
        if (at == HOT_SHOWN)
            continue;
        count += count < HOT_SHOWN;
        memmove(&top[at + 1], &top[at], (size_t)(count - at - 1) * sizeof *top);
        top[at] = entry;
    }
    return count;
}
