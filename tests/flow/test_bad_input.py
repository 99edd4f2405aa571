"""Bad input never stops a node: dead letters by reason, requests refused by field, starts refused in one line."""

import os
import pathlib
import re
import shutil
import socket
import struct
import time

import pytest

import compare
import kafka
import oracle
import settings
from freshet.v1 import event_pb2
from node import CallError, wait_for

T0 = 1_700_000_040_000
WATCH = event_pb2.WATCH


def event(**fields):
    return event_pb2.Event(
        **{"ts_ms": T0, "action": WATCH, "user_id": 1, "item_id": 2, "value": 5.0, **fields}
    ).SerializeToString()


def json_event(text=""):
    return b'{"tsMs": %d, "action": "watch", "userId": 1, "itemId": 2, "value": 5%s}' % (T0, text.encode())


def registry(value):
    """With the 5 bytes that a schema registry's serializer puts before a value."""
    return b"\0" + struct.pack(">I", 42) + value


def outcomes(node):
    return {one["outcome"]: int(one["events"]) for one in node.status()["outcomes"]}


def dead_letters(brokers, topic):
    """[(partition, offset, reason, value)] in the order of the records that they tell of."""
    letters = []
    for message in kafka.consume_all(brokers, topic):
        headers = {name: value.decode() for name, value in message.headers()}
        letters.append(
            (headers["topic"], int(headers["partition"]), int(headers["offset"]), headers["reason"], message.value() or b"")
        )
    return sorted(letters)


PROTOBUF_RECORDS = [
    (event(), None),
    (b"", "empty"),
    (b"\x09\x01\x02", "bad_protobuf"),
    (b"\xff" * 40, "bad_protobuf"),
    (event(ts_ms=0), "bad_time"),
    (event(ts_ms=-1), "bad_time"),
    (event(ts_ms=oracle.TS_MS_END), "bad_time"),
    (event(value=float("nan")), "bad_value"),
    (event(value=float("inf")), "bad_value"),
    (event(value=-1.000001e12), "bad_value"),
    (event(text="x" * (1 << 20)), "oversized"),
    (event(text="x" * 1_000_000), None),
    (event(action=0), "ignored"),
    (event(action=99), "ignored"),
    (event(action=99, ts_ms=0), "ignored"),
    (event(scene=77), None),
    (event() + b"\xc2\x3e\x03abc", None),  # an unknown field
    (registry(b"\0" + event()), None),  # with the message index that Confluent's protobuf serializer adds
    (registry(event()), None),
]
JSON_RECORDS = [
    (json_event(), None),
    (b"", "empty"),
    (b"{", "bad_json"),
    (b"[]", "bad_json"),
    (json_event(', "itemId": [1]'), "bad_json"),
    (json_event(', "creatorId": -1'), "bad_json"),
    (json_event(', "creatorId": 18446744073709551616'), "bad_json"),
    (json_event(', "creatorId": 18446744073709551615'), None),
    (json_event(', "position": "many"'), "bad_json"),
    (b'{"tsMs": 0, "action": "WATCH"}', "bad_time"),
    (b'{"tsMs": %d, "action": "watch", "value": 1e13}' % T0, "bad_value"),
    (json_event(', "text": "%s"' % ("x" * (1 << 20))), "oversized"),
    (b'{"tsMs": %d, "userId": 1}' % T0, "ignored"),
    (b'{"tsMs": %d, "action": "levitate"}' % T0, "ignored"),
    (json_event(', "scene": "moon"'), None),
    (json_event(', "somethingNew": {"a": [1, {"b": null}]}'), None),
    (registry(json_event()), None),
]


@pytest.mark.parametrize(
    ("format", "records"), [("protobuf", PROTOBUF_RECORDS), ("json", JSON_RECORDS)], ids=["protobuf", "json"]
)
def test_what_cannot_be_applied_becomes_a_dead_letter_with_its_reason(make_node, real_kafka, format, records):
    topic = kafka.new_topic(real_kafka, partitions=1)
    node = make_node(settings.configuration(real_kafka, topic, format, catalogue=settings.TINY)).start()
    kafka.produce(real_kafka, topic, [(b"1", value) for value, _ in records])
    node.wait_applied(len(records))

    wanted = [
        (topic, 0, offset, reason, value) for offset, (value, reason) in enumerate(records) if reason not in (None, "ignored")
    ]
    wait_for(
        lambda: sum(high for _, high in kafka.watermarks(real_kafka, f"{topic}.dead")) >= len(wanted), "dead letters arrive"
    )
    letters = dead_letters(real_kafka, f"{topic}.dead")
    assert [letter[:4] for letter in letters] == [letter[:4] for letter in wanted]
    for letter, right in zip(letters, wanted):
        assert letter[3] == "oversized" or letter[4] == right[4]

    applied = sum(reason is None for _, reason in records)
    reply = node.get_features(item_ids=[2], features=["item_watches.1h"])
    assert list(reply.item_values) == [applied]
    counted = outcomes(node)
    assert counted["applied"] == applied
    assert counted["unknown_action"] == sum(reason == "ignored" for _, reason in records)
    for reason in {reason for *_, reason, _ in wanted}:
        assert counted[reason] == sum(letter[3] == reason for letter in wanted)


