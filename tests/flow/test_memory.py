"""
Memory that runs out in a whole node (tests/faults/memory.c): start, ingest, read, commit, stop, and one allocation fails. Of our own code each
failure is told or ends the process cleanly; of a library's the process may abort. After a restart all is exact.
"""

import http.client
import os
import pathlib
import time

import pytest

import crash
from conftest import missing
from node import CallError

LIVES = 16  # spread over all allocations
FOREIGN_LIVES = 4
FOREIGN_MANY = 150
LOOK_EVERY = 8  # so many lives, then it is looked at without a fault
APPLY_S, STOP_S = 5, 25
EVENTS = 30


@pytest.fixture(scope="session")
def memory_faults(binary):
    library = pathlib.Path(os.environ.get("FRESHET_MEMORY_FAULTS", binary.parent / "tests/faults/libmemory_faults.so"))
    if not library.exists():
        missing(f"no {library}; build the tests or set FRESHET_MEMORY_FAULTS")
    return library.resolve()


@pytest.fixture
def lives(make_node, binary, real_kafka, tmp_path):
    return crash.Lives(make_node, binary, real_kafka, tmp_path, os.environ.get("FRESHET_SEED", "2"), "json")


def use(lives):
    """Takes what is new, reads it and commits it, as far as that goes; false when nothing was told although it did not go on."""
    node, end = lives.node, time.monotonic() + APPLY_S
    try:
        while node.applied() < len(lives.events) and time.monotonic() < end and node.process.poll() is None:
            time.sleep(0.01)
        if node.applied() < len(lives.events) and not node.log().partition("\n")[2] and node.page("/readyz")[0] == 200:
            return False
        node.get_features(user_id=1, item_ids=[1, 2, 3])
        node.digest()
        node.page("/metrics")
    except (CallError, OSError, http.client.HTTPException, AssertionError, ValueError):
        pass  # what is refused or cut off is told
    return True


def live(lives, library, **fault):
    """One life; its exit code."""
    node = lives.node
    lives.send(EVENTS)
    node.environment = {"LD_PRELOAD": str(library), **fault}
    node.spawn()
    line = node.process.stdout.readline()
    went_well = True
    if line:
        node.first_line(line)
        went_well = use(lives)
    code = node.stop(STOP_S)
    node.environment = {}
    assert went_well, f"{fault}: it stands still and says nothing: {node.log()}"
    return code


def counts(lives, library, directory):
    """(own, foreign) allocations of a life in which none fails."""
    told = directory / "count"
    assert live(lives, library, FRESHET_MEMORY_COUNT=str(told)) == 0
    return [int(number) for number in told.read_text().split()]


def complaint(lives, library, number, whose, allowed):
    """What is wrong about a life in which this allocation fails, if anything; and its exit code."""
    try:
        code = live(lives, library, FRESHET_MEMORY_FAULT=str(number), FRESHET_MEMORY_WHOSE=whose)
    except AssertionError as error:
        return str(error), None
    if code not in allowed:
        return f"exit {code}: {lives.node.log()[-1500:]}", code
    if code != 0 and not lives.node.log().partition("\n")[2]:
        return f"exit {code} and not a word", code
    return None, code


def fail_each(lives, library, numbers, whose, allowed):
    """A life for each of the numbers."""
    codes, complaints = {}, []
    for done, number in enumerate(numbers):
        said, code = complaint(lives, library, number, whose, allowed)
        codes[code] = codes.get(code, 0) + 1
        if said:
            complaints.append(f"{whose} allocation {number}: {said}")
            print(complaints[-1], flush=True)
        if done % LOOK_EVERY == LOOK_EVERY - 1:
            lives.check()
    lives.check(is_thorough=True)
    print(f"{len(numbers)} {whose} allocations failed: exit codes {codes}; {lives.told()}", flush=True)
    assert not complaints, "\n".join([f"{len(complaints)} of {len(numbers)}", *complaints[:5]])


def spread(count, lives):
    """So many of 1 … count, evenly; a prime step in mind, each run of CI the same."""
    step = max(1, count // lives)
    return list(range(1 + step // 2, count + 1, step))[:lives]


def test_of_our_own_allocations_each_that_fails_is_told(lives, memory_faults, tmp_path):
    own, foreign = counts(lives, memory_faults, tmp_path)
    print(f"a life has {own} allocations of our own, {foreign} of libraries")
    fail_each(lives, memory_faults, spread(own, LIVES), "own", (0, 1))


@pytest.mark.long
def test_every_one_of_our_own_allocations_that_fails_is_told(lives, memory_faults, tmp_path):
    own, _ = counts(lives, memory_faults, tmp_path)
    first, last, step = (int(number) for number in os.environ.get("FRESHET_MEMORY_RANGE", f"1-{own}-1").split("-"))
    fail_each(lives, memory_faults, range(first, last + 1, step), "own", (0, 1))


def test_a_library_without_memory_ends_the_process_at_most(lives, memory_faults, tmp_path):
    """RocksDB throws, librdkafka asserts: the process ends, as by kill -9, and the next one is exact."""
    _, foreign = counts(lives, memory_faults, tmp_path)
    fail_each(lives, memory_faults, spread(foreign, FOREIGN_LIVES), "foreign", (0, 1, -6, -11))


@pytest.mark.long
def test_libraries_without_memory_end_the_process_at_most(lives, memory_faults, tmp_path):
    _, foreign = counts(lives, memory_faults, tmp_path)
    fail_each(lives, memory_faults, spread(foreign, FOREIGN_MANY), "foreign", (0, 1, -6, -11))
