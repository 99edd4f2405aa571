"""What the store keeps: through restarts, and through changes of the catalogue."""

import copy

import compare
import kafka
import logs
import oracle
import settings
from freshet.v1 import event_pb2

T0 = 1_700_000_040_000


def test_after_a_restart_every_value_comes_back_from_disk(make_node, data):
    configuration = settings.configuration("embedded")
    configuration["store"]["epoch"] = "200ms"
    node = make_node(configuration).start()
    events = logs.read_events(logs.Taobao, data)[:30_000]
    made = oracle.Oracle(node.configuration)
    for event in events:
        made.apply(event)
    messages = [(logs.key_of(event), event_pb2.Event(**event).SerializeToString()) for event in events]
    for part in compare.batches(messages, 5_000):  # several epochs, so that states lie in several files
        kafka.produce(node.brokers, "freshet.events", part)
    node.wait_applied(len(events))
    digest = node.digest()
    assert node.stop() == 0
    node.start()
    assert node.digest() == digest
    compare.check_values(node, made, compare.questions(events), (0, 600_000))


def features(node):
    return {feature["name"]: feature for feature in node.call_json("FeatureService/Describe", {})["features"]}


def produce(node, numbers):
    events = [
        event_pb2.Event(event_id=n + 1, ts_ms=T0 + n, action=event_pb2.WATCH, user_id=1, item_id=n % 4 + 1, value=2.0)
        for n in numbers
    ]
    kafka.produce(node.brokers, "freshet.events", [(b"1", event.SerializeToString()) for event in events])


def test_a_feature_keeps_its_state_unless_its_meaning_changed(make_node, tmp_path):
    path = str(tmp_path / "shared")

    def run(catalogue, name):
        configuration = settings.configuration("embedded", catalogue=catalogue)
        configuration["store"]["path"] = path
        return make_node(configuration, name).start()

    first = run(settings.TINY, "first")
    produce(first, range(8))
    first.wait_applied(8)
    generations = {name: feature["generation"] for name, feature in features(first).items()}
    assert first.stop() == 0

    changed = copy.deepcopy(settings.TINY)
    changed["features"]["item_watches"]["windows"] = ["1h"]  # fewer windows: kept
    changed["features"]["user_recent"]["limit"] = 2  # a smaller limit: kept
    changed["features"]["item_seconds"]["where"] = "value > 1"  # another meaning: a new generation
    changed["features"]["item_new"] = {"entity": "item", "aggregate": "count", "windows": ["1h"]}
    second = run(changed, "second")
    assert second.applied() == 8
    reply = second.get_features(user_id=1, item_ids=[1])
    assert list(reply.item_values) == [2.0, 0.0, 0.0]
    assert list(reply.sequences[0].fields[0].ids) == [4, 3]
    now = features(second)
    assert now["item_watches"]["generation"] == generations["item_watches"]
    assert now["item_seconds"]["generation"] == generations["item_seconds"] + 1
    assert int(now["item_seconds"]["completeFromMs"]) >= T0 + 7
    produce(second, range(8, 12))
    second.wait_applied(12)
    assert list(second.get_features(item_ids=[1]).item_values) == [3.0, 2.0, 1.0]
    assert second.stop() == 0

    third = run(settings.TINY, "third")  # what comes back starts empty, and so does what grew by a window
    assert features(third)["item_seconds"]["generation"] == generations["item_seconds"] + 2
    reply = third.get_features(item_ids=[1], features=["item_watches.1h", "item_seconds.1h"])
    assert list(reply.item_values) == [0.0, 0.0]
