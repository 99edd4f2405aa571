/*
 * A livestream platform with a shop: users with tastes (some of them are bots), items with prices and makers, rooms that open and
 * close. Everybody does one thing after another on an agenda in the world's own time; what they do becomes events that arrive a
 * little late, some of them twice, as real producers send them.
 *
 * The world holds about as many sessions as make the wanted rate; what is left between its own pace and the rate is taken up by
 * sending event number n at n / rate exactly. So a rate is kept to the event, and the same seed gives the same events. Where the
 * rate swings with the hour of the day, so does the number of sessions.
 */
#include "internal.h"

#include <math.h>
#include <stdlib.h>

enum {
    WORLD_LATE_US_MAX = 5000000,
    WORLD_REPEAT_ONE_IN = 200,
    WORLD_WARM_EVENTS_MAX = 1000000,
    WORLD_ITEM_ID = 1000001, /* ids people can tell apart: users from 1, items, creators, rooms */
    WORLD_CREATOR_ID = 2000001,
    WORLD_ROOM_ID = 3000001,
    WORLD_BOT_ONE_IN = 100,
    WORLD_NEW_ONE_IN = 10, /* creators who come while we watch */
    WORLD_BUSIEST_HOUR = 21, /* UTC */
};
static const double WORLD_EVENT_EVERY_S = 4.85; /* of one session, measured over an hour of world time */

uint64_t cli_world__item_id(uint32_t item)
{
    return WORLD_ITEM_ID + (uint64_t)item;
}

uint64_t cli_world__creator_id_of(uint32_t creator)
{
    return WORLD_CREATOR_ID + (uint64_t)creator;
}

uint64_t cli_world__room_id(uint64_t number)
{
    return WORLD_ROOM_ID + number;
}

/* Creators come in multiples of the categories, so that all items of one are of one category. */
uint64_t cli_world__creator_id(const struct cli_world *world, uint32_t item)
{
    return cli_world__creator_id_of(item % (uint32_t)world->creator_count);
}

uint64_t cli_world__category_id(uint32_t item)
{
    return 1 + item % WORLD_CATEGORIES;
}

double cli_world__taste(const struct cli_world *world, uint64_t user_id, uint64_t category_id)
{
    static const double liking[] = {3.0, 2.0, 1.5};
    uint64_t drawn = cli_random__mix(user_id * UINT64_C(0x9e3779b97f4a7c15) + world->options.seed);

    for (int i = 0; i < 3; i++) {
        if (1 + (drawn >> (16 * i)) % WORLD_CATEGORIES == category_id)
            return liking[i];
    }
    return cli_world__habits.other_taste;
}

bool cli_world__is_bot(const struct cli_world *world, uint64_t user_id)
{
    return user_id <= (uint64_t)world->user_count &&
           cli_random__mix(user_id * UINT64_C(0xd6e8feb86659fd93) + world->options.seed) % WORLD_BOT_ONE_IN == 0;
}

/* How much of the mean rate is there at this time of the day. */
static double share_at(const struct cli_world *world, double at_ms)
{
    double hour = fmod(at_ms / 3600000, 24);

    return 1 + world->options.swing * cos(2 * M_PI * (hour - WORLD_BUSIEST_HOUR) / 24);
}

bool cli_world__is_awake(const struct cli_world *world, uint32_t session, int64_t now_us)
{
    double at_ms = (double)(world->options.start_ms + (now_us - world->warm_us) / 1000);

    return session < world->session_count * share_at(world, at_ms) / (1 + world->options.swing);
}

/* ---- Events on their way ---- */

static uint32_t take_pending(struct cli_world *world)
{
    uint32_t slot = world->first_free;

    if (slot != WORLD_NONE) {
        world->first_free = world->pending[slot].next_free;
        return slot;
    }
    if (world->pending_count == world->pending_capacity) {
        uint32_t capacity = world->pending_capacity > 0 ? world->pending_capacity * 2 : 1024;
        struct cli_world_pending *pending = realloc(world->pending, capacity * sizeof *pending);

        if (!pending) {
            world->agenda.is_failed = true;
            return WORLD_NONE;
        }
        world->pending = pending;
        world->pending_capacity = capacity;
    }
    return world->pending_count++;
}

static void drop_pending(struct cli_world *world, uint32_t slot)
{
    world->pending[slot].next_free = world->first_free;
    world->first_free = slot;
}

/* Most events are there within a blink; one in ten comes from a phone that sends now and then. */
static int64_t draw_late_us(struct cli_world *world)
{
    double late_us = cli_random__chance(&world->random, 0.1) ? cli_random__unit(&world->random) * WORLD_LATE_US_MAX
                                                             : cli_random__exponential(&world->random, 80000);

    return late_us < WORLD_LATE_US_MAX ? (int64_t)late_us : WORLD_LATE_US_MAX;
}

