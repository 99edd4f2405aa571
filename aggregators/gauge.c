/*
 * `gauge`: how many users are on: those whose latest event of the ups and downs, by the total order, is an up whose pane is inside the
 * time-out. A user's latest event counts before T reaches it too: an up of the future hides the one before.
 *
 * In memory: a head, a table of users (open addressing), and after it the ups of each pane, ascending, so that a read adds up panes
 * and never looks at users. A user whose latest event no read can count is dropped when the table would grow: whatever comes for
 * him is either later, or counts as little.
 */
#include "type.h"

#include <freshet/text.h>

#include <stdlib.h>

enum { CAPACITY_LEAST = 8 };

static const int64_t NEVER_MS = -(INT64_C(1) << 50); /* of a horizon: nothing is over */

struct head {
    uint32_t users, capacity, panes;
    uint32_t calm; /* prunings that found nobody on, since all users were last looked at */
};

struct user {
    uint64_t user_id; /* 0: a free place */
    int64_t ts_ms;
    uint64_t event_id;
    uint32_t action, reserved;
};

struct pane {
    int64_t number;
    int64_t ups;
};

/* The cell's pieces, valid until it is resized. */
struct view {
    struct head *head;
    struct user *users;
    struct pane *panes;
};

static struct view view_of(void *memory)
{
    struct view view = {.head = memory};

    view.users = (struct user *)(void *)(view.head + 1);
    view.panes = (struct pane *)(void *)(view.users + view.head->capacity);
    return view;
}

static struct view view_of_cell(const struct agg_cell *cell)
{
    uint32_t bytes;

    return view_of(agg_cell__memory(cell, &bytes));
}

static uint32_t bytes_of(uint32_t capacity, uint32_t panes)
{
    return (uint32_t)(sizeof(struct head) + capacity * sizeof(struct user) + panes * sizeof(struct pane));
}

static bool is_up(const struct agg_feature *feature, const struct user *user)
{
    return (feature->ups >> user->action & 1) != 0;
}

static int64_t pane_of(const struct agg_feature *feature, int64_t time_ms)
{
    return agg_window__pane(time_ms, feature->timeout.level);
}

/* No read at the horizon or later counts an event of this time. */
static bool is_over(const struct agg_feature *feature, int64_t ts_ms, const struct agg_moment *horizon)
{
    return pane_of(feature, ts_ms) <= horizon->pane[feature->timeout.level] - feature->timeout.panes;
}

/* ---- panes ---- */

/* Adds to the ups of the pane, which is made when it isn't there. False: out of memory. */
static bool count_up(struct agg_cell *cell, int64_t number, int64_t ups)
{
    struct view view = view_of_cell(cell);
    uint32_t at = view.head->panes;

    while (at > 0 && view.panes[at - 1].number > number)
        at--;
    if (at == 0 || view.panes[at - 1].number != number) {
        if (!agg_cell__resize(cell, bytes_of(view.head->capacity, view.head->panes + 1)))
            return false;
        view = view_of_cell(cell);
        memmove(&view.panes[at + 1], &view.panes[at], (view.head->panes - at) * sizeof *view.panes);
        view.panes[at] = (struct pane){.number = number};
        view.head->panes++;
        at++;
    }
    view.panes[at - 1].ups += ups;
    return true;
}

/* ---- users ---- */

static struct user *user_find(const struct view *view, uint64_t user_id)
{
    uint32_t mask = view->head->capacity - 1;
    uint32_t at = (uint32_t)fr_text_hash(&user_id, sizeof user_id, 0) & mask;

    while (view->users[at].user_id != 0 && view->users[at].user_id != user_id)
        at = (at + 1) & mask;
    return &view->users[at];
}

