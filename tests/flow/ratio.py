"""The aggregate `ratio`: num / den of one entity, drawn to a prior; by exact fractions."""

import math
from fractions import Fraction

from number import float32_of, within

DOUBLE_ERROR = 1e-14  # of what is added up on the way, in double


def over(numerator, denominator, otherwise):
    return numerator / denominator if denominator else otherwise


class Ratio:
    """`own`, `all` and those in between, the nearest first: (num, den), (0, 0) where there is none."""

    def __init__(self, feature, own, parents, all):
        self.num, self.den = own
        self.z = feature.z
        mean = over(*all, Fraction(0))
        self.strength = Fraction(feature.strength) if feature.prior else Fraction(0)
        self.prior = mean if feature.prior else Fraction(0)
        for num, den in reversed(parents):
            self.prior = over(num + self.strength * self.prior, den + self.strength, self.prior)

    def value(self):
        total = self.den + self.strength
        exact = over(self.num + self.strength * self.prior, total, self.prior)
        sums = abs(self.num) + abs(self.strength * self.prior) + abs(exact) * (abs(self.den) + self.strength)
        return within(float(exact), float(over(sums, abs(total), abs(exact))) * DOUBLE_ERROR)

    def lower(self):
        return self.bound(-1)

    def upper(self):
        return self.bound(1)

    def bound(self, sign):
        q = min(max(self.prior, 0), 1)
        a = max(min(self.num, self.den), 0) + self.strength * q
        n = a + max(self.den - self.num, 0) + self.strength * (1 - q)
        return within(wilson(float(a / n) if n else 0.0, float(n), self.z, sign), 1e-7)

    def n(self):
        return float32_of(self.den.numerator, self.den.denominator)

    def sd(self):
        q = min(max(self.prior, 0), 1)
        a = max(min(self.num, self.den), 0) + self.strength * q
        b = max(self.den - self.num, 0) + self.strength * (1 - q)
        error = Fraction(DOUBLE_ERROR) * (abs(self.num) + abs(self.den) + self.strength) if a and b else Fraction(0)
        exact = beta_sd(a, b)
        around = [beta_sd(max(a + i * error, 0), max(b + j * error, 0)) for i in (-1, 1) for j in (-1, 1)]
        return within(exact, max(abs(other - exact) for other in around))


def wilson(share, n, z, sign):
    """The bound of a share of n, z standard deviations off; all there is when nothing is known."""
    if not n:
        return 0.0 if sign < 0 else 1.0
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return min(max((share + z * z / (2 * n) + sign * half) / (1 + z * z / n), 0.0), 1.0)


def beta_sd(a, b):
    return math.sqrt(a * b / ((a + b) ** 2 * (a + b + 1))) if a + b else 0.0