uint64_t cli_world__emit(struct cli_world *world, int64_t at_us, const struct proto_event *event,
                         const struct cli_world_secret *secret)
{
    uint32_t slot = take_pending(world);
    struct cli_world_pending *pending;

    if (slot == WORLD_NONE)
        return 0;
    pending = &world->pending[slot];
    *pending = (struct cli_world_pending){.event = *event, .late_us = draw_late_us(world)};
    pending->event.event_id = cli_random__mix(world->id_base + ++world->events_made); /* one to one: never twice the same */
    if (secret)
        pending->secret = *secret;
    cli_agenda__add(&world->agenda, at_us + pending->late_us, AGENDA_EVENT, slot);
    return pending->event.event_id;
}

/* ---- Beginning ---- */

static int within(double value, int least, int most)
{
    return value < least ? least : value > most ? most : (int)value;
}

static void make_items(struct cli_world *world)
{
    for (int i = 0; i < world->item_count; i++) {
        double level = 10 * exp(3.0 * (i % WORLD_CATEGORIES) / WORLD_CATEGORIES); /* a category has its price level */

        world->items[i].price = round(cli_random__log_normal(&world->random, level, 0.5) * 100) / 100;
        world->items[i].length_s = round(fmin(300, fmax(6, cli_random__log_normal(&world->random, 25, 0.6))));
        world->items[i].charm = cli_random__log_normal(&world->random, 1, 0.4);
    }
}

/* Some creators are not there yet; who is must have all categories among them, so the first ones are. */
static void leave_out_creators(struct cli_world *world)
{
    world->newborn = WORLD_NONE;
    for (uint32_t i = (uint32_t)world->creator_count; i-- > WORLD_CATEGORIES;) {
        if (cli_random__mix(i * UINT64_C(0xa0761d6478bd642f) + world->options.seed) % WORLD_NEW_ONE_IN != 0)
            continue;
        world->is_unborn[i] = world->is_newcomer[i] = true;
        world->unborn[world->unborn_count++] = i;
    }
}

/* Rooms are found in the middle of their lives, sessions begin spread over half a minute. */
static void begin(struct cli_world *world)
{
    for (int i = 0; i < world->room_count; i++) {
        cli_world__found_room(world, &world->rooms[i]);
        cli_agenda__add(&world->agenda, (int64_t)(cli_random__unit(&world->random) * 90e6), AGENDA_ROOM, (uint32_t)i);
    }
    for (int i = 0; i < world->session_count; i++)
        cli_agenda__add(&world->agenda, (int64_t)(cli_random__unit(&world->random) * 30e6), AGENDA_SESSION, (uint32_t)i);
}

/* What one entry of the agenda brings about, events aside. */
static void act(struct cli_world *world, const struct cli_agenda_entry *entry)
{
    switch ((enum cli_agenda_kind)entry->kind) {
    case AGENDA_ROOM:
        cli_world__room(world, entry->index, entry->at_us);
        break;
    case AGENDA_BURST:
        cli_world__burst(world, entry->at_us);
        break;
    case AGENDA_CREATOR:
        cli_world__creator(world, entry->at_us);
        break;
    case AGENDA_SESSION:
        cli_world__session(world, entry->index, entry->at_us);
        break;
    case AGENDA_EVENT:
        break;
    }
}

/* A minute that nobody sees, so that the first event finds a world in full swing; then the rooms that are open say so. What is rare
 * begins after it. */
static void warm_up(struct cli_world *world)
{
    int64_t end_us = (int64_t)(fmin(60, WORLD_WARM_EVENTS_MAX / world->options.rate) * 1e6);
    struct cli_agenda_entry entry;

    world->warm_us = end_us;
    while (!world->agenda.is_failed && world->agenda.count > 0 && world->agenda.entries[0].at_us < end_us) {
        (void)cli_agenda__take(&world->agenda, &entry);
        if (entry.kind == AGENDA_EVENT)
            drop_pending(world, entry.index);
        else
            act(world, &entry);
    }
    world->is_warm = true;
    cli_truth__begin(world);
    for (int i = 0; i < world->room_count; i++)
        cli_world__say_room(world, &world->rooms[i], end_us);
    cli_agenda__add(&world->agenda, end_us, AGENDA_CREATOR, 0);
    cli_world__burst(world, end_us);
}