/* A table with room for more, without users that no longer matter. False: out of memory. */
static bool grow(struct agg_cell *cell, const struct agg_moment *horizon)
{
    struct view view = view_of_cell(cell);
    uint32_t capacity = CAPACITY_LEAST, kept = 0, panes = view.head->panes;
    struct user *users = malloc((view.head->users + 1) * sizeof *users);
    struct pane *pane_copy = malloc((panes + 1) * sizeof *pane_copy);

    for (uint32_t i = 0; users && i < view.head->capacity; i++) {
        if (view.users[i].user_id != 0 && !is_over(cell->feature, view.users[i].ts_ms, horizon))
            users[kept++] = view.users[i];
    }
    while (capacity < kept * 2)
        capacity *= 2;
    if (users && pane_copy)
        memcpy(pane_copy, view.panes, panes * sizeof *pane_copy);
    if (!users || !pane_copy || !agg_cell__resize(cell, bytes_of(capacity, panes))) {
        free(users);
        free(pane_copy);
        return false;
    }
    view = view_of_cell(cell);
    *view.head = (struct head){.users = kept, .capacity = capacity, .panes = panes};
    view = view_of_cell(cell);
    memset(view.users, 0, capacity * sizeof *view.users);
    for (uint32_t i = 0; i < kept; i++)
        *user_find(&view, users[i].user_id) = users[i];
    memcpy(view.panes, pane_copy, panes * sizeof *pane_copy);
    free(users);
    free(pane_copy);
    return true;
}

static bool is_later(const struct user *a, const struct user *b)
{
    if (a->ts_ms != b->ts_ms)
        return a->ts_ms > b->ts_ms;
    return a->event_id != b->event_id ? a->event_id > b->event_id : a->action > b->action;
}

/* Puts the user's event in place of an earlier one. */
static enum agg_added put(struct agg_cell *cell, const struct user *given, const struct agg_moment *horizon)
{
    const struct agg_feature *feature = cell->feature;
    struct view view = view_of_cell(cell);
    struct user *user, before;

    if ((view.head->users + 1) * 4 > view.head->capacity * 3) {
        if (!grow(cell, horizon))
            return AGG_NO_MEMORY;
        view = view_of_cell(cell);
    }
    user = user_find(&view, given->user_id);
    before = *user;
    if (before.user_id != 0 && !is_later(given, &before))
        return AGG_ADDED;
    view.head->users += before.user_id == 0;
    *user = *given;
    if (before.user_id != 0 && is_up(feature, &before) && !is_over(feature, before.ts_ms, horizon) &&
        !count_up(cell, pane_of(feature, before.ts_ms), -1))
        return AGG_NO_MEMORY;
    if (is_up(feature, given) && !count_up(cell, pane_of(feature, given->ts_ms), 1))
        return AGG_NO_MEMORY;
    return AGG_ADDED;
}

static bool open_cell(struct agg_cell *cell)
{
    uint32_t bytes;
    struct head *head = agg_cell__memory(cell, &bytes);

    if (head)
        return true;
    if (!agg_cell__resize(cell, bytes_of(CAPACITY_LEAST, 0)))
        return false;
    head = agg_cell__memory(cell, &bytes);
    head->capacity = CAPACITY_LEAST;
    return true;
}

static enum agg_added add(struct agg_cell *cell, const struct agg_input *input)
{
    const struct proto_event *event = input->event;
    struct user user = {.user_id = event->user_id, .ts_ms = event->ts_ms, .event_id = event->event_id, .action = event->action};

    if (is_over(cell->feature, event->ts_ms, input->horizon))
        return AGG_TOO_LATE;
    if (!open_cell(cell))
        return AGG_NO_MEMORY;
    return put(cell, &user, input->horizon);
}

/* A user's latest of both is that of one of them. */
static bool merge(struct agg_cell *into, struct fr_slice from)
{
    struct agg_moment never = agg_window__moment(NEVER_MS);
    const struct agg_moment *horizon = into->horizon ? into->horizon : &never;
    struct view view = view_of((void *)(uintptr_t)from.bytes); /* only read */

    if (!open_cell(into))
        return false;
    for (uint32_t i = 0; i < view.head->capacity; i++) {
        if (view.users[i].user_id != 0 && !is_over(into->feature, view.users[i].ts_ms, horizon) &&
            put(into, &view.users[i], horizon) == AGG_NO_MEMORY)
            return false;
    }
    return true;
}

/* ---- forgetting ---- */

