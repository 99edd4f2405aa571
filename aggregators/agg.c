/* The open aggregators: catalogue and store together. */
#include "merge.h"
#include "plan.h"
#include "tables.h"

#include <stdlib.h>

bool agg_open(struct agg_catalogue **catalogue, struct store *store, int64_t stream_time_ms, struct fr_metrics *metrics,
              struct agg **agg, struct fr_err *err)
{
    struct agg *opened = calloc(1, sizeof *opened);
    struct agg_plans *plans = agg_plans__new();

    if (!opened || !plans) {
        free(opened);
        agg_plans__free(plans);
        return fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory");
    }
    if (!agg_registry__open(*catalogue, store, stream_time_ms, err) || !agg_tables__register(*catalogue, store, err) ||
        !agg_tables__open(*catalogue, store, err)) {
        agg_tables__close(*catalogue);
        free(opened);
        agg_plans__free(plans);
        return false;
    }
    *opened = (struct agg){.catalogue = *catalogue, .store = store, .plans = plans};
    if (metrics)
        opened->clamped = fr_metrics_counter(metrics, "freshet_sums_clamped_total", NULL,
                                             "Sums beyond 64 bits of micro-units, read as the greatest or least that fits");
    *catalogue = NULL;
    *agg = opened;
    return true;
}

void agg_close(struct agg *agg)
{
    if (!agg)
        return;
    agg_images__free(agg->images);
    agg_plans__free(agg->plans);
    agg_tables__close(agg->catalogue);
    agg_catalogue_free(agg->catalogue);
    free(agg);
}
