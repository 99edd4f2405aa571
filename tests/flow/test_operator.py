"""The operator's work: backup, restore, fsck, forget."""

import json
import pathlib
import random

import pytest

import kafka
import settings
from freshet.v1 import admin_pb2, event_pb2
from node import CallError, run_cli

T0 = 1_700_000_040_000
USERS, ITEMS = 40, 90


def some_events(numbers, seed=5):
    dice = random.Random(f"{seed}/{numbers[0]}")
    return [
        event_pb2.Event(
            event_id=number + 1, ts_ms=T0 + number * 300 + dice.randrange(2000), user_id=dice.randrange(1, USERS),
            item_id=dice.randrange(1, ITEMS), creator_id=dice.randrange(1, 12), category_id=dice.randrange(1, 5),
            action=dice.choice((event_pb2.CLICK, event_pb2.WATCH, event_pb2.LIKE, event_pb2.PURCHASE)), value=dice.randrange(80) / 4,
        )
        for number in numbers
    ]  # fmt: skip


def produce(brokers, topic, events):
    kafka.produce(brokers, topic, [(str(event.user_id).encode(), event.SerializeToString()) for event in events])


def answers(node, users=range(1, USERS)):
    """What every item and these users read."""
    items = list(node.get_features(item_ids=list(range(1, ITEMS))).item_values)
    replies = [node.get_features(user_id=user) for user in users]
    return items, [(list(one.user_values), [list(field.ids) for field in one.sequences[0].fields]) for one in replies]


def outcomes(node):
    return {one["outcome"]: int(one["events"]) for one in node.status()["outcomes"]}


def at_path(node, make_node, path, name):
    configuration = json.loads(json.dumps(node.configuration))
    configuration["store"]["path"] = str(path)
    return make_node(configuration, name)


def good(done):
    assert done.returncode == 0, (done.stdout, done.stderr)
    return json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else done.stdout


# ---- backup and restore ----


def test_a_backup_goes_on_where_it_was_made(make_node, real_kafka, tmp_path):
    topic = kafka.new_topic(real_kafka)
    node = make_node(settings.configuration(real_kafka, topic)).start()
    backups, restored = tmp_path / "backups", tmp_path / "restored"
    produce(real_kafka, topic, some_events(range(4000)))
    node.wait_applied(4000)
    made = good(node.cli("backup", backups, "--json"))
    assert made["backupId"] == 1 and int(made["bytes"]) > 1000
    at_backup = answers(node)
    produce(real_kafka, topic, some_events(range(4000, 8000)))
    node.wait_applied(8000)
    assert good(node.cli("backup", backups, "--json"))["backupId"] == 2
    listed = good(run_cli(node.binary, "backup", backups, "--list", "--json"))
    assert [one["backupId"] for one in listed] == [1, 2]

    again = at_path(node, make_node, restored, "restored")
    good(run_cli(node.binary, "restore", backups, "--config", again.file, "--backup", 1))
    assert good(run_cli(node.binary, "fsck", "--config", again.file, "--json"))["sound"] is True
    alone = at_path(again, make_node, restored, "alone").start("kafka.brokers=127.0.0.1:1", is_ready=False)
    assert answers(alone) == at_backup  # without a broker: as the first backup has it
    alone.kill()
    again.start()
    again.wait_applied(8000)  # each record once, over the life of the store
    assert again.digest() == node.digest()
    assert answers(again) == answers(node)


def test_a_backup_without_a_node_is_the_same(make_node, tmp_path):
    node = make_node(settings.configuration("embedded")).start()
    produce(node.brokers, "freshet.events", some_events(range(2000)))
    node.wait_applied(2000)
    before, digest = answers(node), node.digest()
    refused = run_cli(node.binary, "backup", tmp_path / "backups", "--config", node.file)
    assert refused.returncode == 1 and f"locked by pid {node.process.pid}" in refused.stderr
    assert node.stop() == 0
    good(run_cli(node.binary, "backup", tmp_path / "backups", "--config", node.file))
    again = at_path(node, make_node, tmp_path / "restored", "restored")
    good(run_cli(node.binary, "restore", tmp_path / "backups", "--config", again.file))
    again.start()
    assert (answers(again), again.digest()) == (before, digest)