static bool make_world(struct cli_world *world)
{
    const struct cli_world_options *options = &world->options;
    double rate = options->rate;

    world->user_count = options->users > 0 ? options->users : within(rate * 50, 500, 200000);
    world->item_count = options->items > 0 ? options->items : within(rate * 10, 400, 50000);
    world->creator_count = within(world->item_count / 10.0, WORLD_CATEGORIES, 5000) / WORLD_CATEGORIES * WORLD_CATEGORIES;
    world->item_count = world->item_count < world->creator_count ? world->creator_count : world->item_count;
    world->room_count = within(rate / 8, 4, world->creator_count / 2);
    world->session_count = within(rate * (1 + options->swing) * WORLD_EVENT_EVERY_S, 1, 4000000);
    world->items = calloc((size_t)world->item_count, sizeof *world->items);
    world->rooms = calloc((size_t)world->room_count, sizeof *world->rooms);
    world->sessions = calloc((size_t)world->session_count, sizeof *world->sessions);
    world->unborn = calloc((size_t)world->creator_count, sizeof *world->unborn);
    world->is_unborn = calloc((size_t)world->creator_count, sizeof *world->is_unborn);
    world->is_newcomer = calloc((size_t)world->creator_count, sizeof *world->is_newcomer);
    proto_event_encode_attribute(&world->from_video, fr_slice_of("from"), fr_slice_of("short_video"));
    if (!world->items || !world->rooms || !world->sessions || !world->unborn || !world->is_unborn || !world->is_newcomer ||
        world->from_video.is_failed || !cli_zipf__init(&world->user_ranks, world->user_count, 0.6) ||
        !cli_zipf__init(&world->item_ranks, world->item_count, 1.05) ||
        !cli_zipf__init(&world->creator_ranks, world->creator_count, 0.8) ||
        !cli_zipf__init(&world->room_ranks, world->room_count, 0.9))
        return false;
    make_items(world);
    leave_out_creators(world);
    begin(world);
    warm_up(world);
    return !world->agenda.is_failed;
}

struct cli_world *cli_world__new(const struct cli_world_options *options)
{
    struct cli_world *world = calloc(1, sizeof *world);

    if (!world)
        return NULL;
    world->options = *options;
    fr_buffer_init(&world->from_video);
    world->first_free = WORLD_NONE;
    cli_random__init(&world->random, options->seed);
    /* With the start, or a demo that is started again over its old store would repeat ids that mean other events. */
    world->id_base = cli_random__mix(cli_random__mix(options->seed + 1) ^ (uint64_t)options->start_ms);
    if (!make_world(world)) {
        cli_world__free(world);
        return NULL;
    }
    return world;
}

void cli_world__free(struct cli_world *world)
{
    if (!world)
        return;
    cli_zipf__fini(&world->user_ranks);
    cli_zipf__fini(&world->item_ranks);
    cli_zipf__fini(&world->creator_ranks);
    cli_zipf__fini(&world->room_ranks);
    free(world->agenda.entries);
    free(world->items);
    free(world->rooms);
    free(world->sessions);
    free(world->unborn);
    free(world->is_unborn);
    free(world->is_newcomer);
    fr_buffer_fini(&world->from_video);
    free(world->pending);
    free(world);
}

/* ---- Going on ---- */

static void send(struct cli_world *world, const struct cli_agenda_entry *entry, struct proto_event *event, int64_t *sent_ms)
{
    struct cli_world_pending *pending = &world->pending[entry->index];

    *sent_ms = world->options.start_ms + (int64_t)world->clock_ms;
    world->events_sent++;
    world->clock_ms = world->options.swing > 0
                          ? world->clock_ms + 1000 / (world->options.rate * share_at(world, (double)*sent_ms))
                          : (double)world->events_sent * 1000 / world->options.rate;
    if (!pending->is_repeat) {
        pending->event.ts_ms = *sent_ms - pending->late_us / 1000;
        if (pending->event.ts_ms < 1)
            pending->event.ts_ms = 1;
    }
    *event = pending->event;
    if (!pending->is_repeat && *sent_ms < world->options.truth_end_ms)
        cli_truth__sent(world, event, &pending->secret);
    if (!pending->is_repeat && cli_random__below(&world->random, WORLD_REPEAT_ONE_IN) == 0) {
        pending->is_repeat = true;
        cli_agenda__add(&world->agenda, entry->at_us + (int64_t)(cli_random__unit(&world->random) * WORLD_LATE_US_MAX),
                        AGENDA_EVENT, entry->index);
        return;
    }
    drop_pending(world, entry->index);
}

bool cli_world__next(struct cli_world *world, struct proto_event *event, int64_t *sent_ms)
{
    struct cli_agenda_entry entry;

    while (!world->agenda.is_failed && cli_agenda__take(&world->agenda, &entry)) {
        if (entry.kind == AGENDA_EVENT) {
            send(world, &entry, event, sent_ms);
            return true;
        }
        act(world, &entry);
    }
    return false;
}
