/*
 * What one user does in one visit: watches a live room, scrolls through short videos or shops. Probabilities follow the item's
 * charm and the user's taste; watching times are log-normal, purchases come with a delay, some are given back. Bots click on all they
 * see, like without end and say the same thing everywhere, but never buy.
 */
#include "internal.h"

#include <math.h>

enum { FEED_ITEMS = 6, MALL_ITEMS = 8, BOT_LIKES = 12, BOT_REST_S = 40 };

const struct cli_world_habits cli_world__habits = {
    .click = 0.12,
    .cart = 0.12,
    .buy = 0.35,
    .most = 0.9,
    .other_taste = 0.7,
    .delay_median_s = 60,
    .delay_sigma = 1.2,
    .delay_most_s = 1800,
};

static const struct remark {
    const char *text, *intent;
} remarks[] = {
    {"first!", "greeting"},
    {"love this one", "praise"},
    {"how much is shipping?", "question"},
    {"666", "praise"},
    {"is there a smaller size?", "question"},
    {"great host", "praise"},
    {"bought it twice", "purchase"},
    {"show it once more", "request"},
    {"too expensive", "complaint"},
    {"哈哈哈", "praise"},
    {"on my wish list", "purchase"},
    {"hello from the north", "greeting"},
    {"what a colour", "praise"},
    {"does it come in red?", "question"},
    {"can't stop watching", "praise"},
    {"done, ordered", "purchase"},
    {"good night everybody", "greeting"},
    {"主播加油", "praise"},
};
static const struct remark bot_remark = {"free coins at my page", "spam"};
enum { REMARKS = sizeof remarks / sizeof *remarks };

static const double gifts[] = {0.1, 0.5, 1, 1, 1, 5.2, 9.9, 9.9, 52, 99, 520};
enum { GIFTS = sizeof gifts / sizeof *gifts };

struct visit { /* one step of a session: where and with what */
    struct cli_world *world;
    struct cli_world_session *session;
    struct proto_event base; /* user, place and item */
    const struct cli_world_item *item;
    double liking; /* charm × taste */
    double stir; /* 1; more where a crowd came at once */
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
    (void)cli_world__emit(visit->world, at_us, &event, NULL);
}

static bool likely(const struct visit *visit, double probability)
{
    return cli_random__chance(&visit->world->random, fmin(cli_world__habits.most, probability * visit->liking));
}

static void say(const struct visit *visit, int64_t at_us, const struct remark *remark)
{
    struct proto_event event = visit->base;

    event.action = action("comment");
    event.text = fr_slice_of(remark->text);
    (void)cli_world__emit(visit->world, at_us, &event, &(struct cli_world_secret){.intent = remark->intent});
}

/* Into the cart, perhaps out of it, perhaps bought, sometimes given back. */
static void buy(const struct visit *visit, int64_t at_us)
{
    const struct cli_world_habits *habits = &cli_world__habits;
    struct cli_random *random = &visit->world->random;
    double pieces = cli_random__chance(random, 0.15) ? 2 : 1;
    double delay_s = fmin(habits->delay_most_s, cli_random__log_normal(random, habits->delay_median_s, habits->delay_sigma));
    int64_t bought_us = after(at_us, delay_s);
    struct proto_event event = visit->base;
    struct cli_world_secret secret = {.delay_s = delay_s};

    event.action = action("add_to_cart");
    secret.cart_id = cli_world__emit(visit->world, at_us, &event, NULL);
    if (cli_random__chance(random, habits->buy)) {
        event.action = action("purchase");
        event.value = round(visit->item->price * pieces * 100) / 100;
        (void)cli_world__emit(visit->world, bought_us, &event, &secret);
        if (cli_random__chance(random, 0.03))
            emit(visit, after(bought_us, 600 + cli_random__exponential(random, 1800)), "refund", visit->item->price);
    } else if (cli_random__chance(random, 0.3)) {
        emit(visit, bought_us, "remove_from_cart", 0);
    }
}

