/*
 * AdminService.Explain: the panes, blocks or records behind one value, and the offsets that it covers.
 */
#include "services.h"

#include <freshet/v1/admin.pb-c.h>

#include <inttypes.h>

enum { EXPLAIN_ATTEMPTS = 5 };

static bool fail_exhausted(struct fr_err *err)
{
    return fr_fail(err, FR_EXHAUSTED, "the explanation is larger than a call may be; ask for one window, as in 'f.5m'");
}

static Freshet__V1__EntityKey *make_key(const struct agg_operand *operand, struct fr_arena *arena)
{
    Freshet__V1__EntityKey *key = fr_arena_take(arena, sizeof *key);
    uint64_t *ids = fr_arena_take_zeroed(arena, STORE_KEY_IDS_MAX, sizeof *ids);

    if (!key || !ids)
        return NULL;
    freshet__v1__entity_key__init(key);
    key->entity = (char *)operand->feature.entity;
    key->key = memcpy(ids, operand->ids, sizeof operand->ids);
    key->n_key = (size_t)operand->id_count;
    return key;
}

/* The names of the windows that the piece counts in. */
static bool put_windows(const struct agg_operand *operand, const struct agg_piece *piece, struct fr_arena *arena,
                        Freshet__V1__ExplainedPane *pane)
{
    pane->windows = fr_arena_take(arena, (size_t)(operand->window_count + 1) * sizeof *pane->windows);
    for (int i = 0; i < operand->window_count && pane->windows; i++) {
        if ((piece->windows >> i & 1) != 0)
            pane->windows[pane->n_windows++] = (char *)operand->windows[i];
    }
    return pane->windows != NULL;
}

static Freshet__V1__ExplainedPane **make_panes(const struct agg_operand *operand, struct fr_arena *arena)
{
    size_t count = (size_t)operand->piece_count;
    Freshet__V1__ExplainedPane *panes = fr_arena_take(arena, (count + 1) * sizeof *panes);
    Freshet__V1__ExplainedPane **list = fr_arena_take(arena, (count + 1) * sizeof *list);

    if (!panes || !list)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        const struct agg_piece *piece = &operand->pieces[i];

        freshet__v1__explained_pane__init(&panes[i]);
        panes[i].start_ms = piece->start_ms;
        panes[i].span_ms = piece->span_ms;
        panes[i].value = piece->value;
        panes[i].count = piece->count;
        panes[i].form = (char *)piece->form;
        if (!put_windows(operand, piece, arena, &panes[i]))
            return NULL;
        list[i] = &panes[i];
    }
    return list;
}

/* Of the windows that are asked for. */
static void put_values(const struct agg_operand *from, Freshet__V1__ExplainedOperand *operand)
{
    for (int i = 0; i < from->window_count; i++) {
        if ((from->asked >> i & 1) == 0)
            continue;
        operand->windows[operand->n_windows++] = (char *)from->windows[i];
        operand->values[operand->n_values++] = from->values[i];
    }
}

static bool put_operands(const struct agg_explanation *explanation, struct fr_arena *arena,
                         Freshet__V1__ExplainResponse *response)
{
    size_t count = (size_t)explanation->operand_count;
    Freshet__V1__ExplainedOperand *operands = fr_arena_take(arena, (count + 1) * sizeof *operands);

    response->operands = fr_arena_take(arena, (count + 1) * sizeof *response->operands);
    if (!operands || !response->operands)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct agg_operand *from = &explanation->operands[i];

        freshet__v1__explained_operand__init(&operands[i]);
        operands[i].of = (char *)from->of;
        operands[i].side = (char *)from->side;
        operands[i].feature = (char *)from->feature.name;
        operands[i].entity = make_key(from, arena);
        operands[i].present = from->is_present;
        operands[i].latest_event_ms = from->latest_ms;
        operands[i].generation = from->feature.generation;
        operands[i].complete_from_ms = from->feature.complete_from_ms;
        operands[i].windows = fr_arena_take(arena, (size_t)(from->window_count + 1) * sizeof(char *));
        operands[i].values = fr_arena_take(arena, (size_t)(from->window_count + 1) * sizeof(double));
        operands[i].panes = make_panes(from, arena);
        operands[i].n_panes = (size_t)from->piece_count;
        if (!operands[i].entity || !operands[i].panes || !operands[i].windows || !operands[i].values)
            return false;
        put_values(from, &operands[i]);
        response->operands[i] = &operands[i];
    }
    response->n_operands = count;
    return true;
}

static bool put_events(const struct agg_explanation *explanation, struct fr_arena *arena,
                       Freshet__V1__ExplainResponse *response)
{
    size_t count = (size_t)explanation->record_count;
    Freshet__V1__ExplainedEvent *events = fr_arena_take(arena, (count + 1) * sizeof *events);

    response->events = fr_arena_take(arena, (count + 1) * sizeof *response->events);
    if (!events || !response->events)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct agg_record *record = &explanation->records[i];

        freshet__v1__explained_event__init(&events[i]);
        events[i].event_id = record->event_id;
        events[i].ts_ms = record->ts_ms;
        events[i].action =
            (char *)(record->action > 0 && record->action < PROTO_ACTIONS ? proto_action_name(record->action) : "");
        events[i].value = record->value;
        events[i].item_id = record->item_id;
        events[i].matched = record->matched;
        response->events[i] = &events[i];
    }
    response->n_events = count;
    return true;
}

