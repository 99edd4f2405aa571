/*
 * `returning`: how many users came in several panes of the window, say on two days of seven. Panes are of users (users.h); who is among the least
 * 513 hashes of all of them is so in each pane that he came in, so of those the number of panes is exact, and of more users an
 * estimate by them.
 */
#include "users.h"

enum { VISITS_DEFAULT = 2 };

struct counted {
    uint64_t hashes[AGG_USERS_WORDS], panes[AGG_USERS_WORDS];
    uint32_t count;
};

/* One of the window's own panes, all of it. */
static bool add_pane(void *user, const struct agg_body *body)
{
    struct counted *all = user, both;
    const uint64_t *words = body->bytes;
    uint32_t a = 0, b = 0;

    for (both.count = 0; (a < all->count || b < body->count) && both.count < AGG_USERS_WORDS; both.count++) {
        bool is_a = a < all->count && (b == body->count || all->hashes[a] <= agg_user__hash(words[b]));
        bool is_b = b < body->count && (a == all->count || agg_user__hash(words[b]) <= all->hashes[a]);

        both.hashes[both.count] = is_a ? all->hashes[a] : agg_user__hash(words[b]);
        both.panes[both.count] = (is_a ? all->panes[a] : 0) + is_b;
        a += is_a;
        b += is_b;
    }
    *all = both;
    return true;
}

static float value(const struct agg_feature *feature, struct fr_slice memory, const struct agg_window *window,
                   enum agg_output output, int64_t time_ms)
{
    struct counted all;
    uint32_t users, found = 0;

    (void)output;
    all.count = 0;
    agg_panes__each_whole(feature, memory, window, time_ms, add_pane, &all);
    users = all.count < AGG_USERS_WORDS ? all.count : AGG_USERS;
    for (uint32_t i = 0; i < users; i++)
        found += all.panes[i] >= feature->cap;
    if (all.count < AGG_USERS_WORDS)
        return (float)found;
    return (float)(found * agg_users__more(all.hashes[AGG_USERS] << AGG_USERS_OFTEN_BITS));
}

static void describe(const struct agg_feature *feature, const struct agg_body *body, struct agg_piece *piece)
{
    (void)feature;
    piece->form = "users";
    piece->value = body->count;
}

static void explain(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, struct agg_pieces *pieces)
{
    agg_panes__explain(feature, memory, time_ms, pieces, describe);
}

/* ---- settings ---- */

static bool parse_returning(struct agg_parse *parse)
{
    int64_t visits = VISITS_DEFAULT;
    bool ok = agg_panes__parse_windows(parse);

    parse->feature->needs = PROTO_FIELD_USER_ID;
    ok = fr_yaml_int(parse->map, "visits", 2, AGG_USERS_OFTEN_MOST, &visits, parse->diagnostics) && ok;
    parse->feature->cap = (uint32_t)visits;
    return ok;
}

/* Not the visits: what is kept is the same for any. */
static const struct agg_cell_type cells = {.part = STORE_PART_SKETCHES,
                                           .add = agg_users__add,
                                           .merge = agg_panes__merge,
                                           .prune = agg_panes__prune,
                                           .encode = agg_panes__encode,
                                           .decode = agg_panes__decode,
                                           .digest = agg_panes__digest,
                                           .value = value,
                                           .explain = explain,
                                           .bytes_most = agg_panes__bytes_most};
static const char *const keys[] = {"actions", "scenes", "where", "windows", "visits", NULL};

const struct agg_type agg_type__returning = {.name = "returning",
                                             .keys = keys,
                                             .emits = 1 << AGG_OUTPUT_VALUE | 1 << AGG_OUTPUT_N | 1 << AGG_OUTPUT_AGE,
                                             .parse = parse_returning,
                                             .cells = &cells,
                                             .panes = &agg_users__panes};
