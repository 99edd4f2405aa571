"""Numbers as the Contract has them: rounding to integers, the nearest float32, and what may differ in the last bits."""

import math
import struct
from fractions import Fraction


def llround(x):
    """Half away from zero; exact, because a double's fraction is."""
    whole = math.floor(abs(x))
    up = abs(x) - whole >= 0.5
    return int(math.copysign(1, x)) * (whole + up)


def micro(value):
    return llround(value * 1e6)


def float32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def float32_beside(x, step):
    """The float32 that is `step` places above the float32 x, further from zero for a negative x."""
    return struct.unpack("<f", struct.pack("<i", struct.unpack("<i", struct.pack("<f", x))[0] + step))[0]


def float32_of(numerator, denominator=1):
    """The float32 nearest to the exact ratio, ties to even."""
    near = float32(numerator / denominator)
    if abs(numerator) < 1 << 53 and denominator < 1 << 28:
        return near  # the double on the way cannot fall on a tie between two float32 that the ratio is not on
    exact = Fraction(numerator, denominator)
    around = [float32_beside(near, step) for step in (-1, 0, 1)] if near else [near]
    return min(around, key=lambda f: (abs(Fraction(f) - exact), struct.unpack("<i", struct.pack("<f", f))[0] & 1))


class Within(float):
    """A value that may differ: equal to whatever lies in [low, high], also inside a list."""

    __slots__ = ("low", "high")
    __hash__ = None

    def __new__(cls, value, low, high):
        made = super().__new__(cls, value)
        made.low, made.high = low, high
        return made

    def __eq__(self, other):
        return self.low <= float(other) <= self.high

    def __ne__(self, other):
        return not self == other

    def __repr__(self):
        return f"{float(self)!r} (in [{self.low!r}, {self.high!r}])"


def within(value, error=0.0):
    """`value` up to `error`, and one float32 beside it."""
    if error == 0 and value == 0:
        return 0.0
    low, high = float32(value - error), float32(value + error)
    low = float32_beside(low, -1 if low > 0 else 1) if low else low
    high = float32_beside(high, 1 if high > 0 else -1) if high else high
    return Within(float32(value), low, high)
