"""How many different ids there are among so many draws of a Zipf distribution, by expectation: without drawing."""

import functools
import math

EXACT, BINS_PER_E = 256, 6


@functools.lru_cache(None)
def _bins(count, exponent):
    """(ids, probability of each): one by one where few have most of it, then by runs of ids nearly alike."""
    bins, first = [], 1
    while first <= count:
        last = min(count, first if first <= EXACT else int(first * math.exp(1 / BINS_PER_E)))
        middle = math.sqrt(first * last)
        bins.append((last - first + 1, middle**-exponent))
        first = last + 1
    total = sum(ids * weight for ids, weight in bins)
    return [(ids, weight / total) for ids, weight in bins]


@functools.lru_cache(100_000)
def _distinct(count, exponent, draws):
    return sum(ids * -math.expm1(draws * math.log1p(-min(p, 1 - 1e-12))) for ids, p in _bins(count, exponent))


def distinct(count, exponent, draws):
    """Of `count` ids, the nth drawn as often as 1/n^exponent; exponent 0: all alike. To a quarter of a per cent."""
    if draws <= 0 or count < 1:
        return 0.0
    digits = 2 - int(math.floor(math.log10(draws)))
    rounded = round(draws, digits) or draws
    return _distinct(int(count), exponent, rounded) * draws / rounded
