/* The exposure ledger as the status tells it. */
#include "services.h"

#include <freshet/v1/admin.pb-c.h>

#include <stdio.h>

enum { COLUMN_BYTES = 160 };

static bool put_row(const struct agg_ledger_row *row, struct fr_arena *arena, Freshet__V1__LedgerRow *out)
{
    char column[COLUMN_BYTES];

    snprintf(column, sizeof column, "%s.%s", row->feature, row->window);
    freshet__v1__ledger_row__init(out);
    out->column = fr_arena_copy(arena, fr_slice_of(column));
    out->name = (char *)(uintptr_t)row->name;
    out->id = row->id;
    out->value = row->value;
    out->target = row->target;
    out->deficit = row->deficit;
    out->whole = row->whole;
    return out->column != NULL;
}

bool pipeline_ledger__put(struct pipeline_services *services, struct fr_arena *arena, Freshet__V1__StatusResponse *response)
{
    struct agg_ledger ledger;
    Freshet__V1__LedgerRow *rows;

    if (!agg_ledger_read(services->agg, pipeline_stream__now(services->stream).read_time_ms, arena, &ledger))
        return false;
    rows = fr_arena_take(arena, ((size_t)ledger.count + 1) * sizeof *rows);
    response->ledger = fr_arena_take(arena, ((size_t)ledger.count + 1) * sizeof *response->ledger);
    for (int i = 0; i < ledger.count && rows && response->ledger; i++) {
        if (!put_row(&ledger.rows[i], arena, &rows[i]))
            return false;
        response->ledger[i] = &rows[i];
    }
    response->n_ledger = (size_t)ledger.count;
    return rows && response->ledger;
}