def test_a_backup_has_the_models_and_their_roles(make_node, tmp_path):
    """Live and shadow, what each learned, that the live one is frozen; of each backup its own; and fsck looks at them."""
    configuration = settings.configuration("embedded", catalogue=settings.TINY)

    configuration["models"] = {
        "shop": {
            "feature_set": "small", "bits": 10, "factors": 0, "dense": "none", "sparse": ["item_id"], "shadow": {"alpha": 0.5},
            "tasks": {"click": {"actions": ["click"]}},
        }
    }  # fmt: skip
    node = make_node(configuration).start()
    backups = tmp_path / "backups"

    def change(node, what):
        return node.call_json("ModelService/Change", {"change": what})["models"]

    def push(node, weight):
        state = node.call_json("ModelService/Status", {})["models"][0]
        node.call_json(
            "ModelService/Push",
            {"kind": "WEIGHTS", "baseVersion": state["version"], "schema": state["schema"], "width": 1, "ids": [0], "values": [weight]},
        )

    def probability(node):
        return node.call_json("ModelService/Score", {"itemIds": [1]})["probabilities"][0]

    at_backup = []
    for number, weight in enumerate((0.5, -1.5, 2.5)):
        push(node, weight)
        change(node, "SAVE")
        at_backup.append(probability(node))
        if number == 1:
            change(node, "FREEZE")
        good(node.cli("backup", backups, "--keep", 2))
        if number == 1:
            change(node, "THAW")
    assert len(set(at_backup)) == 3
    push(node, 0)
    assert sorted(one.name for one in (backups / "models").iterdir()) == ["2", "3"]  # the first went with its backup

    for number, roles in ((2, ["frozen", "shadow"]), (3, ["live", "shadow"])):
        again = at_path(node, make_node, tmp_path / f"restored{number}", f"restored{number}")
        good(run_cli(node.binary, "restore", backups, "--config", again.file, "--backup", number))
        assert good(run_cli(node.binary, "fsck", "--config", again.file, "--json"))["sound"] is True
        again.start()
        states = again.call_json("ModelService/Status", {})["models"]
        assert [one["role"] for one in states] == roles and probability(again) == at_backup[number - 1]
        again.kill()
    spoiled = tmp_path / "restored3" / "models" / "shop.shadow.model"
    spoiled.write_bytes(spoiled.read_bytes()[:-9] + b"\1" * 9)
    damaged = run_cli(node.binary, "fsck", "--config", again.file, "--json")
    assert damaged.returncode == 1 and "shop.shadow.model' is not whole" in json.loads(damaged.stdout)["faults"][0]


def test_old_backups_go_and_wrong_places_are_refused(make_node, tmp_path):
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY)).start()
    backups = tmp_path / "backups"
    for number in range(4):
        produce(node.brokers, "freshet.events", some_events(range(number * 50, number * 50 + 50)))
        good(node.cli("backup", backups, "--keep", 2))
    assert [one["backupId"] for one in good(run_cli(node.binary, "backup", backups, "--list", "--json"))] == [3, 4]
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "one").write_text("dear")
    for directory, says in ((tmp_path / "letters", "holds other things"), ("/proc/nowhere", "cannot make the directory")):
        refused = node.cli("backup", directory)
        assert refused.returncode == 1 and says in refused.stderr, refused.stderr
    with pytest.raises(CallError) as error:
        node.call("AdminService/Checkpoint", admin_pb2.CheckpointRequest(backup_dir="backups"), admin_pb2.CheckpointResponse)
    assert error.value.code == "invalid_argument" and "backup_dir" in error.value.message
    for arguments, says in (
        ((backups, "--config", node.file), "holds other things"),
        ((backups, "--config", node.file, "--set", f"store.path={tmp_path}/new", "--backup", 1), "no backup 1"),
        ((tmp_path / "letters", "--config", node.file, "--set", f"store.path={tmp_path}/new"), "no backups in"),
    ):
        refused = run_cli(node.binary, "restore", *arguments)
        assert refused.returncode == 1 and says in refused.stderr, refused.stderr
    assert not list((tmp_path / "new").glob("*")) if (tmp_path / "new").exists() else True


