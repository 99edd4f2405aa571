/* Decayed sums against the contract's formula, in long doubles, over random streams; and how many events its blocks hold. */
#include "property.h"

enum { ACTIONS = 12, HALF_LIVES_A_BLOCK = 8, BLOCKS = 4 };

struct decayed {
    int64_t half_life_ms, retention_ms;
    double weights[PROTO_ACTIONS]; /* 0: not taken */
    int where;
};

static void configure(struct property_trial *trial, struct rng *rng)
{
    static const int64_t half_lives_s[] = {1, 10, 61, 600, 86400, 2592000};
    static const int64_t retentions_s[] = {0, 60, 3600, 2592000};
    static const double weights[] = {1, 1, 0.1, 3, 20, 10000, 0.7};
    struct decayed *decayed = trial->own;
    char actions[256] = "", listed[512] = "";

    for (uint32_t a = 1; a <= ACTIONS; a++) {
        if (a != 3 && rng_one_in(rng, 2))
            continue;
        decayed->weights[a] = weights[rng_below(rng, 7)];
        snprintf(actions + strlen(actions), sizeof actions - strlen(actions), "%s%s", *actions ? ", " : "",
                 proto_action_name(a));
        if (decayed->weights[a] < 1 || decayed->weights[a] > 1)
            snprintf(listed + strlen(listed), sizeof listed - strlen(listed), "%s%s: %g", *listed ? ", " : "",
                     proto_action_name(a), decayed->weights[a]);
    }
    decayed->half_life_ms = half_lives_s[rng_below(rng, 6)] * 1000;
    decayed->retention_ms = retentions_s[rng_below(rng, 4)] * 1000;
    decayed->where = rng_one_in(rng, 3) ? (int)rng_below(rng, 6) : 0;
    snprintf(trial->text, sizeof trial->text,
             "entities: { item: { key: [item_id], retention: 0 }, creator: { key: [creator_id], retention: %llds } }\n"
             "features:\n"
             "  heat: { entity: creator, aggregate: decayed, half_life: %llds, actions: [%s], weights: { %s }, where: \"%s\","
             " emit: [value, n, age] }\n",
             (long long)decayed->retention_ms / 1000, (long long)decayed->half_life_ms / 1000, actions, listed,
             decayed->where > 0 ? stream_wheres[decayed->where] : "ts_ms > 0");
    trial->names[trial->name_count++] = "heat";
    trial->spans_ms[trial->span_count++] = HALF_LIVES_A_BLOCK * decayed->half_life_ms;
    trial->spans_ms[trial->span_count++] = BLOCKS * HALF_LIVES_A_BLOCK * decayed->half_life_ms;
    trial->spans_ms[trial->span_count++] = decayed->retention_ms + 1000;
}

static bool check(const struct property_look *look)
{
    const struct decayed *decayed = look->trial->own;
    int64_t block_ms = HALF_LIVES_A_BLOCK * decayed->half_life_ms, newest = look->time_ms / block_ms;

    for (int row = 0; row < PROPERTY_ROWS; row++) {
        uint64_t creator = property_id(look, row, PROTO_FIELD_CREATOR_ID);
        bool is_present = property_is_present(look, PROTO_FIELD_CREATOR_ID, creator, decayed->retention_ms);
        long double sum = 0;
        int64_t latest_ms = 0;
        int events = 0;

        for (int i = 0; i < look->count && is_present; i++) {
            const struct proto_event *event = look->events[i];
            int64_t block = event->ts_ms / block_ms;
            long double inside = (long double)(event->ts_ms % block_ms) / (long double)decayed->half_life_ms;
            long double back = (long double)(block * block_ms - look->time_ms) / (long double)decayed->half_life_ms;
            double weight = decayed->weights[event->action];

            if (event->creator_id != creator || !(weight > 0) || !stream_where(decayed->where, event))
                continue;
            latest_ms = event->ts_ms > latest_ms ? event->ts_ms : latest_ms;
            if (block > newest || block <= newest - BLOCKS)
                continue;
            sum += (long double)llroundl((long double)weight * exp2l(inside) * 0x1p24L) * 0x1p-24L * exp2l(back);
            events++;
        }
        if (!property_near(look, "heat", row, (double)sum, 2e-7) || !property_equal(look, "heat.n", row, (float)events) ||
            !property_equal(look, "heat.age", row, property_age(look, latest_ms, is_present, decayed->retention_ms)))
            return false;
    }
    return true;
}

static void a_decayed_sum_is_what_its_blocks_say(void **state)
{
    static const struct property property = {
        .name = "decayed", .own_bytes = sizeof(struct decayed), .configure = configure, .check = check};

    (void)state;
    property_run(&property);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_decayed_sum_is_what_its_blocks_say)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
