"""
Memory that runs out in a whole node (tests/faults/memory.c): start, ingest, read, commit, stop, and one allocation fails. Of our own code each
failure is told or ends the process cleanly; of a library's the process may abort. After a restart all is exact.
"""

import os
import re

import pytest

import failing
import shims

LIVES = 12  # spread over all allocations
FOREIGN_LIVES = 4
TIMES_MOST = 12  # of one place


@pytest.fixture(scope="session")
def memory_faults(binary):
    return shims.shim(binary, "memory_faults")


@pytest.fixture
def lives(authority, memory_faults, make_node, binary, real_kafka, tmp_path):
    return failing.Lives(authority, memory_faults, make_node, binary, real_kafka, tmp_path, os.environ.get("FRESHET_SEED", "2"), "json")


def own_allocations(lives, directory):
    """Of a life in which none fails, each by its number."""
    told = directory / "count"
    assert lives.live(FRESHET_MEMORY_COUNT=str(told)) == 0
    own, foreign = (int(number) for number in told.read_text().split())
    print(f"a life has {own} allocations of our own, {foreign} of libraries")
    return {f"own allocation {one}": {"FRESHET_MEMORY_FAULT": str(one)} for one in range(1, own + 1)}


def foreign_allocations(lives, directory, times):
    """
    `times` (a function of a place of a library, and how often it asks in a life) says which of each place's fail; FRESHET_PLACES, a regular
    expression: of these places only.
    """
    told = directory / "sites"
    assert lives.live(FRESHET_MEMORY_SITES=str(told)) == 0
    found = {place: int(count) for place, count in (line.split() for line in told.read_text().splitlines())}
    print(f"{len(found)} places of libraries ask {sum(found.values())} times in a life")
    return {
        f"{place}, time {one}": {"FRESHET_MEMORY_FAULT": str(one), "FRESHET_MEMORY_WHOSE": "foreign", "FRESHET_MEMORY_SITE": place}
        for place, count in sorted(found.items())
        if re.search(os.environ.get("FRESHET_PLACES", ""), place)
        for one in times(place, count)
    }


def some_times(place, count):
    """The first, the middle and the last: what a life does once, at its start, its end and in between; of wrappers of malloc() more."""
    if place.startswith("librocksdb"):
        return sorted({1, (1 + count) // 2, count})
    return sorted({1, count, *failing.spread(range(1, count + 1), TIMES_MOST)})


def some_of(faults, lives):
    return {name: faults[name] for name in failing.spread(faults, lives)}


def test_of_our_own_allocations_each_that_fails_is_told(lives, tmp_path):
    lives.fail_each(some_of(own_allocations(lives, tmp_path), LIVES), failing.OWN_ENDS)


@pytest.mark.long
def test_every_one_of_our_own_allocations_that_fails_is_told(lives, tmp_path):
    lives.fail_each(failing.share(own_allocations(lives, tmp_path)), failing.OWN_ENDS)


def test_a_library_without_memory_ends_the_process_at_most(lives, tmp_path):
    """RocksDB throws, librdkafka asserts: the process ends, as by kill -9, and the next one is exact."""
    faults = foreign_allocations(lives, tmp_path, lambda _, count: [(1 + count) // 2])
    lives.fail_each(some_of(faults, FOREIGN_LIVES), failing.ENDS)


@pytest.mark.long
def test_every_place_of_a_library_without_memory_ends_the_process_at_most(lives, tmp_path):
    lives.fail_each(failing.share(foreign_allocations(lives, tmp_path, some_times)), failing.ENDS)
