/*
 * What is true of the simulated world, for those who want to judge what was learned from its events: JSON lines, named as in events,
 * ids as strings. Persons and things come first; what happens is told when it does, of an event when it is sent.
 */
#include "internal.h"

#include <inttypes.h>

static FILE *file_of(const struct cli_world *world)
{
    return world->is_warm ? world->options.truth : NULL;
}

/* When something on the agenda happens, as events have it. */
static int64_t event_ms(const struct cli_world *world, int64_t at_us)
{
    return world->options.start_ms + (at_us - world->warm_us) / 1000;
}

static void tell_habits(const struct cli_world *world, FILE *file)
{
    const struct cli_world_habits *habits = &cli_world__habits;

    fprintf(file,
            "{\"truth\":\"world\",\"seed\":\"%" PRIu64 "\",\"startMs\":\"%" PRId64
            "\",\"users\":%d,\"items\":%d,\"creators\":%d,"
            "\"click\":%g,\"cart\":%g,\"buy\":%g,\"most\":%g,\"otherTaste\":%g,"
            "\"purchaseDelay\":{\"medianS\":%g,\"sigma\":%g,\"mostS\":%g}}\n",
            world->options.seed, world->options.start_ms, world->user_count, world->item_count, world->creator_count,
            habits->click, habits->cart, habits->buy, habits->most, habits->other_taste, habits->delay_median_s,
            habits->delay_sigma, habits->delay_most_s);
}

static void tell_user(const struct cli_world *world, FILE *file, uint64_t user)
{
    const char *separator = "";

    fprintf(file, "{\"truth\":\"user\",\"userId\":\"%" PRIu64 "\",\"isBot\":%s,\"tastes\":{", user,
            cli_world__is_bot(world, user) ? "true" : "false");
    for (uint64_t category = 1; category <= WORLD_CATEGORIES; category++) {
        double taste = cli_world__taste(world, user, category);

        if (taste <= cli_world__habits.other_taste)
            continue;
        fprintf(file, "%s\"%" PRIu64 "\":%g", separator, category, taste);
        separator = ",";
    }
    fputs("}}\n", file);
}

static void tell_item(const struct cli_world *world, FILE *file, uint32_t item)
{
    const struct cli_world_item *one = &world->items[item];
    struct fr_buffer row;

    fr_buffer_init(&row);
    cli_table__row(world, item, &row);
    fprintf(file,
            "{\"truth\":\"item\",\"itemId\":\"%" PRIu64 "\",\"creatorId\":\"%" PRIu64 "\",\"categoryId\":\"%" PRIu64
            "\",\"lengthS\":%g,\"charm\":%.17g,%.*s}\n",
            cli_world__item_id(item), cli_world__creator_id(world, item), cli_world__category_id(item), one->length_s,
            one->charm, (int)row.length, (const char *)row.bytes);
    fr_buffer_fini(&row);
}

static void tell_maker(const struct cli_world *world, FILE *file, uint32_t creator)
{
    struct fr_buffer row;

    fr_buffer_init(&row);
    cli_table__creator(world, creator, &row);
    fprintf(file, "{\"truth\":\"maker\",\"creatorId\":\"%" PRIu64 "\",%.*s}\n", cli_world__creator_id_of(creator),
            (int)row.length, (const char *)row.bytes);
    fr_buffer_fini(&row);
}

void cli_truth__begin(const struct cli_world *world)
{
    FILE *file = world->options.truth;

    if (!file)
        return;
    tell_habits(world, file);
    for (uint64_t user = 1; user <= (uint64_t)world->user_count; user++)
        tell_user(world, file, user);
    for (uint32_t item = 0; item < (uint32_t)world->item_count; item++)
        tell_item(world, file, item);
    for (uint32_t creator = 0; creator < (uint32_t)world->creator_count; creator++)
        tell_maker(world, file, creator);
}

void cli_truth__room(const struct cli_world *world, const struct cli_world_room *room)
{
    FILE *file = file_of(world);

    if (file)
        fprintf(file,
                "{\"truth\":\"room\",\"roomId\":\"%" PRIu64 "\",\"creatorId\":\"%" PRIu64 "\",\"fromMs\":\"%" PRId64
                "\",\"peakMs\":\"%" PRId64 "\",\"untilMs\":\"%" PRId64 "\"}\n",
                room->room_id, cli_world__creator_id_of(room->creator), event_ms(world, room->begun_us),
                event_ms(world, room->peak_us), event_ms(world, room->end_us));
}

void cli_truth__burst(const struct cli_world *world, int64_t now_us)
{
    FILE *file = file_of(world);

    if (file)
        fprintf(file,
                "{\"truth\":\"burst\",\"roomId\":\"%" PRIu64 "\",\"fromMs\":\"%" PRId64 "\",\"untilMs\":\"%" PRId64 "\"}\n",
                world->burst_room_id, event_ms(world, now_us), event_ms(world, world->burst_end_us));
}

void cli_truth__creator(const struct cli_world *world, uint32_t creator, int64_t now_us)
{
    FILE *file = file_of(world);

    if (file)
        fprintf(file, "{\"truth\":\"creator\",\"creatorId\":\"%" PRIu64 "\",\"fromMs\":\"%" PRId64 "\"}\n",
                cli_world__creator_id_of(creator), event_ms(world, now_us));
}

void cli_truth__sent(const struct cli_world *world, const struct proto_event *event, const struct cli_world_secret *secret)
{
    FILE *file = file_of(world);

    if (!file)
        return;
    if (secret->delay_s > 0)
        fprintf(file,
                "{\"truth\":\"purchase\",\"eventId\":\"%" PRIu64 "\",\"cartId\":\"%" PRIu64 "\",\"delayMs\":\"%" PRId64 "\"}\n",
                event->event_id, secret->cart_id, (int64_t)(secret->delay_s * 1000));
    if (secret->intent)
        fprintf(file, "{\"truth\":\"comment\",\"eventId\":\"%" PRIu64 "\",\"intent\":\"%s\"}\n", event->event_id,
                secret->intent);
}
