/*
 * `capped`: events of which no user counts for more than `cap` in a pane, so that nobody makes a trend alone. Panes are of users (users.h):
 * exact up to 512 of them, and beyond that what the sampled ones make, as many times as there are more.
 */
#include "users.h"

/* ---- value ---- */

static double in_pane(const struct agg_feature *feature, const struct agg_body *body)
{
    const uint64_t *words = body->bytes;
    uint32_t users = body->count < AGG_USERS_WORDS ? body->count : AGG_USERS;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < users; i++)
        sum += agg_user__often(words[i]) < feature->cap ? agg_user__often(words[i]) : feature->cap;
    return body->count < AGG_USERS_WORDS ? (double)sum : (double)sum * agg_users__more(words[AGG_USERS]);
}

struct counted {
    const struct agg_feature *feature;
    double sum;
};

static bool add_pane(void *user, const struct agg_body *body)
{
    struct counted *counted = user;

    counted->sum += in_pane(counted->feature, body);
    return true;
}

static float value(const struct agg_feature *feature, struct fr_slice memory, const struct agg_window *window,
                   enum agg_output output, int64_t time_ms)
{
    struct counted counted = {.feature = feature};

    (void)output;
    agg_panes__each_whole(feature, memory, window, time_ms, add_pane, &counted);
    return (float)counted.sum;
}

static void describe(const struct agg_feature *feature, const struct agg_body *body, struct agg_piece *piece)
{
    piece->form = "users";
    piece->count = body->count;
    piece->value = in_pane(feature, body);
}

static void explain(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, struct agg_pieces *pieces)
{
    agg_panes__explain(feature, memory, time_ms, pieces, describe);
}

/* ---- settings ---- */

static bool parse_capped(struct agg_parse *parse)
{
    int64_t cap = 0;
    bool ok = agg_panes__parse_windows(parse);

    parse->feature->needs = PROTO_FIELD_USER_ID;
    if (!fr_yaml_get(parse->map, "cap"))
        return agg_parse__tell(parse, parse->at, "cap", "missing; say how many events of a user count in a pane, as in 3");
    ok = fr_yaml_int(parse->map, "cap", 1, AGG_USERS_OFTEN_MOST, &cap, parse->diagnostics) && ok;
    parse->feature->cap = (uint32_t)cap;
    return ok;
}

static void define_capped(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; cap %d", (int)feature->cap);
}

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
static const char *const keys[] = {"actions", "scenes", "where", "windows", "cap", NULL};

const struct agg_type agg_type__capped = {.name = "capped",
                                          .keys = keys,
                                          .emits = 1 << AGG_OUTPUT_VALUE | 1 << AGG_OUTPUT_N | 1 << AGG_OUTPUT_AGE,
                                          .parse = parse_capped,
                                          .define = define_capped,
                                          .cells = &cells,
                                          .panes = &agg_users__panes};
