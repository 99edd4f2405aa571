/* The age of every aggregate that has one: of the latest event that its filters, and it, took. */
#include "property.h"

enum { FEATURES = 6 };

struct ages {
    int64_t retention_ms;
    uint32_t scenes;
    int where;
};

/* What a feature takes beside the filters. */
static const struct {
    const char *name, *column, *settings;
    int needs; /* an id without which it takes no event */
    uint32_t actions;
} features[FEATURES] = {
    {"c", "c.age", "aggregate: count, windows: [24s]", 0, UINT32_MAX},
    {"m", "m.age", "aggregate: mean, actions: [watch, like], windows: [1h]", 0, 1u << 3 | 1u << 4},
    {"x", "x.age", "aggregate: max, actions: [like], windows: [7d]", 0, 1u << 4},
    {"d", "d.age", "aggregate: decayed, actions: [watch], half_life: 1s", 0, 1u << 3},
    {"u", "u.age", "aggregate: distinct, of: user_id, windows: [6s]", PROTO_FIELD_USER_ID, UINT32_MAX},
    {"s", "s.age", "aggregate: series, actions: [like, watch], bin: 1s, bins: 3", 0, 1u << 3 | 1u << 4},
};

static void configure(struct property_trial *trial, struct rng *rng)
{
    static const int64_t retentions_s[] = {0, 1, 600, 3600, 2592000};
    struct ages *ages = trial->own;
    size_t length;

    ages->retention_ms = retentions_s[rng_below(rng, 5)] * 1000;
    ages->scenes = rng_one_in(rng, 3) ? 1u << 1 : UINT32_MAX;
    ages->where = rng_one_in(rng, 3) ? (int)rng_below(rng, 6) : 0;
    length = (size_t)snprintf(
        trial->text, sizeof trial->text,
        "entities: { item: { key: [item_id], retention: 0 }, category: { key: [category_id], retention: %llds } }\nfeatures:\n",
        (long long)ages->retention_ms / 1000);
    for (int i = 0; i < FEATURES; i++) {
        length +=
            (size_t)snprintf(trial->text + length, sizeof trial->text - length,
                             "  %s: { entity: category, %s%s, where: \"%s\", emit: [%sage] }\n", features[i].name,
                             features[i].settings, ages->scenes != UINT32_MAX ? ", scenes: [live]" : "",
                             ages->where > 0 ? stream_wheres[ages->where] : "ts_ms > 0", rng_one_in(rng, 2) ? "value, " : "");
        trial->names[trial->name_count++] = features[i].name;
    }
    trial->spans_ms[trial->span_count++] = ages->retention_ms + (ages->retention_ms == 0);
    trial->spans_ms[trial->span_count++] = 60000;
}

static bool check(const struct property_look *look)
{
    const struct ages *ages = look->trial->own;

    for (int row = 0; row < PROPERTY_ROWS; row++) {
        uint64_t category = property_id(look, row, PROTO_FIELD_CATEGORY_ID);
        bool is_present = property_is_present(look, PROTO_FIELD_CATEGORY_ID, category, ages->retention_ms);

        for (int f = 0; f < FEATURES; f++) {
            int64_t latest_ms = 0;

            for (int i = 0; i < look->count; i++) {
                const struct proto_event *event = look->events[i];

                if (event->category_id == category && (features[f].actions >> event->action & 1) != 0 &&
                    (ages->scenes >> event->scene & 1) != 0 && stream_where(ages->where, event) &&
                    (features[f].needs == 0 || proto_event_id_field(event, features[f].needs) != 0) && event->ts_ms > latest_ms)
                    latest_ms = event->ts_ms;
            }
            if (!property_equal(look, features[f].column, row, property_age(look, latest_ms, is_present, ages->retention_ms)))
                return false;
        }
    }
    return true;
}

static void an_age_is_that_of_the_latest_event_taken(void **state)
{
    static const struct property property = {
        .name = "age", .own_bytes = sizeof(struct ages), .configure = configure, .check = check};

    (void)state;
    property_run(&property);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_age_is_that_of_the_latest_event_taken)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
