/*
 * The method table, sorted by the path of a request. Names of methods become metric labels; what a client invents does not, all
 * of that is "unknown".
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct server__method *)a)->path, ((const struct server__method *)b)->path);
}

static struct fr_histogram *histogram(struct fr_metrics *metrics, const char *method)
{
    char labels[256];

    snprintf(labels, sizeof labels, "method=\"%s\"", method);
    return fr_metrics_histogram(metrics, "freshet_request_seconds", labels,
                                "From a whole request to its reply in the output buffer, by method.");
}

static bool add(struct server__methods *methods, const struct server_method *method, struct fr_metrics *metrics,
                struct fr_err *err)
{
    struct server__method *entry = &methods->sorted[methods->count];

    if (asprintf(&entry->path, "/%s/%s", method->service, method->name) < 0) {
        entry->path = NULL;
        return fr_fail(err, FR_EXHAUSTED, "server: out of memory for method %s", method->name);
    }
    entry->method = method;
    entry->seconds = histogram(metrics, entry->path + 1);
    methods->count++;
    return true;
}

bool server__methods_init(struct server__methods *methods, const struct server_options *options,
                          const struct server_method own[SERVER_OWN_METHODS], struct fr_err *err)
{
    int count = options->method_count + SERVER_OWN_METHODS;

    methods->sorted = calloc((size_t)count + 1, sizeof *methods->sorted);
    if (!methods->sorted)
        return fr_fail(err, FR_EXHAUSTED, "server: out of memory for %d methods", count);
    for (int i = 0; i < options->method_count; i++)
        if (!add(methods, &options->methods[i], options->metrics, err))
            return false;
    for (int i = 0; i < SERVER_OWN_METHODS; i++)
        if (!add(methods, &own[i], options->metrics, err))
            return false;
    qsort(methods->sorted, (size_t)count, sizeof *methods->sorted, compare);
    for (int i = 0; i <= count; i++)
        methods->sorted[i].index = i;
    methods->sorted[count].seconds = histogram(options->metrics, "unknown");
    return true;
}

void server__methods_fini(struct server__methods *methods)
{
    for (int i = 0; methods->sorted && i < methods->count; i++)
        free(methods->sorted[i].path);
    free(methods->sorted);
    *methods = (struct server__methods){0};
}

const struct server__method *server__methods_find(const struct server__methods *methods, struct fr_slice path)
{
    int low = 0;
    int high = methods->count;

    while (low < high) {
        int middle = low + (high - low) / 2;
        const struct server__method *method = &methods->sorted[middle];
        size_t length = strlen(method->path);
        int order = memcmp(path.bytes, method->path, path.length < length ? path.length : length);

        if (order == 0)
            order = path.length < length ? -1 : path.length > length;
        if (order == 0)
            return method;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct server__method *server__methods_unknown(const struct server__methods *methods)
{
    return &methods->sorted[methods->count];
}
