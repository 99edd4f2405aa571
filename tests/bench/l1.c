/*
 * L1, the learning workload, as text that Vowpal Wabbit reads. Seeded: the same bytes every time.
 *
 *   l1 FILE [EXAMPLES]
 */
#include <freshet/bench.h>

#include <stdio.h>
#include <stdlib.h>

enum { EXAMPLES = 1000000 };

int main(int argc, char **argv)
{
    struct fr_err err;

    if (argc < 2) {
        fprintf(stderr, "usage: l1 FILE [EXAMPLES]\n");
        return 2;
    }
    if (!bench_l1_write(argv[1], argc > 2 ? strtoull(argv[2], NULL, 10) : EXAMPLES, &err)) {
        fprintf(stderr, "l1: %s\n", err.message);
        return 1;
    }
    return 0;
}