static bool is_all_over(const struct agg_cell *cell, const struct view *view, const struct agg_moment *horizon)
{
    for (uint32_t i = 0; i < view->head->capacity; i++) {
        if (view->users[i].user_id != 0 && !is_over(cell->feature, view->users[i].ts_ms, horizon))
            return false;
    }
    return true;
}

/* Panes go as they pass; users when nobody is left on, or when the table grows: looking at all of them each time would cost too much. */
static void prune(struct agg_cell *cell, const struct agg_moment *horizon)
{
    struct view view = view_of_cell(cell);
    int64_t newest_over = horizon->pane[cell->feature->timeout.level] - cell->feature->timeout.panes;
    uint32_t gone = 0;

    while (gone < view.head->panes && (view.panes[gone].number <= newest_over || view.panes[gone].ups == 0))
        gone++;
    if (gone > 0) {
        view.head->panes -= gone;
        memmove(view.panes, view.panes + gone, view.head->panes * sizeof *view.panes);
        if (!agg_cell__resize(cell, bytes_of(view.head->capacity, view.head->panes)))
            return;
        view = view_of_cell(cell);
    }
    if (view.head->panes > 0 || view.head->calm++ < view.head->capacity / CAPACITY_LEAST)
        return;
    view.head->calm = 0;
    if (is_all_over(cell, &view, horizon) && !agg_cell__resize(cell, 0))
        return;
}

/* ---- disk ---- */

static int by_id(const void *a, const void *b)
{
    const struct user *x = a, *y = b;

    return x->user_id < y->user_id ? -1 : x->user_id > y->user_id;
}

static void encode(const struct agg_feature *feature, struct fr_slice memory, struct fr_buffer *disk)
{
    struct view view = view_of((void *)(uintptr_t)memory.bytes); /* only read */
    struct user *users = malloc((view.head->users + 1) * sizeof *users);
    uint32_t count = 0;
    uint64_t before = 0;

    (void)feature;
    if (!users) {
        disk->is_failed = true;
        return;
    }
    for (uint32_t i = 0; i < view.head->capacity; i++) {
        if (view.users[i].user_id != 0)
            users[count++] = view.users[i];
    }
    qsort(users, count, sizeof *users, by_id);
    if (count > 0)
        fr_buffer_append_varint(disk, count);
    for (uint32_t i = 0; i < count; i++) {
        fr_buffer_append_varint(disk, users[i].user_id - before);
        fr_buffer_append_varint(disk, (uint64_t)users[i].ts_ms);
        fr_buffer_append_fixed64(disk, users[i].event_id);
        fr_buffer_append_byte(disk, (uint8_t)users[i].action);
        before = users[i].user_id;
    }
    free(users);
}

static bool decode_user(struct fr_reader *reader, uint64_t before, struct user *user)
{
    uint64_t more = fr_reader_varint(reader), ts_ms = fr_reader_varint(reader);
    struct fr_slice action;

    user->user_id = before + more;
    user->ts_ms = (int64_t)ts_ms;
    user->event_id = fr_reader_fixed64(reader);
    action = fr_reader_bytes(reader, 1);
    if (reader->is_failed)
        return false;
    user->action = *(const uint8_t *)action.bytes;
    return more != 0 && user->user_id > before && ts_ms > 0 && ts_ms < (uint64_t)PROTO_TS_MS_END && user->action > 0 &&
           user->action < PROTO_ACTIONS;
}

static void decode(struct agg_cell *cell, struct fr_reader *reader)
{
    struct agg_moment never = agg_window__moment(NEVER_MS);
    uint64_t count = fr_reader_varint(reader);
    struct user user = {0};

    if (count == 0 || count > (uint64_t)(reader->end - reader->at) || !open_cell(cell))
        reader->is_failed = true;
    for (uint64_t i = 0; i < count && !reader->is_failed; i++) {
        if (!decode_user(reader, user.user_id, &user) || (cell->feature->actions >> user.action & 1) == 0 ||
            put(cell, &user, &never) != AGG_ADDED)
            reader->is_failed = true;
    }
}

static void digest(const struct agg_feature *feature, struct fr_slice memory, const struct agg_moment *moment,
                   struct agg_facts *facts)
{
    struct view view = view_of((void *)(uintptr_t)memory.bytes); /* only read */

