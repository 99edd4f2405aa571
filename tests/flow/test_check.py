"""`freshet check --against`: what a configuration does to a node's state, told before it is done."""

import copy
import hashlib
import json
import os

import pytest
import yaml

import kafka
import settings
from freshet.v1 import event_pb2
from node import run_cli

T0 = 1_700_000_040_000


def produce(node, count):
    events = [
        event_pb2.Event(event_id=n + 1, ts_ms=T0 + n, action=event_pb2.WATCH, user_id=n % 3 + 1, item_id=n % 4 + 1, value=2.0)
        for n in range(count)
    ]
    kafka.produce(node.brokers, "freshet.events", [(b"1", event.SerializeToString()) for event in events])
    node.wait_applied(count)


def picture(directory):
    """Every file with its content, its permissions and the time of its last change."""
    found = {}
    for folder, _, names in os.walk(directory):
        for name in [".", *names]:
            path = os.path.join(folder, name)
            status = os.stat(path)
            content = "" if name == "." else hashlib.sha256(open(path, "rb").read()).hexdigest()
            found[path] = (status.st_mtime_ns, status.st_mode, status.st_size, content)
    return found


def changed_catalogue():
    changed = copy.deepcopy(settings.TINY)
    changed["features"]["item_watches"]["windows"] = ["1h"]
    changed["features"]["item_seconds"]["where"] = "value > 1"
    changed["features"]["item_new"] = {"entity": "item", "aggregate": "count", "windows": ["1h"]}
    del changed["features"]["user_recent"]
    changed["feature_sets"] = {"small": {"item": ["item_watches"]}}
    changed["entities"]["item"]["retention"] = "1d"
    return changed


@pytest.fixture
def node(make_node):
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY)).start()
    produce(node, 12)
    return node


def check(binary, tmp_path, catalogue, directory, *arguments):
    file = tmp_path / "changed.yaml"
    file.write_text(yaml.safe_dump(settings.configuration("embedded", catalogue=catalogue), sort_keys=False))
    return run_cli(binary, "check", "--config", file, "--against", directory, *arguments)


def fates(answer, group):
    return {one["name"]: one["fate"] for one in answer[group]}


def test_it_tells_what_opening_will_do(binary, node, tmp_path, make_node):
    directory = node.configuration["store"]["path"]
    assert node.stop() == 0
    before = picture(directory)
    done = check(binary, tmp_path, changed_catalogue(), directory, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert picture(directory) == before

    told = json.loads(done.stdout)
    assert fates(told, "entities") == {"user": "kept", "item": "kept_less"}
    assert {one["name"]: int(one["onDisk"]) for one in told["entities"]} == {"user": 3, "item": 4}
    assert all(int(one["bytesOnDisk"]) > 0 for one in told["entities"])
    assert fates(told, "features") == {
        "item_watches": "kept_less", "item_seconds": "empty", "item_new": "new", "user_recent": "removed",
    }  # fmt: skip
    features = {one["name"]: one for one in told["features"]}
    assert features["item_watches"]["changes"] == [{"what": "windows", "was": "1m, 1h", "now": "1h"}]
    assert features["item_seconds"]["changes"] == [{"what": "where", "was": "", "now": "value > 1"}]
    assert int(told["streamTimeMs"]) == T0 + 11

    text = check(binary, tmp_path, changed_catalogue(), directory)
    assert (text.returncode, text.stderr) == (0, "")
    assert "windows: 1m, 1h → 1h" in text.stdout and "user_recent" in text.stdout

    configuration = settings.configuration("embedded", catalogue=changed_catalogue())
    configuration["store"]["path"] = directory
    after = make_node(configuration).start()
    described = {one["name"]: one["generation"] for one in after.call_json("FeatureService/Describe", {})["features"]}
    assert described == {name: one["generation"] for name, one in features.items() if one["fate"] != "removed"}


def test_the_same_configuration_keeps_all(binary, node, tmp_path):
    directory = node.configuration["store"]["path"]
    assert node.stop() == 0
    told = json.loads(check(binary, tmp_path, settings.TINY, directory, "--json").stdout)
    assert {one["fate"] for group in ("entities", "features") for one in told[group]} == {"kept"}


def test_it_works_beside_a_running_node(binary, node, tmp_path):
    digest = node.digest()
    done = check(binary, tmp_path, changed_catalogue(), node.configuration["store"]["path"], "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert {one["name"]: int(one["onDisk"]) for one in told["entities"]} == {"user": 3, "item": 4}
    assert node.digest() == digest
    assert node.stop() == 0


def test_what_is_no_store_is_refused_and_stays_as_it_is(binary, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "FRESHET").write_text("freshet store, pid 1\n")
    for name in ("none", "empty", "broken"):
        done = check(binary, tmp_path, settings.TINY, tmp_path / name)
        assert done.returncode == 1 and done.stdout == ""
        assert str(tmp_path / name) in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "none").exists()
    assert list((tmp_path / "empty").iterdir()) == []
    assert [one.name for one in (tmp_path / "broken").iterdir()] == ["FRESHET"]


def test_a_configuration_that_is_wrong_is_told_first(binary, node, tmp_path):
    wrong = copy.deepcopy(settings.TINY)
    wrong["features"]["item_watches"]["entity"] = "itme"
    done = check(binary, tmp_path, wrong, node.configuration["store"]["path"])
    assert done.returncode == 1 and done.stdout == "" and "itme" in done.stderr
