"""What an id is."""

import numpy as np
import pytest

import freshet
from freshet import _ids


@pytest.mark.parametrize("number", [0, 1, 42, 2**63, 2**64 - 1])
def test_a_number_is_itself_as_int_and_as_decimal_string(number):
    assert freshet.id_of(number) == freshet.id_of(str(number)) == number


@pytest.mark.parametrize(
    ("word", "hashed"),
    [
        ("a", 0xD24EC4F1A98C6E5B),  # the algorithm's published values
        ("abc", 0x44BC2CF5AD770999),
        ("Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_a_word_is_its_xxh64(word, hashed):
    assert freshet.id_of(word) == hashed


@pytest.mark.parametrize("word", ["007", "-1", "+1", " 1", "1 ", "1\n", "1_0", "1.0", "٣", str(2**64), "9" * 5000, "film é"])
def test_what_is_not_the_plain_decimal_of_64_bits_is_a_word(word):
    import xxhash

    assert freshet.id_of(word) == xxhash.xxh64_intdigest(word.encode("utf-8"), seed=0)


def test_a_hash_of_zero_becomes_one(monkeypatch):
    monkeypatch.setattr(_ids.xxhash, "xxh64_intdigest", lambda _: 0)
    assert freshet.id_of("whoever") == 1


def test_integers_of_numpy_are_numbers():
    assert freshet.id_of(np.uint64(2**64 - 1)) == 2**64 - 1
    assert type(freshet.id_of(np.int32(5))) is int


@pytest.mark.parametrize("bad", [-1, 2**64, "", "\ud800"])
def test_ids_that_cannot_be(bad):
    with pytest.raises(ValueError):
        freshet.id_of(bad)


@pytest.mark.parametrize("bad", [None, 1.0, True, b"1", [1]])
def test_types_that_are_no_ids(bad):
    with pytest.raises(TypeError):
        freshet.id_of(bad)
