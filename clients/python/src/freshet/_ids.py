"""What an id is: a number of 64 bits, or a word that stands for one, by the same rule in every part of Freshet."""

from __future__ import annotations

import operator
import re
from typing import SupportsIndex, Union

import xxhash

Id = Union[int, str, SupportsIndex]  # numpy's integers are SupportsIndex

_MAX = 2**64 - 1
_NUMBER = re.compile(r"0|[1-9][0-9]{0,19}")


def id_of(value: Id) -> int:
    """The number of an id. A string that is a decimal number of 64 bits is that number, any other is its XXH64 (never 0)."""
    if isinstance(value, str):
        return _of_word(value)
    if isinstance(value, bool):
        raise TypeError("an id is an int or a str, not a bool")
    number = operator.index(value)
    if not 0 <= number <= _MAX:
        raise ValueError(f"id {number} is not in [0, 2^64)")
    return number


def _of_word(word: str) -> int:
    if not word:
        raise ValueError("an id must not be the empty string")
    if _NUMBER.fullmatch(word) and (number := int(word)) <= _MAX:
        return number
    return xxhash.xxh64_intdigest(word.encode()) or 1