def test_an_event_far_in_the_future_is_a_dead_letter_of_the_wall_clock_only(make_node):
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY, clock="wall", max_future="1m")).start()
    now = int(time.time() * 1000)
    records = [event(ts_ms=now), event(ts_ms=now + 3_600_000), event(ts_ms=now + 40_000)]
    kafka.produce(node.brokers, "freshet.events", [(b"1", value) for value in records])
    node.wait_applied(3)
    assert outcomes(node)["future"] == 1
    later = node.get_features(item_ids=[2], features=["item_watches.1h"], as_of_ms=now + 60_000)
    assert list(later.item_values) == [2]  # the one 40 s ahead is stored and counts once T reaches it
    assert later.stream_time_ms == now + 40_000


def test_a_clock_that_is_wrong_is_named_and_by_how_much(make_node):
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY, clock="wall", max_future="1m")).start()
    ahead = int(time.time() * 1000) + 1_000_000
    kafka.produce(node.brokers, "freshet.events", [(b"1", event(ts_ms=ahead))])
    node.wait_applied(1)
    told = re.search(r"is later than \d+, this machine's clock and node.max_future, by (\d+) ms; set the clock that is wrong", node.log())
    assert told and 900_000 < int(told[1]) <= 940_000, node.log()[-500:]


def test_dead_letters_come_before_the_epoch_that_covers_them(make_node, real_kafka):
    topic = kafka.new_topic(real_kafka, partitions=1)
    node = make_node(settings.configuration(real_kafka, topic, catalogue=settings.TINY)).start()
    for round_number in range(1, 4):
        kafka.produce(real_kafka, topic, [(b"1", b"\xff")] * 10)
        node.wait_applied(10 * round_number)
        node.kill()
        node.start()
        node.wait_applied(10 * round_number)

    def told():
        return {offset for _, _, offset, *_ in dead_letters(real_kafka, f"{topic}.dead")}

    wait_for(lambda: told() == set(range(30)), lambda: f"each at least once; told are {told()}")


# ---- Requests (malformed ones: test_malformed.py) ----


@pytest.fixture
def idle_node(make_node):
    return make_node(settings.configuration("embedded", catalogue=settings.TINY)).start()


def test_unknown_ids_give_defaults(idle_node):
    reply = idle_node.get_features(user_id=7, item_ids=[1, 0, 1, compare.UNKNOWN_ID])
    assert list(reply.item_values) == [0.0] * len(reply.item_columns) * 4
    assert list(reply.item_present) == [False] * 4
    assert not reply.user_present
    assert all(not compare.field_values(field) for sequence in reply.sequences for field in sequence.fields)


def test_the_past_cannot_be_asked(idle_node):
    kafka.produce(idle_node.brokers, "freshet.events", [(b"1", event())])
    idle_node.wait_applied(1)
    with pytest.raises(CallError) as refused:
        idle_node.get_features(item_ids=[2], as_of_ms=T0 - 1)
    assert (refused.value.status, refused.value.code) == (400, "failed_precondition")
    assert str(T0) in refused.value.message
    assert list(idle_node.get_features(item_ids=[2], as_of_ms=T0, features=["item_watches.1m"]).item_values) == [1]


# ---- Starts ----


def refusal(node, *sets):
    """The one line of a node that ends with exit 1."""
    node.spawn(*sets)
    assert node.ended() == 1, node.log()
    errors = [line for line in node.log().splitlines() if line.strip()]
    return errors


def one_line(node, *words, sets=()):
    lines = refusal(node, *sets)
    assert any(all(word in line for word in words) for line in lines), lines
    return lines


def test_a_busy_port_is_named(make_node):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for key in ("server.listen", "server.operations"):
            node = make_node(settings.configuration("embedded", catalogue=settings.TINY))
            assert len(one_line(node, address, key, sets=[f"{key}={address}"])) == 1


def test_a_missing_topic_is_named(make_node, real_kafka):
    node = make_node(settings.configuration(real_kafka, "never.made", catalogue=settings.TINY))
    one_line(node, "never.made", "partitions")


