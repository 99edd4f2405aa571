/* The rows of a request as they lie in the store: a head, then the lists, the wide ones first so that each is aligned. */
#include "join.h"

#include <freshet/text.h>

#include <string.h>

static size_t bytes_of(const struct learner_rows_head *head)
{
    size_t items = head->item_count;

    return sizeof *head + items * 8 * (1 + (size_t)head->sparse_count) +
           4 * (head->user_columns + items * head->item_columns + items * (head->has_positions + head->has_propensities));
}

static struct learner_rows_head head_of(const Freshet__V1__Served *served)
{
    size_t items = served->n_item_ids;
    int scene = proto_scene_number(fr_slice_of(served->scene));

    return (struct learner_rows_head){
        .format = LEARNER_ROWS_FORMAT,
        .item_count = (uint32_t)items,
        .served_ms = served->served_ms,
        .matrix = served->schema,
        .model_version = served->model_version,
        .model = served->n_sparse > 0 && served->model[0] ? fr_text_hash(served->model, strlen(served->model), 0) : 0,
        .user_columns = (uint32_t)served->n_user_values,
        .item_columns = (uint32_t)(served->n_item_values / items),
        .sparse_count = (uint32_t)(served->n_sparse / items),
        .scene = scene > 0 ? (uint32_t)scene : 0,
        .has_positions = served->n_positions > 0,
        .has_propensities = served->n_propensities > 0};
}

uint32_t learner_rows__bytes(const Freshet__V1__Served *served)
{
    struct learner_rows_head head = head_of(served);

    return (uint32_t)bytes_of(&head);
}

static uint8_t *put(uint8_t *at, const void *list, size_t bytes)
{
    if (bytes > 0)
        memcpy(at, list, bytes);
    return at + bytes;
}

void learner_rows__write(const Freshet__V1__Served *served, void *bytes)
{
    struct learner_rows_head head = head_of(served);
    uint8_t *at = put(bytes, &head, sizeof head);

    at = put(at, served->item_ids, served->n_item_ids * sizeof *served->item_ids);
    at = put(at, served->sparse, served->n_sparse * sizeof *served->sparse);
    at = put(at, served->user_values, served->n_user_values * sizeof *served->user_values);
    at = put(at, served->item_values, served->n_item_values * sizeof *served->item_values);
    at = put(at, served->propensities, served->n_propensities * sizeof *served->propensities);
    put(at, served->positions, served->n_positions * sizeof *served->positions);
}

bool learner_rows__look(struct fr_slice bytes, struct learner_rows *rows)
{
    const uint8_t *at = bytes.bytes;
    size_t items;

    if (bytes.length < sizeof rows->head)
        return false;
    memcpy(&rows->head, at, sizeof rows->head);
    items = rows->head.item_count;
    if (rows->head.format != LEARNER_ROWS_FORMAT || rows->head.has_positions > 1 || rows->head.has_propensities > 1 ||
        bytes.length != bytes_of(&rows->head))
        return false;
    rows->item_ids = (const uint64_t *)(const void *)(at + sizeof rows->head);
    rows->sparse = rows->item_ids + items;
    rows->user_values = (const float *)(const void *)(rows->sparse + items * rows->head.sparse_count);
    rows->item_values = rows->user_values + rows->head.user_columns;
    rows->propensities = rows->item_values + items * rows->head.item_columns;
    rows->positions = (const uint32_t *)(const void *)(rows->propensities + (rows->head.has_propensities ? items : 0));
    return true;
}

int learner_rows__find(const struct learner_rows *rows, uint64_t item_id)
{
    for (uint32_t i = 0; i < rows->head.item_count; i++)
        if (rows->item_ids[i] == item_id)
            return (int)i;
    return -1;
}
