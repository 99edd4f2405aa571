/*
 * The simulated platform's rooms. Each has a life: it fills, has its peak after a third of its time, empties, and another opens in
 * its place. Now and then a crowd comes to one of them at once. The place that is free next goes to the creator who is newest here.
 */
#include "internal.h"

#include <math.h>

enum { CREATOR_EVERY_S = 60, BURST_EVERY_S = 600, BURST_SHORTEST_S = 60, BURST_LONGEST_S = 180 };
static const double ROOM_PEAK = 1.0 / 3, ROOM_QUIET = 0.15, BURST_SHARE = 0.35;

static struct proto_event host_event(const struct cli_world_room *room, const char *action)
{
    uint64_t host = cli_world__creator_id_of(room->creator); /* the host is a user too */

    return (struct proto_event){.user_id = host,
                                .creator_id = host,
                                .room_id = room->room_id,
                                .action = (uint32_t)proto_action_number(fr_slice_of(action)),
                                .scene = (uint32_t)proto_scene_number(fr_slice_of("live"))};
}

static void emit_item(struct cli_world *world, const struct cli_world_room *room, int64_t now_us, const char *action)
{
    struct proto_event event = host_event(room, action);

    event.item_id = cli_world__item_id(room->item);
    event.category_id = cli_world__category_id(room->item);
    (void)cli_world__emit(world, now_us, &event, NULL);
}

/* One of the host's own items, the better known ones more often. */
static uint32_t draw_room_item(struct cli_world *world, uint32_t creator)
{
    uint32_t creators = (uint32_t)world->creator_count;
    uint32_t item = (uint32_t)cli_zipf__draw(&world->item_ranks, &world->random);

    item = item - item % creators + creator;
    return item < (uint32_t)world->item_count ? item : creator;
}

/* Who opens next: somebody new who waits for it, else anybody who is there already. */
static uint32_t draw_creator(struct cli_world *world)
{
    uint32_t creator = world->newborn;

    world->newborn = WORLD_NONE;
    while (creator == WORLD_NONE || world->is_unborn[creator])
        creator = (uint32_t)cli_zipf__draw(&world->creator_ranks, &world->random);
    return creator;
}

void cli_world__say_room(struct cli_world *world, const struct cli_world_room *room, int64_t now_us)
{
    struct proto_event event = host_event(room, "room_start");

    (void)cli_world__emit(world, now_us, &event, NULL);
    emit_item(world, room, now_us, "item_on");
    cli_truth__room(world, room);
}

/* `share` of its life is left. */
static void open_room(struct cli_world *world, struct cli_world_room *room, int64_t now_us, double share)
{
    double life_s = fmax(180, cli_random__log_normal(&world->random, 2400, 0.7));

    room->creator = draw_creator(world);
    room->room_id = cli_world__room_id(world->rooms_begun++);
    room->item = draw_room_item(world, room->creator);
    room->begun_us = now_us - (int64_t)(life_s * (1 - share) * 1e6);
    room->end_us = now_us + (int64_t)(life_s * share * 1e6);
    room->peak_us = room->begun_us + (int64_t)(life_s * ROOM_PEAK * 1e6);
}

void cli_world__found_room(struct cli_world *world, struct cli_world_room *room)
{
    open_room(world, room, 0, cli_random__unit(&world->random));
}

/* The next item, or the end of the room and the beginning of another in its place. */
void cli_world__room(struct cli_world *world, uint32_t index, int64_t now_us)
{
    struct cli_world_room *room = &world->rooms[index];

    emit_item(world, room, now_us, "item_off");
    if (now_us < room->end_us) {
        room->item = draw_room_item(world, room->creator);
        emit_item(world, room, now_us, "item_on");
    } else {
        struct proto_event event = host_event(room, "room_end");

        (void)cli_world__emit(world, now_us, &event, NULL);
        open_room(world, room, now_us, 1);
        cli_world__say_room(world, room, now_us);
    }
    cli_agenda__add(&world->agenda, now_us + (int64_t)(cli_random__log_normal(&world->random, 90, 0.4) * 1e6), AGENDA_ROOM,
                    index);
}

/* ---- Where the crowd is ---- */

