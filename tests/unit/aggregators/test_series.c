/* Series against the contract's words, over random streams: of rooms, read for rows, and of the user. */
#include "property.h"

enum { ACTIONS_MOST = 5 };

struct series {
    uint32_t actions[ACTIONS_MOST]; /* as listed */
    int action_count;
    int where;
    int64_t bin_ms, retention_ms;
    int bins;
};

static void configure(struct property_trial *trial, struct rng *rng)
{
    static const int64_t bins_s[] = {1, 7, 10, 60, 3600, 86400};
    static const int64_t retentions_s[] = {0, 30, 600, 2592000};
    struct series *series = trial->own;
    char actions[256] = "";
    int most = 1 + (int)rng_below(rng, ACTIONS_MOST);

    while (series->action_count < most) {
        uint32_t action = (uint32_t)(1 + rng_below(rng, 8));
        bool is_new = true;

        for (int i = 0; i < series->action_count; i++)
            is_new = is_new && series->actions[i] != action;
        if (!is_new)
            continue;
        snprintf(actions + strlen(actions), sizeof actions - strlen(actions), "%s%s", *actions ? ", " : "",
                 proto_action_name(action));
        series->actions[series->action_count++] = action;
    }
    series->where = rng_one_in(rng, 3) ? (int)rng_below(rng, 6) : 0;
    series->bin_ms = bins_s[rng_below(rng, 6)] * 1000;
    series->bins = 1 + (int)rng_below(rng, 40);
    series->retention_ms = retentions_s[rng_below(rng, 4)] * 1000;
    snprintf(trial->text, sizeof trial->text,
             "entities:\n"
             "  user: { key: [user_id], retention: %llds }\n"
             "  item: { key: [item_id], retention: 0 }\n"
             "  room: { key: [room_id], retention: %llds }\n"
             "features:\n"
             "  pulse: { entity: room, actions: [%s], aggregate: series, bin: %llds, bins: %d, where: \"%s\" }\n"
             "  habit: { entity: user, actions: [%s], aggregate: series, bin: %llds, bins: %d, where: \"%s\" }\n",
             (long long)series->retention_ms / 1000, (long long)series->retention_ms / 1000, actions,
             (long long)series->bin_ms / 1000, series->bins, series->where > 0 ? stream_wheres[series->where] : "ts_ms > 0",
             actions, (long long)series->bin_ms / 1000, series->bins,
             series->where > 0 ? stream_wheres[series->where] : "ts_ms > 0");
    trial->names[trial->name_count++] = "pulse";
    trial->names[trial->name_count++] = "habit";
    trial->spans_ms[trial->span_count++] = series->bin_ms;
    trial->spans_ms[trial->span_count++] = series->bin_ms * series->bins;
    trial->spans_ms[trial->span_count++] = series->retention_ms + 1000;
}

static int64_t count_of(const struct property_look *look, int field, uint64_t id, uint32_t action, int64_t bin)
{
    const struct series *series = look->trial->own;
    int64_t count = 0;

    for (int i = 0; i < look->count; i++) {
        const struct proto_event *event = look->events[i];

        count += proto_event_id_field(event, field) == id && event->action == action && event->ts_ms / series->bin_ms == bin &&
                 stream_where(series->where, event);
    }
    return count;
}

static bool check_one(const struct property_look *look, const struct agg_sequence *sequence, int field, uint64_t id)
{
    const struct series *series = look->trial->own;
    int bins = property_is_present(look, field, id, series->retention_ms) ? series->bins : 0;

    if (!sequence)
        return property_differs(look, "no series of %" PRIu64, id);
    if (sequence->key != id || sequence->field_count != series->action_count)
        return property_differs(look, "a series of %" PRIu64 " with %d fields", sequence->key, sequence->field_count);
    for (int a = 0; a < series->action_count; a++) {
        const struct agg_values *values = &sequence->fields[a];

        if (strcmp(values->name, proto_action_name(series->actions[a])) != 0 || values->count != bins || !values->ints)
            return property_differs(look, "field %d is %s of %d, should be %s of %d", a, values->name, values->count,
                                    proto_action_name(series->actions[a]), bins);
        for (int i = 0; i < bins; i++) {
            int64_t bin = look->time_ms / series->bin_ms - bins + 1 + i;
            int64_t count = count_of(look, field, id, series->actions[a], bin);

            if (values->ints[i] != count)
                return property_differs(look, "%s of %" PRIu64 " at %" PRId64 ", bin %d is %" PRId64 ", should be %" PRId64,
                                        values->name, id, look->time_ms, i, values->ints[i], count);
        }
    }
    return true;
}

static bool check(const struct property_look *look)
{
    for (int row = 0; row < PROPERTY_ROWS; row++) {
        uint64_t room = property_id(look, row, PROTO_FIELD_ROOM_ID);
        const struct agg_sequence *sequence = property_sequence(look, "pulse", row);

        if (room == 0 && sequence)
            return property_differs(look, "a series for row %d that has no room", row);
        if (room != 0 && !check_one(look, sequence, PROTO_FIELD_ROOM_ID, room))
            return false;
    }
    return check_one(look, property_sequence(look, "habit", -1), PROTO_FIELD_USER_ID, look->request->user_id);
}

static void a_series_counts_each_action_by_bin(void **state)
{
    static const struct property property = {
        .name = "series", .own_bytes = sizeof(struct series), .configure = configure, .check = check};

    (void)state;
    property_run(&property);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_series_counts_each_action_by_bin)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