def test_a_locked_directory_names_who_holds_it(make_node):
    first = make_node(settings.configuration("embedded", catalogue=settings.TINY)).start()
    second = make_node(settings.configuration("embedded", catalogue=settings.TINY))
    path = first.configuration["store"]["path"]
    lines = one_line(second, path, str(first.process.pid), sets=[f"store.path={path}"])
    assert len(lines) == 1
    assert first.is_ready()


def test_a_foreign_directory_is_left_alone(make_node, tmp_path):
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "cat.jpg").write_bytes(b"meow")
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY))
    assert len(one_line(node, str(foreign), "store.path", sets=[f"store.path={foreign}"])) == 1
    assert [file.name for file in foreign.iterdir()] == ["cat.jpg"]


def test_a_directory_that_cannot_be_made_is_named(make_node, tmp_path):
    (tmp_path / "file").write_text("")
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY))
    path = tmp_path / "file" / "store"
    assert len(one_line(node, str(path.parent), sets=[f"store.path={path}"])) == 1


def test_the_store_of_another_cluster_is_refused_with_the_way_out(make_node, real_kafka):
    topic = kafka.new_topic(real_kafka, partitions=1)
    node = make_node(settings.configuration(real_kafka, topic, catalogue=settings.TINY)).start()
    kafka.produce(real_kafka, topic, [(b"1", event())])
    node.wait_applied(1)
    assert node.stop() == 0
    with kafka.other_cluster(topic) as brokers:
        other = make_node(settings.configuration(brokers, topic, catalogue=settings.TINY))
        one_line(other, "cluster", "store.path", sets=[f"store.path={node.configuration['store']['path']}"])
    node.start()  # its own cluster is still welcome
    node.wait_applied(1)


def test_without_a_broker_the_node_stays_up_and_says_not_ready(make_node):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        brokers = f"127.0.0.1:{closed.getsockname()[1]}"
        node = make_node(settings.configuration(brokers, "events", catalogue=settings.TINY)).start(is_ready=False)
        wait_for(lambda: "broker" in node.ready_page()[1] or brokers in node.ready_page()[1], lambda: node.ready_page()[1])
        assert node.ready_page()[0] == 503
        assert node.page("/healthz")[0] == 200
        assert node.status()["ready"] is False
        assert node.call_json("FeatureService/Describe", {})["features"]
        assert node.stop() == 0


# ---- The machine around it ----


def refused(node, *arguments, **options):
    """What a node says that does not start."""
    node.spawn(*arguments, **options)
    assert node.process.stdout.readline() == b""
    assert node.ended() == 1
    return node.log()


def test_a_volume_of_another_user_is_told_with_whose_it_should_be(make_node, tmp_path):
    volume = tmp_path / "volume"
    volume.mkdir(mode=0o500)
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY))
    if os.geteuid() != 0:
        told, user = refused(node, f"store.path={volume}/state"), os.geteuid()
    else:  # root may write everywhere, so the node is somebody else
        shutil.copy(node.file, "/dev/shm/freshet-volume.yaml")
        node.file = pathlib.Path("/dev/shm/freshet-volume.yaml")
        path = pathlib.Path("/dev/shm/freshet-volume")
        path.mkdir(mode=0o755, exist_ok=True)
        try:
            told, user = refused(node, f"store.path={path}/state", user=65534), 65534
        finally:
            path.rmdir()
            node.file.unlink()
    assert f"Permission denied for user {user}; give it to that user (chown), or change store.path" in told, told


def test_a_port_that_is_taken_is_named_with_its_key(make_node):
    first = make_node(settings.configuration("embedded", catalogue=settings.TINY)).start()
    for key, address in (("listen", first.api), ("operations", first.operations)):
        second = make_node(settings.configuration("embedded", catalogue=settings.TINY))
        told = refused(second, f"server.{key}={address}")
        assert f"{address}: address in use by another process; stop it or change server.{key}" in told, told


def test_a_budget_that_the_machine_does_not_have_is_told_at_the_start(make_node):
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY)).start("store.memory=16TiB")
    assert re.search(r"store\.memory is 16777216 MiB, and this process may have \d+ MiB in all", node.log())
    assert re.search(r"set store\.memory to \d+MiB or less, or give it more memory", node.log())
    status = node.status()
    assert int(status["memoryBudgetBytes"]) == 16 << 40 and 0 < int(status["machineMemoryBytes"]) < 16 << 40
    node.stop()
    node.start("store.memory=64MiB")
    assert "this process may have" not in node.log()
    assert int(node.status()["memoryBudgetBytes"]) == 64 << 20
