/*
 * Chance for the simulation: seeded, and the same sequence everywhere (xoshiro256**, seeded by splitmix64; both public domain).
 */
#include "internal.h"

#include <math.h>
#include <stdlib.h>

uint64_t cli_random__mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

void cli_random__init(struct cli_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        random->state[i] = cli_random__mix(seed);
    }
}

static uint64_t rotated(uint64_t value, int bits)
{
    return (value << bits) | (value >> (64 - bits));
}

uint64_t cli_random__next(struct cli_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotated(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotated(s[3], 45);
    return result;
}

double cli_random__unit(struct cli_random *random)
{
    return (double)(cli_random__next(random) >> 11) * 0x1p-53;
}

uint64_t cli_random__below(struct cli_random *random, uint64_t end)
{
    return (uint64_t)(((unsigned __int128)cli_random__next(random) * end) >> 64);
}

bool cli_random__chance(struct cli_random *random, double probability)
{
    return cli_random__unit(random) < probability;
}

double cli_random__exponential(struct cli_random *random, double mean)
{
    return -mean * log1p(-cli_random__unit(random));
}

double cli_random__log_normal(struct cli_random *random, double median, double sigma)
{
    double radius = sqrt(-2 * log1p(-cli_random__unit(random)));
    double normal = radius * cos(2 * M_PI * cli_random__unit(random));

    return median * exp(sigma * normal);
}

bool cli_zipf__init(struct cli_zipf *zipf, int count, double exponent)
{
    double sum = 0;

    *zipf = (struct cli_zipf){.cumulative = calloc((size_t)count, sizeof(double)), .count = count};
    if (!zipf->cumulative)
        return false;
    for (int i = 0; i < count; i++) {
        sum += pow(i + 1, -exponent);
        zipf->cumulative[i] = sum;
    }
    return true;
}

void cli_zipf__fini(struct cli_zipf *zipf)
{
    free(zipf->cumulative);
    *zipf = (struct cli_zipf){0};
}

int cli_zipf__draw(const struct cli_zipf *zipf, struct cli_random *random)
{
    double wanted = cli_random__unit(random) * zipf->cumulative[zipf->count - 1];
    int low = 0, high = zipf->count - 1;

    while (low < high) {
        int middle = low + (high - low) / 2;

        if (zipf->cumulative[middle] > wanted)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}
