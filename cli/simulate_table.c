/*
 * What the shop's catalogue says of each item, and the platform's office of each creator, for a table's topic (docs/tables.md): drawn from the seed by the item alone, beside the world's
 * own dice, so that the events of a seed stay what they were.
 */
#include "internal.h"

enum { TAGS_MOST = 3, SOLD_OUT_ONE_IN = 12, STOCK_MOST = 200 };

static const char *const tags[] = {"handmade", "vintage", "sale", "new",   "outdoor",
                                   "kitchen",  "beauty",  "toys", "music", "fashion"};
static const char *const languages[] = {"en", "es", "pt", "id", "ja"};

static const char *const regions[] = {"north", "south", "east", "west"};

static uint64_t draw(const struct cli_world *world, uint32_t item, uint64_t what)
{
    return cli_random__mix((cli_world__item_id(item) * UINT64_C(0x9e3779b97f4a7c15) + what) ^ world->options.seed) >> 11;
}

void cli_table__row(const struct cli_world *world, uint32_t item, struct fr_buffer *json)
{
    enum { TAGS = sizeof tags / sizeof *tags, LANGUAGES = sizeof languages / sizeof *languages };
    const struct cli_world_item *one = &world->items[item];
    uint64_t first = draw(world, item, 1), count = draw(world, item, 2) % (TAGS_MOST + 1);
    bool is_sold_out = draw(world, item, 3) % SOLD_OUT_ONE_IN == 0;

    fr_buffer_append_text(json, "\"tags\":[");
    for (uint64_t i = 0; i < count; i++)
        fr_buffer_append_format(json, "%s\"%s\"", i > 0 ? "," : "", tags[(first + 3 * i) % TAGS]); /* 3 and 10 share nothing */
    fr_buffer_append_format(json, "],\"language\":\"%s\",\"stock\":%d,\"price\":%.2f,\"duration_s\":%g",
                            languages[draw(world, item, 4) % LANGUAGES],
                            is_sold_out ? 0 : 1 + (int)(draw(world, item, 5) % STOCK_MOST), one->price, one->length_s);
}

/* Who was not there at first is new; of the others the first tenth, whom most rooms and items are of, is the top. */
void cli_table__creator(const struct cli_world *world, uint32_t creator, struct fr_buffer *json)
{
    enum { REGIONS = sizeof regions / sizeof *regions, TOP_ONE_IN = 10 };
    const char *tier = world->is_newcomer[creator]                             ? "new"
                       : creator < (uint32_t)world->creator_count / TOP_ONE_IN ? "top"
                                                                               : "known";

    fr_buffer_append_format(json, "\"tier\":\"%s\",\"region\":\"%s\"", tier, regions[draw(world, creator, 6) % REGIONS]);
}
