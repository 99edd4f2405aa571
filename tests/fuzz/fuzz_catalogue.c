/* Any YAML: the catalogue is made or its mistakes are told, and nothing else happens. */
#include <freshet/aggregators.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct agg_dedupe dedupe = {.ids = 32, .horizon_ms = 600000};
    struct fr_arena *arena = fr_arena_new(8 << 20);
    struct fr_diagnostics diagnostics;
    struct fr_yaml *root = NULL;

    if (!arena)
        return 0;
    fr_diagnostics_init(&diagnostics, "fuzz.yaml");
    if (fr_yaml_parse(fr_slice(data, size), arena, &root, &diagnostics)) {
        int before = diagnostics.count;
        struct agg_catalogue *catalogue = agg_catalogue_parse(root, &dedupe, &diagnostics);

        if ((catalogue != NULL) != (diagnostics.count == before))
            abort(); /* refused without a word, or accepted with one */
        if (catalogue) {
            struct fr_buffer text;

            fr_buffer_init(&text);
            agg_catalogue_estimate(catalogue, &text);
            fr_buffer_fini(&text);
        }
        agg_catalogue_free(catalogue);
    }
    fr_diagnostics_fini(&diagnostics);
    fr_arena_free(arena);
    return 0;
}