static void react(const struct visit *visit, int64_t at_us)
{
    struct cli_random *random = &visit->world->random;

    if (likely(visit, 0.10 * visit->stir))
        emit(visit, after(at_us, -cli_random__unit(random)), "like", 0);
    if (likely(visit, 0.05 * visit->stir))
        say(visit, at_us, &remarks[cli_random__below(random, REMARKS)]);
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
    while (world->is_unborn[item % (uint32_t)world->creator_count]) /* the first creators are always there */
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
    if (cli_world__is_burst(world, room->room_id, now_us))
        visit->stir = 3;
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
    if (likely(visit, 0.02 * visit->stir))
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
        visit->base.position = i + 1;
        visit->base.duration_s = visit->item->length_s;
        emit(visit, now_us, "impression", 0);
        seconds = fmin(visit->item->length_s * 1.5, cli_random__log_normal(random, 6 * sqrt(visit->liking), 1.0));
        seconds = round(seconds * 10) / 10;
        now_us = after(now_us, seconds);
        emit(visit, now_us, "watch", seconds);
        react(visit, now_us);
        cli_world__go_over(visit->world, &visit->base, visit->liking, now_us);
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
        visit->base.position = i + 1;
        emit(visit, now_us, "impression", 0);
        if (!likely(visit, cli_world__habits.click))
            continue;
        now_us = after(now_us, 1 + cli_random__exponential(random, 3));
        emit(visit, now_us, "click", 0);
        now_us = after(now_us, cli_random__log_normal(random, 15, 0.8));
        if (likely(visit, cli_world__habits.cart))
            buy(visit, now_us);
    }
    return after(now_us, 2 + cli_random__exponential(random, 8));
}

/* In a room it likes and advertises, elsewhere it clicks on all there is; then it rests for a while. */
static int64_t step_bot(struct visit *visit, int64_t now_us)
{
    struct cli_world *world = visit->world;

    if (visit->session->kind == SESSION_LIVE) {
        visit->base.scene = scene("live");
        visit->base.room_id = visit->session->room_id;
        for (int i = 0; i < BOT_LIKES; i++)
            emit(visit, now_us = after(now_us, 0.15 + 0.1 * cli_random__unit(&world->random)), "like", 0);
        say(visit, now_us, &bot_remark);
        if (visit->session->steps_left == 0)
            leave_room(visit, now_us);
    } else {
        visit->base.scene = scene("mall");
        visit->base.request_id = cli_random__next(&world->random) | 1;
        for (uint32_t i = 0; i < MALL_ITEMS; i++) {
            show(visit, draw_item(world, visit->base.user_id));
            visit->base.position = i + 1;
            emit(visit, now_us, "impression", 0);
            emit(visit, now_us = after(now_us, 0.2), "click", 0);
        }
    }
    return after(now_us, BOT_REST_S);
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
    session->room = cli_world__draw_room(world, now_us);
    session->room_id = world->rooms[session->room].room_id;
    event.user_id = session->user_id;
    event.creator_id = cli_world__creator_id(world, world->rooms[session->room].item);
    event.room_id = session->room_id;
    event.region = 1 + session->user_id % 30;
    event.action = action("enter_room");
    event.scene = scene("live");
    (void)cli_world__emit(world, now_us, &event, NULL);
    return now_us;
}

void cli_world__session(struct cli_world *world, uint32_t index, int64_t now_us)
{
    struct cli_world_session *session = &world->sessions[index];
    struct visit visit = {.world = world, .session = session, .stir = 1};
    bool is_over;

    if (session->user_id == 0 && !cli_world__is_awake(world, index, now_us)) {
        cli_agenda__add(&world->agenda, after(now_us, 30 + cli_random__exponential(&world->random, 30)), AGENDA_SESSION, index);
        return;
    }
    if (session->user_id == 0)
        now_us = begin(world, session, now_us);
    visit.base.user_id = session->user_id;
    visit.base.region = 1 + session->user_id % 30;
    if (cli_world__is_bot(world, session->user_id))
        now_us = step_bot(&visit, now_us);
    else if (session->kind == SESSION_LIVE)
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
