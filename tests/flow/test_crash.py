"""kill -9 and failures at each fault point: after every restart values and digest are those of an undisturbed node and the oracle."""

import os
import pathlib

import pytest

import crash
from conftest import missing
from node import wait_for

ROUNDS = 1
MANY_ROUNDS = 20  # of each point, and as many times twelve at moments by luck: more than 500 kills


@pytest.fixture(scope="session")
def faulty(binary):
    path = pathlib.Path(os.environ.get("FRESHET_FAULTY", binary.parent / "tests/faults/freshet-faults"))
    if not path.exists():
        missing(f"no {path}; build the tests or set FRESHET_FAULTY")
    return path.resolve()


@pytest.fixture
def lives(make_node, faulty, real_kafka, tmp_path):
    return crash.Lives(make_node, faulty, real_kafka, tmp_path, os.environ.get("FRESHET_SEED", "1"))


def kill_everywhere(lives, rounds):
    for number in range(rounds):
        for point in crash.TIMES:
            code = lives.end_at(point)
            assert code == -9, f"{point}: exit {code}: {lives.node.log()[-2000:]}"
            lives.check()
        if rounds > 1:
            for _ in crash.TIMES:
                lives.end_somewhere()
                lives.check()
            print(f"round {number + 1}: {lives.told()}", flush=True)
    lives.check(is_thorough=True)
    print(lives.told())


def test_killed_at_each_point_it_ends_as_an_undisturbed_node(lives):
    kill_everywhere(lives, ROUNDS)


@pytest.mark.long
def test_killed_very_often_at_each_point_and_between(lives):
    kill_everywhere(lives, MANY_ROUNDS)
    assert lives.kills >= 500


def test_what_ships_has_no_fault_points(binary, faulty):
    assert b"FRESHET_FAULT" in faulty.read_bytes()
    assert b"FRESHET_FAULT" not in binary.read_bytes()
