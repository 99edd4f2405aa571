"""
A kernel that refuses a call (tests/faults/calls.c) of a whole node: start, ingest, read, commit, stop, and one call to the network, to files,
for a thread or for memory fails. It is tried again, told, or ends the process; after a restart all is exact. (A disk that stays broken
or full, and lost power: test_faults.py and tests/unit/store/test_disk.c.)
"""

import os

import pytest

import failing
import shims

LIVES = 6  # spread over all calls


@pytest.fixture(scope="session")
def call_faults(binary):
    return shims.shim(binary, "call_faults")


@pytest.fixture
def lives(authority, call_faults, make_node, binary, real_kafka, tmp_path):
    return failing.Lives(authority, call_faults, make_node, binary, real_kafka, tmp_path, os.environ.get("FRESHET_SEED", "3"), "json")


def calls(lives, directory):
    """Of a life in which none fails, each by its kind and number; FRESHET_CALLS_KINDS: of these kinds only."""
    told = directory / "count"
    assert lives.live(FRESHET_CALLS_COUNT=str(told)) == 0
    found = {kind: int(count) for kind, count in (line.split() for line in told.read_text().splitlines())}
    if kinds := os.environ.get("FRESHET_CALLS_KINDS"):
        found = {kind: count for kind, count in found.items() if kind in kinds.split(",")}
    print(f"a life has {sum(found.values())} calls: " + ", ".join(f"{kind} {count}" for kind, count in found.items() if count))
    return {f"{kind} {one}": {"FRESHET_CALLS_FAULT": f"{kind}:{one}"} for kind, count in found.items() for one in range(1, count + 1)}


def test_a_call_that_the_kernel_refuses_costs_nothing(lives, tmp_path):
    faults = calls(lives, tmp_path)
    lives.fail_each({name: faults[name] for name in failing.spread(faults, LIVES)}, failing.ENDS)


@pytest.mark.long
def test_every_call_that_the_kernel_refuses_costs_nothing(lives, tmp_path):
    lives.fail_each(failing.share(calls(lives, tmp_path)), failing.ENDS)
