/*
 * The configurations as they lie beside this file, each terminated.
 */
#include <freshet/bench.h>

#define EMBED(symbol, file)                                                                                                    \
    __asm__(".pushsection .rodata\n" symbol ":\n.incbin \"" FRESHET_BENCH_FOLDER "/" file "\"\n.byte 0\n.popsection\n")

EMBED("bench_w1_yaml", "w1.yaml");
EMBED("bench_flat_yaml", "flat.yaml");
EMBED("bench_light_yaml", "light.yaml");
EMBED("bench_s1_yaml", "s1.yaml");

extern const char bench_w1_yaml[], bench_flat_yaml[], bench_light_yaml[], bench_s1_yaml[];

const char *bench_catalogue(enum bench_catalogue which)
{
    switch (which) {
    case BENCH_W1:
        return bench_w1_yaml;
    case BENCH_FLAT:
        return bench_flat_yaml;
    case BENCH_LIGHT:
        return bench_light_yaml;
    case BENCH_S1:
        return bench_s1_yaml;
    }
    return "";
}