# ---- fsck ----


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def test_damage_is_found_and_a_restore_is_the_way_back(make_node, tmp_path):
    node = make_node(settings.configuration("embedded")).start()
    produce(node.brokers, "freshet.events", some_events(range(3000)))
    node.wait_applied(3000)
    before = answers(node)
    told = good(node.cli("digest", "--json"))  # all of it is in an epoch then
    beside = good(run_cli(node.binary, "fsck", "--config", node.file, "--json"))
    assert beside["sound"] is True and beside["entities"] == str(node.status()["entities"])
    good(node.cli("backup", tmp_path / "backups"))
    assert node.stop() == 0

    files = sorted(pathlib.Path(node.configuration["store"]["path"]).glob("*.sst"), key=lambda file: file.stat().st_size)
    flip(files[-1], files[-1].stat().st_size // 4)
    damaged = run_cli(node.binary, "fsck", "--config", node.file)
    assert damaged.returncode == 1 and "damaged" in damaged.stdout and "freshet restore" in damaged.stdout
    assert json.loads(run_cli(node.binary, "fsck", "--config", node.file, "--json").stdout)["sound"] is False
    again = at_path(node, make_node, tmp_path / "restored", "restored")
    good(run_cli(node.binary, "restore", tmp_path / "backups", "--config", again.file))
    again.start()
    assert answers(again) == before and again.digest() == told["digest"]


def test_fsck_needs_a_store(make_node):
    node = make_node(settings.configuration("embedded"))
    refused = run_cli(node.binary, "fsck", "--config", node.file)
    assert refused.returncode == 1 and "no store in" in refused.stderr


# ---- forget ----


def of_user(user, number, ts_ms):
    return event_pb2.Event(event_id=number, ts_ms=ts_ms, user_id=user, item_id=3, action=event_pb2.WATCH, value=2)


def test_a_forgotten_user_is_gone_and_late_events_do_not_bring_him_back(make_node, real_kafka, tmp_path):
    topic = kafka.new_topic(real_kafka)
    node = make_node(settings.configuration(real_kafka, topic, catalogue=settings.TINY)).start()
    events = some_events(range(3000))
    produce(real_kafka, topic, events)
    node.wait_applied(3000)
    good(node.cli("backup", tmp_path / "backups"))
    others = [user for user in range(1, USERS) if user != 7]
    before = answers(node, others)
    assert node.get_features(user_id=7).user_present
    reply = good(node.cli("forget", 7, "--json"))
    latest = max(event.ts_ms for event in events)
    assert int(reply["entities"]) == 1 and int(reply["records"]) >= 2
    assert reply["backupsStillHolding"] == [f"{tmp_path}/backups backup 1"]
    assert int(reply["tombstoneUntilMs"]) == latest + 30 * 86_400_000

    def check_gone():
        gone = node.get_features(user_id=7)
        assert not gone.user_present and not gone.sequences[0].fields[0].ids
        assert answers(node, others) == before

    check_gone()
    node.kill()  # what was answered is durable
    node.start()
    check_gone()
    late = [of_user(7, 900_000 + number, latest - number) for number in range(20)]
    produce(real_kafka, topic, late)
    node.wait_applied(3020)
    check_gone()
    assert outcomes(node)["forgotten"] == 20
    produce(real_kafka, topic, [of_user(7, 950_000, latest + 1)])  # he comes back
    node.wait_applied(3021)
    back = node.get_features(user_id=7)
    assert back.user_present and list(back.sequences[0].fields[0].ids) == [3]
    assert "may still be held by" in node.cli("forget", 7).stdout


def test_whom_to_forget_must_be_said(make_node):
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY)).start()
    with pytest.raises(CallError) as error:
        node.call("AdminService/Forget", admin_pb2.ForgetRequest(), admin_pb2.ForgetReply)
    assert error.value.code == "invalid_argument" and "user_id" in error.value.message
    nobody = good(node.cli("forget", "who-is-this", "--json"))
    assert (nobody["entities"], nobody["records"], nobody["backupsStillHolding"]) == ("0", "0", [])


def test_a_tombstone_lasts_as_long_as_it_says(make_node):
    configuration = settings.configuration("embedded", catalogue=settings.TINY, tombstones="10s")
    node = make_node(configuration).start()
    produce(node.brokers, "freshet.events", [of_user(7, 1, T0)])
    node.wait_applied(1)
    assert int(good(node.cli("forget", 7, "--json"))["tombstoneUntilMs"]) == T0 + 10_000
    produce(node.brokers, "freshet.events", [of_user(7, 2, T0 - 5), of_user(8, 3, T0 + 10_000)])
    node.wait_applied(3)
    node.digest()  # an epoch, in which the tombstone goes
    produce(node.brokers, "freshet.events", [of_user(7, 4, T0 - 4)])
    node.wait_applied(4)
    assert outcomes(node)["forgotten"] == 1
    assert node.get_features(user_id=7).user_present