/* From quiet to 1 at the peak and back to quiet at the end. */
static double draw_of(const struct cli_world_room *room, int64_t now_us)
{
    double risen = (double)(now_us - room->begun_us) / (double)(room->peak_us - room->begun_us);
    double left = (double)(room->end_us - now_us) / (double)(room->end_us - room->peak_us);

    return ROOM_QUIET + (1 - ROOM_QUIET) * fmax(0, fmin(risen, left));
}

bool cli_world__is_burst(const struct cli_world *world, uint64_t room_id, int64_t now_us)
{
    return world->burst_room_id == room_id && now_us < world->burst_end_us;
}

uint32_t cli_world__draw_room(struct cli_world *world, int64_t now_us)
{
    uint32_t room = world->burst_room;

    if (cli_world__is_burst(world, world->rooms[room].room_id, now_us) && cli_random__chance(&world->random, BURST_SHARE))
        return room;
    for (int i = 0; i < 8; i++) {
        room = (uint32_t)cli_zipf__draw(&world->room_ranks, &world->random);
        if (cli_random__chance(&world->random, draw_of(&world->rooms[room], now_us)))
            break;
    }
    return room;
}

void cli_world__burst(struct cli_world *world, int64_t now_us)
{
    struct cli_random *random = &world->random;
    double length_s = BURST_SHORTEST_S + cli_random__unit(random) * (BURST_LONGEST_S - BURST_SHORTEST_S);

    if (world->burst_end_us < now_us) {
        world->burst_room = (uint32_t)cli_random__below(random, (uint64_t)world->room_count);
        world->burst_room_id = world->rooms[world->burst_room].room_id;
        world->burst_end_us = now_us + (int64_t)(length_s * 1e6);
        cli_truth__burst(world, now_us);
    }
    cli_agenda__add(&world->agenda, now_us + (int64_t)(cli_random__exponential(random, BURST_EVERY_S) * 1e6), AGENDA_BURST, 0);
}

void cli_world__creator(struct cli_world *world, int64_t now_us)
{
    if (world->unborn_count == 0)
        return;
    world->newborn = world->unborn[--world->unborn_count];
    world->is_unborn[world->newborn] = false;
    cli_truth__creator(world, world->newborn, now_us);
    cli_agenda__add(&world->agenda, now_us + CREATOR_EVERY_S * INT64_C(1000000), AGENDA_CREATOR, 0);
}

/* ---- From short videos ---- */

static const struct cli_world_room *room_of(const struct cli_world *world, uint64_t creator_id)
{
    for (int i = 0; i < world->room_count; i++) {
        if (cli_world__creator_id_of(world->rooms[i].creator) == creator_id)
            return &world->rooms[i];
    }
    return NULL;
}

static void go(struct cli_world *world, const struct proto_event *event, const char *action, double value, int64_t at_us)
{
    struct proto_event made = *event;

    made.action = (uint32_t)proto_action_number(fr_slice_of(action));
    made.value = value;
    (void)cli_world__emit(world, at_us, &made, NULL);
}

/* The entry is told where it was made: at the video's place, with an attribute that says so. What comes after is in the room. */
void cli_world__go_over(struct cli_world *world, const struct proto_event *seen, double liking, int64_t now_us)
{
    const struct cli_world_room *room = world->options.transfer > 0 ? room_of(world, seen->creator_id) : NULL;
    struct proto_event entry = *seen,
                       inside = {.user_id = seen->user_id, .creator_id = seen->creator_id, .region = seen->region};
    double stay_s;

    if (!room || !cli_random__chance(&world->random, fmin(cli_world__habits.most, world->options.transfer * liking)))
        return;
    stay_s = round(fmin(900, cli_random__log_normal(&world->random, 20 * sqrt(liking), 1.1)) * 10) / 10;
    entry.room_id = inside.room_id = room->room_id;
    entry.wire = fr_buffer_slice(&world->from_video);
    go(world, &entry, "enter_room", 0, now_us);
    inside.scene = (uint32_t)proto_scene_number(fr_slice_of("live"));
    inside.item_id = cli_world__item_id(room->item);
    inside.category_id = cli_world__category_id(room->item);
    now_us += (int64_t)(stay_s * 1e6);
    go(world, &inside, "watch", stay_s, now_us);
    if (cli_random__chance(&world->random, 0.05))
        go(world, &inside, "gift", 9.9, now_us);
    inside.item_id = inside.category_id = 0;
    go(world, &inside, "leave_room", 0, now_us);
}
