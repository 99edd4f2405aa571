/*
 * Every value against an oracle that keeps all events and recomputes by the words of the contract: random catalogues and
 * streams, in random batches, pruned at random times, read at once and later, before and after a restart.
 */
#include "stream.h"

#include <math.h>

enum { STREAMS_A_CATALOGUE = 40, CATALOGUES = 26, ITEMS = 7, READS = 5 };

struct oracle {
    const struct stream_catalogue *catalogue;
    const struct proto_event *events[STREAM_EVENTS_MAX]; /* that count: duplicates are out */
    int count;
    int64_t time_ms; /* T */
};

/* ---- duplicates, by the contract's sentence ---- */

struct seen {
    int64_t ts_ms;
    uint64_t event_id, user_id;
};

static int seen_compare(const void *a, const void *b)
{
    const struct seen *x = a, *y = b;

    if (x->ts_ms != y->ts_ms)
        return x->ts_ms > y->ts_ms ? -1 : 1;
    return x->event_id > y->event_id ? -1 : x->event_id < y->event_id;
}

/* The kept of one user, greatest first, from all that were ever checked and let in. */
static int seen_kept(const struct seen *all, int count, uint64_t user_id, const struct agg_dedupe *dedupe, struct seen *kept)
{
    int found = 0;
    int keep = 0;

    for (int i = 0; i < count; i++) {
        if (all[i].user_id == user_id)
            kept[found++] = all[i];
    }
    qsort(kept, (size_t)found, sizeof *kept, seen_compare);
    while (keep < found && keep < dedupe->ids && kept[keep].ts_ms > kept[0].ts_ms - dedupe->horizon_ms)
        keep++;
    return keep;
}

static void oracle_take(struct oracle *oracle, const struct stream *stream, const struct agg_dedupe *dedupe)
{
    struct seen all[STREAM_EVENTS_MAX], kept[STREAM_EVENTS_MAX];
    int checked = 0;

    oracle->count = 0;
    for (int i = 0; i < stream->count; i++) {
        const struct proto_event *event = &stream->events[i];
        int count = seen_kept(all, checked, event->user_id, dedupe, kept);
        bool is_duplicate = false;

        for (int k = 0; k < count && event->user_id != 0 && event->event_id != 0; k++)
            is_duplicate = is_duplicate || kept[k].event_id == event->event_id;
        if (is_duplicate)
            continue;
        oracle->events[oracle->count++] = event;
        if (event->user_id != 0 && event->event_id != 0)
            all[checked++] = (struct seen){event->ts_ms, event->event_id, event->user_id};
    }
}

/* ---- values ---- */

static bool oracle_names(const struct stream_entity *entity, const struct proto_event *event, const uint64_t *ids)
{
    for (int i = 0; i < entity->key_count; i++) {
        if (ids[i] == 0 || proto_event_id_field(event, entity->key[i]) != ids[i])
            return false;
    }
    return true;
}

static bool oracle_is_present(const struct oracle *oracle, const struct stream_entity *entity, const uint64_t *ids)
{
    for (int i = 0; i < oracle->count; i++) {
        if (oracle_names(entity, oracle->events[i], ids) &&
            (entity->retention_ms == 0 || oracle->time_ms - oracle->events[i]->ts_ms < entity->retention_ms))
            return true;
    }
    return false;
}

