"""kill -9 and failures at each fault point: after every restart values and digest are those of an undisturbed node and the oracle."""

import contextlib
import http.client
import os
import pathlib

import pytest

import crash
import freshet
import node as node_module
import test_model
from conftest import missing
from freshet.v1 import model_pb2
from node import CallError, wait_for

ROUNDS = 1
MANY_ROUNDS = 12  # of each point, and as many times twelve at moments by luck: more than 500 kills


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


# ---- A point that fails instead: it is told, or the process ends cleanly; exact after a restart ----


def test_a_batch_that_fails_half_way_becomes_no_epoch(lives):
    """Its events are in the state and its offsets are not: an epoch of that, also the last one of a node that closes, counts them twice."""
    assert lives.end_at("mid_apply", "error") == 1
    assert "mid_apply was told to fail" in lives.node.log()
    lives.check()


LONG = pytest.mark.long


@pytest.mark.parametrize("point", ["mid_sst_write", pytest.param("after_sst_finish", marks=LONG), pytest.param("mid_ingest", marks=LONG)])
def test_an_epoch_that_fails_is_told_and_reads_go_on(lives, faulty, point):
    node = lives.node
    node.binary, node.environment = faulty, {"FRESHET_FAULT": f"{point}:3:error"}
    node.start(is_ready=False)

    def has_failed():
        lives.send()
        return "store has failed" in node.ready_page()[1]

    wait_for(has_failed, lambda: f"not ready after an epoch failed: {node.ready_page()}")
    assert node.page("/readyz")[0] == 503
    assert node.get_features(user_id=1, item_ids=[1, 2]).item_values
    assert f"{point} was told to fail" in node.log()
    assert node.stop() == 0
    node.binary, node.environment = lives.whole, {}
    lives.check()


@pytest.mark.long
def test_a_store_that_cannot_be_read_is_not_opened(lives):
    lives.send()
    for _ in range(4):
        lives.check()
        assert lives.end_at("mid_open", "error") == 1
        assert "mid_open was told to fail" in lives.node.log()


def good(done):
    assert done.returncode == 0, (done.stdout, done.stderr)


def test_backup_and_restore_that_end_half_way_can_be_repeated(lives, faulty, make_node):
    """A backup that failed is told and is none; a restore that was cut short is no store."""
    node = lives.node
    for number, point in enumerate(("mid_checkpoint", "mid_backup", "mid_backup")):
        node.binary, node.environment = faulty, {"FRESHET_FAULT": f"{point}:{max(number, 1)}:error"}
        node.start()
        lives.send()
        refused = node.cli("backup", lives.backups)
        assert refused.returncode == 1 and f"{point} was told to fail" in refused.stderr, refused.stderr
        good(node.cli("backup", lives.backups))
        node.kill()
    node.binary, node.environment = lives.whole, {}
    lives.check()

    restored = crash.copy_of(node, make_node, "restored")
    for fault in ("mid_restore:1:kill+300", "mid_restore:1:kill", "mid_restore:2:kill", "mid_restore:2:error"):
        crash.empty(restored)
        done = crash.restore(restored, faulty, lives.backups, fault)
        assert done.returncode in (-9, 1) or "+" in fault, (fault, done)
        if done.returncode != 0 and crash.is_begun(restored):
            refused = node_module.run_cli(lives.whole, "restore", lives.backups, "--config", restored.file)
            assert refused.returncode == 1 and "holds other things" in refused.stderr, refused.stderr
            assert restored.spawn().ended() == 1  # nor is it opened as a store
    crash.empty(restored)
    good(crash.restore(restored, lives.whole, lives.backups))
    restored.start()
    restored.wait_applied(len(lives.events))
    assert restored.digest() == lives.undisturbed.digest()


# ---- The model's file ----


def of_model(node):
    return node.call("ModelService/Status", model_pb2.ModelStatusRequest(), model_pb2.ModelStatusResponse).models[0]


def pulled(node):
    with freshet.Client(node.api) as client:
        ranker = freshet.Ranker(client, verify=True)
        ranker.update()
        version = ranker._version
        return {number: version.rows[version.index[number]].tolist() for number in PUSHED if number in version.index}


PUSHED = [0, (1 << 32) + 5]


def push(node, step):
    now = of_model(node)
    request = model_pb2.PushRequest(
        base_version=now.version, schema=now.schema, kind="WEIGHTS", width=5, ids=PUSHED,
        values=[step, -step, 0, 0, 0, step / 2, step / 4, 0.5, 1, 2],
    )  # fmt: skip
    node.call("ModelService/Push", request, model_pb2.PushResponse)


def save(node):
    return node.call("ModelService/Change", model_pb2.ModelChangeRequest(change="SAVE"), model_pb2.ModelStatusResponse)


def fail_to_save(node, fault):
    """Each save meets the point in the middle of its rows and between the names; an opened model is saved at once, before any order."""
    strike, _, action = fault.partition(":")
    node.environment = {"FRESHET_FAULT": f"mid_model_checkpoint:{fault}"}
    file = next(pathlib.Path(node.configuration["store"]["path"]).parent.rglob("shop.model"))
    opened = file.stat().st_ino
    node.spawn()
    if int(strike) > 2:
        node.first_line(node.process.stdout.readline())
        wait_for(lambda: file.stat().st_ino != opened, "the opened model is saved")
        push(node, 8.0)
        with contextlib.suppress(CallError, OSError, http.client.HTTPException):
            save(node)
    if action == "kill":
        assert node.ended() == -9
    else:
        wait_for(lambda: "told to fail" in node.log() or "cannot write" in node.log(), node.log)
    node.kill()


@pytest.mark.parametrize("faults", [("4:kill",), pytest.param(("1:kill", "2:kill", "3:kill", "3:error", "4:error"), marks=LONG)])
def test_a_model_whose_file_is_half_written_is_the_one_saved_before(make_node, faulty, faults):
    node = make_node(test_model.CONFIGURATION).start(is_ready=False)
    whole = node.binary
    push(node, 0.5)
    save(node)
    before = pulled(node)
    assert len(before) == len(PUSHED)
    for fault in faults:
        node.kill()
        node.binary = faulty
        fail_to_save(node, fault)
        node.binary, node.environment = whole, {}
        assert pulled(node.start(is_ready=False)) == before, fault
    push(node, 4.0)
    save(node)
    after = pulled(node)
    node.kill()
    assert after != before and pulled(node.start(is_ready=False)) == after


def test_what_ships_has_no_fault_points(binary, faulty):
    assert b"FRESHET_FAULT" in faulty.read_bytes()
    assert b"FRESHET_FAULT" not in binary.read_bytes()