static bool put_explanation(const struct agg_explanation *explanation, struct fr_arena *arena,
                            Freshet__V1__ExplainResponse *response)
{
    const struct agg_operand *self = &explanation->self;

    response->columns = (char **)explanation->columns;
    response->n_columns = (size_t)explanation->column_count;
    response->values = explanation->values;
    response->n_values = (size_t)explanation->column_count;
    response->feature = (char *)self->feature.name;
    response->aggregate = (char *)self->feature.aggregate;
    response->present = self->is_present;
    response->latest_event_ms = self->latest_ms;
    response->generation = self->feature.generation;
    response->complete_from_ms = self->feature.complete_from_ms;
    response->entity = make_key(self, arena);
    response->panes = make_panes(self, arena);
    response->n_panes = (size_t)self->piece_count;
    response->fields = pipeline_features__fields(arena, explanation->sequence.fields, explanation->sequence.field_count);
    response->n_fields = (size_t)explanation->sequence.field_count;
    if (explanation->operand_count > 0) {
        response->strength = explanation->strength;
        response->priors = explanation->priors;
        response->n_priors = (size_t)explanation->column_count;
    }
    if (explanation->sequence.name && strcmp(explanation->sequence.name, self->feature.name) != 0)
        response->searched = (char *)explanation->sequence.name;
    return response->entity && response->panes && response->fields && put_operands(explanation, arena, response) &&
           put_events(explanation, arena, response);
}

static bool check(const Freshet__V1__ExplainRequest *request, struct pipeline_services *services, struct fr_err *err)
{
    if (atomic_load(&services->is_closing))
        return fr_fail(err, FR_UNAVAILABLE, "the node is shutting down; ask another one or retry");
    if (!request->entity)
        return fr_fail(err, FR_BAD_INPUT, "entity: missing; name the kind and the key, {\"entity\":\"item\",\"key\":[7]}");
    if (request->entity->n_key > STORE_KEY_IDS_MAX)
        return fr_fail(err, FR_BAD_INPUT, "entity.key: %zu ids given; no key has more than %d", request->entity->n_key,
                       STORE_KEY_IDS_MAX);
    if (request->as_of_ms < 0 || request->as_of_ms >= PROTO_TS_MS_END)
        return fr_fail(err, FR_BAD_INPUT, "as_of_ms: %" PRId64 " is not a time; use Unix milliseconds, or 0 for now",
                       request->as_of_ms);
    return true;
}

/* As features are read: again when the horizon overtook T meanwhile. */
static bool explain(struct pipeline_services *services, const Freshet__V1__ExplainRequest *request, struct fr_arena *arena,
                    struct agg_explanation *explanation, Freshet__V1__ExplainResponse *response, struct fr_err *err)
{
    struct agg_question question = {.entity = request->entity->entity,
                                    .key = request->entity->key,
                                    .key_count = (int)request->entity->n_key,
                                    .feature = request->feature};

    for (int attempt = 0; attempt < EXPLAIN_ATTEMPTS; attempt++) {
        struct pipeline_now now = pipeline_stream__now(services->stream);
        struct store_visit visit;
        bool is_told;

        if (!pipeline_features__time(request->as_of_ms, &now, &question.time_ms, err))
            return false;
        /* Taken before the value, so that it covers at least these. */
        response->offsets = pipeline_admin__offsets(services, arena, &response->n_offsets);
        if (!response->offsets)
            return fail_exhausted(err);
        visit = store_visit_enter(services->store);
        is_told = agg_explain(services->agg, &question, arena, explanation, err);
        store_visit_leave(services->store, visit);
        if (!is_told)
            return false;
        response->stream_time_ms = now.stream_time_ms;
        response->read_time_ms = question.time_ms;
        if (pipeline_stream__horizon(services->stream) <= question.time_ms)
            return true;
    }
    return fr_fail(err, FR_UNAVAILABLE, "the stream's time ran ahead of %d attempts to read; retry", EXPLAIN_ATTEMPTS);
}

bool pipeline_admin__explain(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **answer,
                             struct fr_err *err)
{
    struct pipeline_services *services = user;
    const Freshet__V1__ExplainRequest *request = (const Freshet__V1__ExplainRequest *)message;
    Freshet__V1__ExplainResponse *response = fr_arena_take(call->arena, sizeof *response);
    struct agg_explanation explanation;
    struct store_stats stats;
    uint64_t user_id;
    int64_t user_time_ms;

    if (!response)
        return fail_exhausted(err);
    freshet__v1__explain_response__init(response);
    if (!check(request, services, err))
        return false;
    user_id = pipeline_serving__user_of(services, request->entity);
    if (!pipeline_serving__check_user(services, user_id, err))
        return false;
    user_time_ms = pipeline_serving__user_time(services, user_id);
    if (!explain(services, request, call->arena, &explanation, response, err))
        return false;
    if (user_time_ms < response->stream_time_ms)
        response->stream_time_ms = user_time_ms;
    if (!put_explanation(&explanation, call->arena, response))
        return fail_exhausted(err);
    store_stats_read(services->store, &stats);
    response->epoch = stats.epoch;
    *answer = &response->base;
    return true;
}