static bool oracle_takes(const struct stream_feature *feature, const struct proto_event *event)
{
    return (feature->actions >> event->action & 1) != 0 && (feature->scenes >> event->scene & 1) != 0 &&
           stream_where(feature->where, event);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static float oracle_value(const struct oracle *oracle, const struct stream_feature *feature, int64_t window_ms,
                          const uint64_t *ids)
{
    static const int64_t levels[] = {86400000, 21600000, 3600000, 600000, 60000, 10000, 1000};
    const struct stream_entity *entity = &oracle->catalogue->entities[feature->entity];
    __int128 sum = 0;
    int64_t level = 0;
    bool has_any = false;

    if (!oracle_is_present(oracle, entity, ids))
        return 0;
    for (int i = 0; i < 7 && level == 0; i++) {
        if (window_ms % levels[i] == 0 && window_ms / levels[i] >= 24)
            level = levels[i];
    }
    for (int i = 0; i < oracle->count; i++) {
        const struct proto_event *event = oracle->events[i];
        int64_t amount, age = floor_div(oracle->time_ms, level) - floor_div(event->ts_ms, level);

        if (age < 0 || age >= window_ms / level || !oracle_names(entity, event, ids) || !oracle_takes(feature, event))
            continue;
        amount = llround((feature->kind == 1 || feature->kind == 4 ? event->value : event->duration_s) * 1e6);
        if (feature->kind < 4)
            sum += feature->kind == 0 ? 1 : amount;
        else if (!has_any || (feature->kind == 4 ? amount < sum : amount > sum))
            sum = amount;
        has_any = true;
    }
    if (feature->kind == 0)
        return (float)(int64_t)sum;
    if (sum > INT64_MAX || sum < INT64_MIN)
        sum = sum > 0 ? INT64_MAX : INT64_MIN;
    return (float)((__float128)(int64_t)sum / 1000000);
}

/* The value of an attribute as bits of the event's field. */
static uint64_t attribute_bits(const struct proto_event *event, int field)
{
    uint64_t bits;

    if (field != PROTO_FIELD_DURATION_S)
        return proto_event_id_field(event, field);
    memcpy(&bits, &event->duration_s, sizeof bits);
    return bits;
}

static uint64_t oracle_attribute(const struct oracle *oracle, uint64_t item, int field)
{
    const struct stream_entity *entity = &oracle->catalogue->entities[1];
    const struct proto_event *latest = NULL;

    for (int i = 0; i < oracle->count; i++) {
        const struct proto_event *event = oracle->events[i];

        if (item != 0 && event->item_id == item && attribute_bits(event, field) != 0 &&
            (!latest || proto_event_compare(event, latest) > 0))
            latest = event;
    }
    if (!latest || (entity->retention_ms > 0 && oracle->time_ms - latest->ts_ms >= entity->retention_ms))
        return 0;
    return attribute_bits(latest, field);
}

static int newest_first(const void *a, const void *b)
{
    return -proto_event_compare(*(const struct proto_event *const *)a, *(const struct proto_event *const *)b);
}

static int oracle_sequence(const struct oracle *oracle, const struct stream_feature *feature, const uint64_t *ids,
                           const struct proto_event **records)
{
    const struct stream_entity *entity = &oracle->catalogue->entities[feature->entity];
    int count = 0;
    int live = 0;

    for (int i = 0; i < oracle->count; i++) {
        if (oracle_names(entity, oracle->events[i], ids) && oracle_takes(feature, oracle->events[i]))
            records[count++] = oracle->events[i];
    }
    qsort(records, (size_t)count, sizeof *records, newest_first);
    while (live < count && live < feature->limit &&
           (entity->retention_ms == 0 || oracle->time_ms - records[live]->ts_ms < entity->retention_ms))
        live++;
    return live;
}

/* ---- the comparison ---- */

/* The ids of a row's entity, from the item's remembered attributes and the request. */
static void row_ids(const struct oracle *oracle, const struct stream_entity *entity, const struct agg_request *request,
                    uint64_t item, uint64_t *ids)
{
    for (int i = 0; i < entity->key_count; i++) {
        switch (entity->key[i]) {
        case PROTO_FIELD_USER_ID:
            ids[i] = request->user_id;
            break;
        case PROTO_FIELD_ITEM_ID:
            ids[i] = item;
            break;
        default:
            ids[i] = oracle_attribute(oracle, item, entity->key[i]);
            if (entity->key[i] == PROTO_FIELD_ROOM_ID && request->room_id != 0)
                ids[i] = request->room_id;
        }
    }
}

static void check_value(const struct oracle *oracle, const struct stream_feature *feature, int64_t window_ms,
                        const uint64_t *ids, float ours)
{
    float theirs = oracle_value(oracle, feature, window_ms, ids);

    if (memcmp(&ours, &theirs, sizeof ours) != 0 && !(ours == 0 && theirs == 0))
        fail_msg("%s.%llds of %llu at %lld: %.9g, should be %.9g\n%s", feature->name, (long long)window_ms / 1000,
                 (unsigned long long)ids[0], (long long)oracle->time_ms, (double)ours, (double)theirs, oracle->catalogue->text);
}

static bool is_of_user(const struct stream_entity *entity)
{
    return entity->key_count == 1 && entity->key[0] == PROTO_FIELD_USER_ID;
}

static void check_columns(const struct oracle *oracle, const struct agg_request *request, const struct agg_reply *reply,
                          int width)
{
    uint64_t user[3] = {request->user_id};
    int user_column = 0, item_column = 0;

    for (int f = 0; f < oracle->catalogue->feature_count; f++) {
        const struct stream_feature *feature = &oracle->catalogue->features[f];
        const struct stream_entity *entity = &oracle->catalogue->entities[feature->entity];

        for (int w = 0; w < feature->window_count; w++) {
            if (is_of_user(entity)) {
                check_value(oracle, feature, feature->windows_ms[w], user, reply->user_values[user_column++]);
                continue;
            }
            for (int row = 0; row < request->item_count; row++) {
                uint64_t ids[3];

                row_ids(oracle, entity, request, request->item_ids[row], ids);
                check_value(oracle, feature, feature->windows_ms[w], ids, reply->item_values[row * width + item_column]);
            }
            item_column++;
        }
    }
    assert_int_equal(item_column, width);
}

static void check_field(const struct agg_values *values, int field, const struct proto_event *const *records, int count)
{
    assert_string_equal(values->name, proto_field_name(field));
    assert_int_equal(values->count, count);
    for (int i = 0; i < count; i++) {
        double number = 0;

        assert_true(proto_event_number_field(records[i], field, &number));
        if (values->ids)
            assert_true(values->ids[i] == proto_event_id_field(records[i], field));
        else
            assert_true((values->ints ? (double)values->ints[i] : values->numbers[i]) == number);
    }
}

static void check_sequence(const struct oracle *oracle, const struct stream_feature *feature, const uint64_t *ids,
                           const struct agg_sequence *sequence)
{
    const struct proto_event *records[STREAM_EVENTS_MAX];
    int count = oracle_sequence(oracle, feature, ids, records);

    assert_int_equal(sequence->field_count, feature->field_count);
    for (int i = 0; i < feature->field_count; i++)
        check_field(&sequence->fields[i], feature->fields[i], records, count);
}

/* Each sequence that came, and that every row whose entity has a key has one. */
static void check_sequences(const struct oracle *oracle, const struct agg_request *request, const struct agg_reply *reply)
{
    int rows_served = 0, rows_due = 0;

    for (int s = 0; s < reply->sequence_count; s++) {
        const struct agg_sequence *sequence = &reply->sequences[s];
        const struct stream_feature *feature = &oracle->catalogue->features[atoi(sequence->name + 1)];
        const struct stream_entity *entity = &oracle->catalogue->entities[feature->entity];
        uint64_t ids[3] = {request->user_id};

        if (is_of_user(entity)) {
            assert_int_equal(sequence->row_count, 0);
            check_sequence(oracle, feature, ids, sequence);
            rows_served++;
            continue;
        }
        for (int r = 0; r < sequence->row_count; r++) {
            row_ids(oracle, entity, request, request->item_ids[sequence->rows[r]], ids);
            assert_true(sequence->key == ids[entity->key[0] == PROTO_FIELD_USER_ID]);
            check_sequence(oracle, feature, ids, sequence);
            rows_served++;
        }
    }
    for (int f = 0; f < oracle->catalogue->feature_count; f++) {
        const struct stream_entity *entity = &oracle->catalogue->entities[oracle->catalogue->features[f].entity];

        if (oracle->catalogue->features[f].kind != 3)
            continue;
        rows_due += is_of_user(entity);
        for (int row = 0; row < request->item_count && !is_of_user(entity); row++) {
            uint64_t ids[3] = {1, 1, 1};

            row_ids(oracle, entity, request, request->item_ids[row], ids);
            rows_due += ids[0] != 0 && ids[1] != 0 && ids[2] != 0;
        }
    }
    assert_int_equal(rows_served, rows_due);
}

static void check_items(const struct oracle *oracle, const struct agg_request *request, const struct agg_reply *reply)
{
    static const int fields[] = {PROTO_FIELD_CREATOR_ID, PROTO_FIELD_ROOM_ID, PROTO_FIELD_CATEGORY_ID, PROTO_FIELD_DURATION_S};

    assert_int_equal(reply->user_present, oracle_is_present(oracle, &oracle->catalogue->entities[0], &request->user_id));
    assert_int_equal(reply->item_field_count, 4);
    for (int row = 0; row < request->item_count; row++) {
        uint64_t item = request->item_ids[row];

        assert_int_equal(reply->item_present[row], oracle_is_present(oracle, &oracle->catalogue->entities[1], &item));
        for (int i = 0; i < 4; i++) {
            uint64_t bits = oracle_attribute(oracle, item, fields[i]);
            double number;

            memcpy(&number, &bits, sizeof number);
            if (i == 1 && request->room_id != 0)
                bits = request->room_id;
            if (i == 3)
                assert_true(reply->item_fields[i].numbers[row] == number);
            else
                assert_true(reply->item_fields[i].ids[row] == bits);
        }
    }
}

static void check_at(struct node *node, const struct agg_plan *plan, const struct oracle *oracle, uint64_t base, uint64_t user,
                     uint64_t room)
{
    uint64_t items[ITEMS] = {base + 2, base + 1, 0, base + 3, base + 1, base + 900, base + 4};
    struct agg_request request = {
        .user_id = user, .item_ids = items, .item_count = ITEMS, .room_id = room, .time_ms = oracle->time_ms};
    struct agg_reply reply = node_read(node, plan, &request);
    const char *const *columns;

    check_columns(oracle, &request, &reply, agg_plan_item_columns(plan, &columns));
    check_sequences(oracle, &request, &reply);
    check_items(oracle, &request, &reply);
}

/* All of it at some moments from `from_ms` on. */
static void check_stream(struct node *node, const struct stream_catalogue *catalogue, const struct stream *stream,
                         int64_t from_ms, struct rng *rng)
{
    static const int64_t later_ms[] = {1, 37000, 600000, 7200000, 90000000, INT64_C(3000000000)};
    char *names[STREAM_FEATURES + 4] = {"item.creator_id", "item.room_id", "item.category_id", "item.duration_s"};
    char features[STREAM_FEATURES][16];
    const struct agg_plan *plan;
    struct oracle oracle = {.catalogue = catalogue};
    int64_t greatest_ms = from_ms;

    for (int i = 0; i < catalogue->feature_count; i++) {
        memcpy(features[i], catalogue->features[i].name, sizeof features[i]);
        names[4 + i] = features[i];
    }
    plan = node_plan(node, "", names, 4 + catalogue->feature_count);
    oracle_take(&oracle, stream, &node->dedupe);
    for (int i = 0; i < stream->count; i++)
        greatest_ms = stream->events[i].ts_ms > greatest_ms ? stream->events[i].ts_ms : greatest_ms;
    for (int i = 0; i < READS; i++) {
        uint64_t user = stream->base + (uint64_t)rng_below(rng, 5);

        oracle.time_ms = i == 0 ? from_ms : (i == 1 ? greatest_ms : greatest_ms + rng_below(rng, later_ms[rng_below(rng, 6)]));
        if (i == 2 && greatest_ms > from_ms) /* events after T wait for their time */
            oracle.time_ms = from_ms + rng_below(rng, greatest_ms - from_ms);
        if (i == READS - 1) { /* the very moment at which something is gone */
            int64_t edge_ms = stream->events[rng_below(rng, stream->count)].ts_ms - rng_below(rng, 2) +
                              catalogue->entities[rng_below(rng, STREAM_ENTITIES)].retention_ms;

            oracle.time_ms = edge_ms > greatest_ms ? edge_ms : greatest_ms;
        }
        check_at(node, plan, &oracle, stream->base, user == stream->base ? 0 : user,
                 rng_one_in(rng, 3) ? stream->base + (uint64_t)rng_below(rng, 3) : 0);
    }
}

/* In random batches; the horizon follows the greatest time at some distance, never back. Returns the last one. */
static int64_t apply_stream(struct node *node, const struct stream *stream, struct rng *rng)
{
    int64_t behind_ms = rng_one_in(rng, 2) ? 0 : rng_below(rng, 7200000);
    int64_t horizon_ms = -behind_ms, greatest_ms = 0;
    enum agg_outcome outcomes[STREAM_EVENTS_MAX];
    int at = 0;

    while (at < stream->count) {
        int count = 1 + (int)rng_below(rng, rng_one_in(rng, 3) ? 100 : 8);

        if (count > stream->count - at)
            count = stream->count - at;
        for (int i = at; i < at + count; i++)
            greatest_ms = stream->events[i].ts_ms > greatest_ms ? stream->events[i].ts_ms : greatest_ms;
        if (greatest_ms - behind_ms > horizon_ms && !rng_one_in(rng, 4))
            horizon_ms = greatest_ms - behind_ms;
        node_apply(node, stream->events + at, count, horizon_ms, outcomes);
        at += count;
        if (rng_one_in(rng, 200))
            node_commit(node);
        if (rng_one_in(rng, 400)) { /* what follows is added to state that was read back */
            node_commit(node);
            node_restart(node);
        }
    }
    return horizon_ms;
}

static const char *const kinds[] = {"count", "sum", "sum", "last", "min", "max"};

/* `told`: streams by kind, added to. */
static void check_catalogue(uint64_t seed, int64_t told[6])
{
    bool is_met[6] = {false};
    struct rng rng = {seed};
    struct stream_catalogue catalogue;
    struct stream *streams = calloc(STREAMS_A_CATALOGUE, sizeof *streams);
    int64_t horizons[STREAMS_A_CATALOGUE];
    struct agg_dedupe dedupe = {.ids = (int)(seed % 3 == 0 ? 3 : 64), .horizon_ms = seed % 2 == 0 ? 600000 : 86400000};
    struct node node;

    assert_non_null(streams);
    stream_catalogue_make(&catalogue, &rng);
    for (int f = 0; f < catalogue.feature_count; f++) {
        int kind = catalogue.features[f].kind == 2 ? 1 : catalogue.features[f].kind;

        told[kind] += is_met[kind] ? 0 : STREAMS_A_CATALOGUE;
        is_met[kind] = true;
    }
    node = node_new(catalogue.text, dedupe);
    for (int i = 0; i < STREAMS_A_CATALOGUE; i++) {
        stream_make(&streams[i], &rng, (uint64_t)(i + 1) * 1000);
        horizons[i] = apply_stream(&node, &streams[i], &rng);
        check_stream(&node, &catalogue, &streams[i], horizons[i], &rng);
    }
    node_commit(&node);
    node_restart(&node);
    for (int i = 0; i < STREAMS_A_CATALOGUE; i++)
        check_stream(&node, &catalogue, &streams[i], horizons[i], &rng);
    node_free(&node);
    free(streams);
}

static void every_value_is_what_its_definition_says(void **state)
{
    const char *seed = getenv("FRESHET_TEST_SEED");
    uint64_t first = seed ? strtoull(seed, NULL, 10) : 1;
    int64_t goal = stream_goal(CATALOGUES * STREAMS_A_CATALOGUE), told[6] = {0};

    (void)state;
    for (int64_t i = 0; i * STREAMS_A_CATALOGUE < goal; i++) {
        print_message("seed %llu\n", (unsigned long long)first + (unsigned long long)i);
        check_catalogue(first + (uint64_t)i, told);
    }
    for (int kind = 0; kind < 6; kind++) {
        if (told[kind] > 0)
            stream_told(kinds[kind], told[kind]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_is_what_its_definition_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
