/*
 * What one user does in one visit: watches a live room, scrolls through short videos or shops. Probabilities follow the item's
 * charm and the user's taste; watching times are log-normal, purchases come with a delay, some are given back.
 */
#include "internal.h"

#include <math.h>

enum { FEED_ITEMS = 6, MALL_ITEMS = 8 };

static const char *const remarks[] = {
    "first!",
    "love this one",
    "how much is shipping?",
    "666",
    "is there a smaller size?",
    "great host",
    "bought it twice",
    "show it once more",
    "too expensive",
    "哈哈哈",
    "on my wish list",
    "hello from the north",
    "what a colour",
    "does it come in red?",
    "can't stop watching",
    "done, ordered",
    "good night everybody",
    "主播加油",
};
enum { REMARKS = sizeof remarks / sizeof *remarks };

static const double gifts[] = {0.1, 0.5, 1, 1, 1, 5.2, 9.9, 9.9, 52, 99, 520};
enum { GIFTS = sizeof gifts / sizeof *gifts };

struct visit { /* one step of a session: where and with what */
    struct cli_world *world;
    struct cli_world_session *session;
    struct proto_event base; /* user, place and item */
    const struct cli_world_item *item;
    double liking; /* charm × taste */
};

static uint32_t action(const char *name)
{
    return (uint32_t)proto_action_number(fr_slice_of(name));
}

static uint32_t scene(const char *name)
{
    return (uint32_t)proto_scene_number(fr_slice_of(name));
}

static int64_t after(int64_t now_us, double seconds)
{
    return now_us + (int64_t)(seconds * 1e6);
}

static void show(struct visit *visit, uint32_t item)
{
    visit->item = &visit->world->items[item];
    visit->base.item_id = cli_world__item_id(item);
    visit->base.creator_id = cli_world__creator_id(visit->world, item);
    visit->base.category_id = cli_world__category_id(item);
    visit->liking = visit->item->charm * cli_world__taste(visit->world, visit->base.user_id, visit->base.category_id);
}

static void emit(const struct visit *visit, int64_t at_us, const char *name, double value)
{
    struct proto_event event = visit->base;

    event.action = action(name);
    event.value = value;
    cli_world__emit(visit->world, at_us, &event);
}

static bool likely(const struct visit *visit, double probability)
{
    return cli_random__chance(&visit->world->random, fmin(0.9, probability * visit->liking));
}

/* Into the cart, perhaps out of it, perhaps bought, sometimes given back. */
static void buy(const struct visit *visit, int64_t at_us)
{
    struct cli_random *random = &visit->world->random;
    double pieces = cli_random__chance(random, 0.15) ? 2 : 1;
    int64_t bought_us = after(at_us, fmin(1800, cli_random__log_normal(random, 60, 1.2)));

    emit(visit, at_us, "add_to_cart", 0);
    if (cli_random__chance(random, 0.35)) {
        emit(visit, bought_us, "purchase", round(visit->item->price * pieces * 100) / 100);
        if (cli_random__chance(random, 0.03))
            emit(visit, after(bought_us, 600 + cli_random__exponential(random, 1800)), "refund", visit->item->price);
    } else if (cli_random__chance(random, 0.3)) {
        emit(visit, bought_us, "remove_from_cart", 0);
    }
}

static void react(const struct visit *visit, int64_t at_us)
{
    struct cli_random *random = &visit->world->random;
    struct proto_event remark = visit->base;

    if (likely(visit, 0.10))
        emit(visit, after(at_us, -cli_random__unit(random)), "like", 0);
    if (likely(visit, 0.05)) {
        remark.action = action("comment");
        remark.text = fr_slice_of(remarks[cli_random__below(random, REMARKS)]);
        cli_world__emit(visit->world, at_us, &remark);
    }
    if (likely(visit, 0.008))
        emit(visit, at_us, "share", 0);
    if (likely(visit, 0.006))
        emit(visit, at_us, "follow", 0);
    if (cli_random__chance(random, 0.004 / visit->liking))
        emit(visit, at_us, "dislike", 0);
}

/* Zipf over all, drawn into one of the user's own categories more often than not. */
static uint32_t draw_item(struct cli_world *world, uint64_t user_id)
{
    uint32_t item = (uint32_t)cli_zipf__draw(&world->item_ranks, &world->random);

    for (int i = 0; i < 3 && cli_world__taste(world, user_id, cli_world__category_id(item)) < 1; i++)
        item = (uint32_t)cli_zipf__draw(&world->item_ranks, &world->random);
    return item;
}

/* ---- The three kinds of visit ---- */

static void leave_room(struct visit *visit, int64_t now_us)
{
    visit->base.item_id = visit->base.category_id = 0;
    emit(visit, now_us, "leave_room", 0);
    visit->session->steps_left = 0;
}

