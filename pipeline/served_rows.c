/* Which rows of a reply are logged, and how they lie in a record of the served topic. */
#include "services.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LOGGED_ROWS = 32 };

struct ranked { /* a row */
    float score;
    int row;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* All rows, the best first. */
static struct ranked *rank(const struct pipeline_rows *rows, struct fr_arena *arena)
{
    struct ranked *ranked = fr_arena_take(arena, (rows->items + 1) * sizeof *ranked);

    for (size_t i = 0; ranked && i < rows->items; i++)
        ranked[i] = (struct ranked){.score = rows->scores ? rows->scores[i] : 0, .row = (int)i};
    if (ranked && rows->scores && rows->items > 1)
        qsort(ranked, rows->items, sizeof *ranked, compare_ranked);
    return ranked;
}

/* Places in `ranked` of the rows to be logged; −1: one of log_items is not there. */
static int choose(const struct pipeline_rows *rows, const struct ranked *ranked, int *places, struct fr_err *err)
{
    size_t count = rows->items < LOGGED_ROWS ? rows->items : LOGGED_ROWS;

    if (rows->log_items_count == 0) {
        for (size_t i = 0; i < count; i++)
            places[i] = (int)i;
        return (int)count;
    }
    for (size_t i = 0; i < rows->log_items_count; i++) {
        size_t at = 0;

        while (at < rows->items && rows->item_ids[ranked[at].row] != rows->log_items[i])
            at++;
        if (at == rows->items) {
            fr_fail(err, FR_BAD_INPUT, "log_items[%zu]: %" PRIu64 " is not among item_ids", i, rows->log_items[i]);
            return -1;
        }
        places[i] = (int)at;
    }
    return (int)rows->log_items_count;
}

static bool make_lists(const struct pipeline_rows *rows, size_t count, struct fr_arena *arena, Freshet__V1__Served *served)
{
    served->n_item_ids = count;
    served->n_item_values = count * rows->item_columns;
    served->n_sparse = rows->sparse ? count * rows->sparse_columns : 0;
    served->n_positions = rows->scores ? count : 0;
    served->item_ids = fr_arena_take(arena, (count + 1) * sizeof *served->item_ids);
    served->item_values = fr_arena_take(arena, (served->n_item_values + 1) * sizeof *served->item_values);
    served->sparse = fr_arena_take(arena, (served->n_sparse + 1) * sizeof *served->sparse);
    served->positions = fr_arena_take(arena, (count + 1) * sizeof *served->positions);
    return served->item_ids && served->item_values && served->sparse && served->positions;
}

static void put_row(const struct pipeline_rows *rows, int row, int place, size_t i, Freshet__V1__Served *served)
{
    size_t columns = rows->item_columns, sparse = rows->sparse_columns;

    served->item_ids[i] = rows->item_ids[row];
    if (columns > 0)
        memcpy(served->item_values + i * columns, rows->item_values + (size_t)row * columns,
               columns * sizeof *served->item_values);
    if (served->n_sparse > 0)
        memcpy(served->sparse + i * sparse, rows->sparse + (size_t)row * sparse, sparse * sizeof *served->sparse);
    if (served->n_positions > 0)
        served->positions[i] = (uint32_t)place + 1;
}

bool pipeline_rows__log(struct pipeline_served_log *log, const struct pipeline_rows *rows, struct fr_arena *arena,
                        struct fr_err *err)
{
    size_t most = rows->log_items_count > LOGGED_ROWS ? rows->log_items_count : LOGGED_ROWS;
    struct ranked *ranked = rank(rows, arena);
    int *places = fr_arena_take(arena, most * sizeof *places), count;
    Freshet__V1__Served served;

    if (!ranked || !places)
        return fr_fail(err, FR_EXHAUSTED, "log: the rows are larger than a call may be; log fewer items");
    count = choose(rows, ranked, places, err);
    if (count < 0)
        return false;
    freshet__v1__served__init(&served);
    served.request_id = rows->request_id;
    served.user_id = rows->user_id;
    served.served_ms = rows->time_ms > 0 ? rows->time_ms : 1;
    served.scene = (char *)(uintptr_t)rows->scene; /* only read */
    served.model = (char *)(uintptr_t)rows->model;
    served.model_version = rows->model_version;
    served.schema = rows->schema;
    served.user_values = rows->user_values;
    served.n_user_values = rows->user_columns;
    if (rows->exact->offsets) {
        served.applied = rows->exact->offsets;
        served.n_applied = rows->exact->count;
        served.room_id = rows->room_id;
    }
    if (!make_lists(rows, (size_t)count, arena, &served))
        return fr_fail(err, FR_EXHAUSTED, "log: the rows are larger than a call may be; log fewer items");
    for (int i = 0; i < count; i++)
        put_row(rows, ranked[places[i]].row, places[i], (size_t)i, &served);
    pipeline_served_log__put(log, &served);
    return true;
}