    for (uint32_t i = 0; i < view.head->capacity; i++) {
        if (view.users[i].user_id != 0 && !is_over(feature, view.users[i].ts_ms, moment))
            agg_facts__add_cell(facts, feature, (const uint64_t *)&view.users[i], sizeof view.users[i] / sizeof(uint64_t));
    }
}

/* ---- value ---- */

static float value(const struct agg_feature *feature, struct fr_slice memory, const struct agg_window *window,
                   enum agg_output output, int64_t time_ms)
{
    int64_t newest = pane_of(feature, time_ms), ups = 0;
    struct view view;

    (void)window, (void)output;
    if (memory.length == 0)
        return 0;
    view = view_of((void *)(uintptr_t)memory.bytes); /* only read */
    for (uint32_t i = 0; i < view.head->panes; i++) {
        if (view.panes[i].number > newest - feature->timeout.panes && view.panes[i].number <= newest)
            ups += view.panes[i].ups;
    }
    return (float)ups;
}

static void explain(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, struct agg_pieces *pieces)
{
    int64_t newest = pane_of(feature, time_ms), span_ms = agg__level_ms[feature->timeout.level];
    struct view view;

    if (memory.length == 0)
        return;
    view = view_of((void *)(uintptr_t)memory.bytes); /* only read */
    for (uint32_t i = 0; i < view.head->panes; i++) {
        struct agg_piece piece = {
            .start_ms = view.panes[i].number * span_ms, .span_ms = span_ms, .value = (double)view.panes[i].ups};

        if (view.panes[i].ups != 0 && view.panes[i].number > newest - feature->timeout.panes && view.panes[i].number <= newest)
            agg_pieces__add(pieces, &piece);
    }
}

static int64_t bytes_most(const struct agg_feature *feature)
{
    enum { USERS = 1000 }; /* there is no most: what a thousand users take */

    return bytes_of(USERS * 2, (uint32_t)feature->timeout.panes);
}

/* ---- settings ---- */

static bool parse_gauge(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature;
    struct fr_yaml *up = fr_yaml_get(parse->map, "up"), *down = fr_yaml_get(parse->map, "down");
    uint32_t downs = 0;
    bool ok;

    if (!up)
        return agg_parse__tell(parse, parse->at, "up", "missing; name the actions that turn a user on");
    ok = agg_parse__actions(parse, "up", &feature->ups);
    ok = (!down || agg_parse__actions(parse, "down", &downs)) && ok;
    if ((feature->ups & downs) != 0)
        ok = agg_parse__tell(parse, down, "down", "an action is in 'up' too; it can't be both");
    feature->actions = feature->ups | downs;
    feature->needs = PROTO_FIELD_USER_ID;
    if (!agg_parse__seconds(parse, "timeout", &feature->timeout.span_ms))
        return false;
    feature->timeout.level = agg_window__level(feature->timeout.span_ms, AGG_PANES_LEAST);
    if (feature->timeout.level < 0)
        return agg_parse__tell(parse, fr_yaml_get(parse->map, "timeout"), "timeout", "should be at least 24s");
    feature->timeout.panes = feature->timeout.span_ms / agg__level_ms[feature->timeout.level];
    return ok;
}

static void define_gauge(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; up %x; timeout %lld", feature->ups, (long long)feature->timeout.span_ms);
}

static const struct agg_cell_type cells = {.part = STORE_PART_SKETCHES,
                                           .add = add,
                                           .merge = merge,
                                           .prune = prune,
                                           .encode = encode,
                                           .decode = decode,
                                           .digest = digest,
                                           .value = value,
                                           .explain = explain,
                                           .bytes_most = bytes_most};
static const char *const keys[] = {"up", "down", "timeout", "scenes", "where", NULL};

const struct agg_type agg_type__gauge = {.name = "gauge",
                                         .keys = keys,
                                         .emits = 1 << AGG_OUTPUT_VALUE | 1 << AGG_OUTPUT_AGE,
                                         .parse = parse_gauge,
                                         .define = define_gauge,
                                         .cells = &cells};