static int64_t step_live(struct visit *visit, int64_t now_us)
{
    struct cli_world *world = visit->world;
    const struct cli_world_room *room = &world->rooms[visit->session->room];
    double seconds;

    visit->base.scene = scene("live");
    visit->base.room_id = visit->session->room_id;
    show(visit, room->item);
    if (room->room_id != visit->session->room_id || visit->session->steps_left == 0) {
        if (room->room_id != visit->session->room_id)
            visit->base.creator_id = 0; /* another's room is in its place now */
        leave_room(visit, now_us);
        return now_us;
    }
    seconds = round(fmin(900, cli_random__log_normal(&world->random, 7 * sqrt(visit->liking), 1.1)) * 10) / 10;
    now_us = after(now_us, seconds);
    emit(visit, now_us, "watch", seconds);
    react(visit, now_us);
    if (likely(visit, 0.02))
        emit(visit, now_us, "gift", gifts[cli_random__below(&world->random, GIFTS)]);
    if (likely(visit, 0.03))
        buy(visit, now_us);
    return now_us;
}

static int64_t step_feed(struct visit *visit, int64_t now_us)
{
    struct cli_random *random = &visit->world->random;

    visit->base.scene = scene("short_video");
    visit->base.request_id = cli_random__next(random) | 1;
    for (uint32_t i = 0; i < FEED_ITEMS; i++) {
        double seconds;

        show(visit, draw_item(visit->world, visit->base.user_id));
        visit->base.position = i;
        visit->base.duration_s = visit->item->length_s;
        emit(visit, now_us, "impression", 0);
        seconds = fmin(visit->item->length_s * 1.5, cli_random__log_normal(random, 6 * sqrt(visit->liking), 1.0));
        seconds = round(seconds * 10) / 10;
        now_us = after(now_us, seconds);
        emit(visit, now_us, "watch", seconds);
        react(visit, now_us);
    }
    return now_us;
}

static int64_t step_mall(struct visit *visit, int64_t now_us)
{
    struct cli_random *random = &visit->world->random;

    visit->base.scene = scene("mall");
    visit->base.request_id = cli_random__next(random) | 1;
    for (uint32_t i = 0; i < MALL_ITEMS; i++) {
        show(visit, draw_item(visit->world, visit->base.user_id));
        visit->base.position = i;
        emit(visit, now_us, "impression", 0);
        if (!likely(visit, 0.12))
            continue;
        now_us = after(now_us, 1 + cli_random__exponential(random, 3));
        emit(visit, now_us, "click", 0);
        now_us = after(now_us, cli_random__log_normal(random, 15, 0.8));
        if (likely(visit, 0.12))
            buy(visit, now_us);
    }
    return after(now_us, 2 + cli_random__exponential(random, 8));
}

/* ---- A visit begins and ends ---- */

static int64_t begin(struct cli_world *world, struct cli_world_session *session, int64_t now_us)
{
    double draw = cli_random__unit(&world->random);
    struct proto_event event = {0};

    session->user_id = 1 + (uint64_t)cli_zipf__draw(&world->user_ranks, &world->random);
    session->kind = draw < 0.5 ? SESSION_LIVE : draw < 0.85 ? SESSION_FEED : SESSION_MALL;
    session->steps_left = 1 + (int)cli_random__exponential(&world->random, session->kind == SESSION_LIVE ? 8 : 3);
    if (session->kind != SESSION_LIVE)
        return now_us;
    session->room = (uint32_t)cli_zipf__draw(&world->room_ranks, &world->random);
    session->room_id = world->rooms[session->room].room_id;
    event.user_id = session->user_id;
    event.creator_id = cli_world__creator_id(world, world->rooms[session->room].item);
    event.room_id = session->room_id;
    event.region = 1 + session->user_id % 30;
    event.action = action("enter_room");
    event.scene = scene("live");
    cli_world__emit(world, now_us, &event);
    return now_us;
}

void cli_world__session(struct cli_world *world, uint32_t index, int64_t now_us)
{
    struct cli_world_session *session = &world->sessions[index];
    struct visit visit = {.world = world, .session = session};
    bool is_over;

    if (session->user_id == 0)
        now_us = begin(world, session, now_us);
    visit.base.user_id = session->user_id;
    visit.base.region = 1 + session->user_id % 30;
    if (session->kind == SESSION_LIVE)
        now_us = step_live(&visit, now_us);
    else if (session->kind == SESSION_FEED)
        now_us = step_feed(&visit, now_us);
    else
        now_us = step_mall(&visit, now_us);
    is_over = session->steps_left <= 0;
    session->steps_left--;
    if (is_over) {
        *session = (struct cli_world_session){0};
        now_us = after(now_us, 1 + cli_random__exponential(&world->random, 4)); /* until somebody else comes */
    }
    cli_agenda__add(&world->agenda, now_us, AGENDA_SESSION, index);
}
