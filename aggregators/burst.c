/*
 * `burst`: by how much more has been going on of late than is usual for the entity. A CUSUM over its bins (ALGORITHMS.md 16), reckoned
 * anew from them at each read, so it is a function of the events and of T: no order shows, and no alarm has to be cleared.
 */
#include "bins.h"
#include "type.h"

#include <math.h>
#include <stdlib.h>

enum { BINS_LEAST = 10, BINS_MOST = 1000, BINS_DEFAULT = 60, READY = 8 };

#define MAD_TO_SD 1.4826 /* of a normal distribution */

static enum agg_added add(struct agg_cell *cell, const struct agg_input *input)
{
    uint64_t *bin;
    enum agg_added added = agg_bins__place(cell, input, &bin);

    if (added == AGG_ADDED)
        agg_bins__counts(bin)[0]++;
    return added;
}

/* The bins that count, oldest first; gives the first that has an event. */
static int64_t fill(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, double *bins)
{
    int64_t first = agg_bins__first(feature, time_ms), found = feature->bins;
    size_t words = agg_bins__words(feature), kept = agg_bins__count(feature, memory.length);
    const uint64_t *all = memory.bytes;

    for (int64_t i = 0; i < feature->bins; i++)
        bins[i] = 0;
    for (size_t i = kept; i-- > 0;) {
        int64_t at = (int64_t)all[i * words] - first;

        if (at < 0 || at >= feature->bins)
            continue;
        bins[at] = *(const uint32_t *)(const void *)(all + i * words + 1);
        found = at;
    }
    return found;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* The lower one, when there are two. */
static double median(double *numbers, int64_t count)
{
    qsort(numbers, (size_t)count, sizeof *numbers, by_size);
    return numbers[(count - 1) / 2];
}

/* What is usual, and how far from it is. */
static double usual(const double *bins, int64_t count, double *spread)
{
    double numbers[BINS_MOST], middle;

    memcpy(numbers, bins, (size_t)count * sizeof *numbers);
    middle = median(numbers, count);
    for (int64_t i = 0; i < count; i++)
        numbers[i] = fabs(bins[i] - middle);
    *spread = fmax(sqrt(fmax(middle, 1)), MAD_TO_SD * median(numbers, count));
    return middle;
}

/* From bin to bin: what is above the usual adds up, less the slack; one that is not ends it. */
static double step(double sum, double bin, double middle, double spread, double slack)
{
    return bin > middle ? fmax(0, sum + (bin - middle) / spread - slack) : 0;
}

static float value(const struct agg_feature *feature, struct fr_slice memory, const struct agg_window *window,
                   enum agg_output output, int64_t time_ms)
{
    double bins[BINS_MOST], sum = 0, middle, spread;
    int64_t first = fill(feature, memory, time_ms, bins), whole = feature->bins - 1;

    (void)window, (void)output;
    if (whole - first < READY)
        return 0;
    middle = usual(bins + first, whole - first, &spread);
    for (int64_t i = first; i < whole; i++)
        sum = step(sum, bins[i], middle, spread, feature->slack);
    return (float)fmax(sum, step(sum, bins[whole], middle, spread, feature->slack)); /* the last is not over yet */
}

/* ---- settings ---- */

static bool parse_burst(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature;
    bool ok = agg_parse__seconds(parse, "bin", &feature->bin_ms);

    feature->bins = BINS_DEFAULT;
    feature->slack = 1;
    feature->series_count = 1;
    ok = fr_yaml_int(parse->map, "bins", BINS_LEAST, BINS_MOST, &feature->bins, parse->diagnostics) && ok;
    return fr_yaml_double(parse->map, "slack", 0, 1000, &feature->slack, parse->diagnostics) && ok;
}

static void define_burst(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; bins %lld of %lld; slack %.17g", (long long)feature->bins, (long long)feature->bin_ms,
                            feature->slack);
}

static const struct agg_cell_type cells = {.part = STORE_PART_SKETCHES,
                                           .add = add,
                                           .merge = agg_bins__merge,
                                           .prune = agg_bins__prune,
                                           .encode = agg_bins__encode,
                                           .decode = agg_bins__decode,
                                           .digest = agg_bins__digest,
                                           .value = value,
                                           .explain = agg_bins__explain,
                                           .bytes_most = agg_bins__bytes_most};
static const char *const keys[] = {"actions", "scenes", "where", "bin", "bins", "slack", NULL};

const struct agg_type agg_type__burst = {.name = "burst",
                                         .keys = keys,
                                         .emits = 1 << AGG_OUTPUT_VALUE | 1 << AGG_OUTPUT_AGE,
                                         .parse = parse_burst,
                                         .define = define_burst,
                                         .cells = &cells};
