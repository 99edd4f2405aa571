/*
 * W1's features, w1.yaml as it lies beside this file.
 */
#include <freshet/bench.h>

__asm__(".pushsection .rodata\n"
        "bench_w1_yaml:\n"
        ".incbin \"" FRESHET_W1_YAML "\"\n"
        ".byte 0\n"
        ".popsection\n");

extern const char bench_w1_yaml[];

const char *bench_w1_catalogue(void)
{
    return bench_w1_yaml;
}
