"""An outside trainer: examples from a real Kafka, a head trained on them, pushed; Score then says what the head says."""

import sys

import numpy as np
import pytest

import freshet
import kafka
from freshet import trainer
from freshet.v1 import event_pb2, model_pb2
from node import wait_for

T0 = 1_700_000_000_000
ITEMS = list(range(1, 13))
USERS = list(range(1, 21))


def configuration(brokers, topic):
    return {
        "node": {"clock": "event"},
        "kafka": {"brokers": brokers, "topics": [{"name": topic, "format": "protobuf"}], "dead_letters": f"{topic}.dead"},
        "store": {"epoch": "100ms"},
        "learner": {"served": f"{topic}.served", "examples": f"{topic}.examples"},
        "entities": {"user": {"key": ["user_id"]}, "item": {"key": ["item_id"]}},
        "features": {"watches": {"entity": "item", "actions": ["watch"], "aggregate": "count", "windows": ["1d"]}},
        "feature_sets": {"fine": {"item": ["watches"]}},
        "models": {
            "shop": {
                "feature_set": "fine", "bits": 14, "factors": 2, "sparse": ["item_id", ["user_id", "item_id"]],
                "tasks": {
                    "buy": {"actions": ["purchase"], "policy": "fnw"},
                    "click": {"actions": ["click"], "policy": "first_only"},
                },
                "publish": "20ms",
            }
        },
    }  # fmt: skip


class Plain:
    """Logistic regression by gradient descent in numpy: the least that a head is."""

    def __init__(self, dense, bits, rate=0.1):
        self.fixed, self.table, self.rate = np.zeros(1 + dense), np.zeros(1 << bits), rate
        self.touched = set()

    def logits(self, batch):
        return self.fixed[0] + batch.dense @ self.fixed[1:] + self.table[(batch.sparse - np.uint64(1 << 32)).astype(int)].sum(1)

    def learn(self, batch):
        self.touched.update(batch.sparse.ravel().tolist())
        for _ in range(20):
            off = 1 / (1 + np.exp(-self.logits(batch))) - batch.labels
            self.fixed -= self.rate * np.array([off.mean(), *(batch.dense.T @ off / len(off))])
            np.subtract.at(self.table, (batch.sparse - np.uint64(1 << 32)).astype(int), self.rate * off[:, None])

    def column(self):
        coordinates, self.touched = sorted(self.touched), set()
        weights = [*self.fixed, *(self.table[one - (1 << 32)] for one in coordinates)]
        return np.array([*range(len(self.fixed)), *coordinates], np.uint64), np.array(weights, np.float32)

    def probabilities(self, batch):
        return 1 / (1 + np.exp(-self.logits(batch)))


def score(node, user=1):
    request = model_pb2.ScoreRequest(user_id=user, item_ids=ITEMS, log_items=ITEMS)
    return node.call("ModelService/Score", request, model_pb2.ScoreResponse)


def state(node):
    return node.call("ModelService/Status", model_pb2.ModelStatusRequest(), model_pb2.ModelStatusResponse).models[0]


def show(node, brokers, topic):
    """Everybody is shown everything and clicks on the first four; how many examples of each task that makes."""
    watched = [
        event_pb2.Event(event_id=i, ts_ms=T0, user_id=1, item_id=i, action=event_pb2.WATCH) for i in ITEMS for _ in range(i)
    ]
    produced = kafka.produce(brokers, topic, ((b"1", event.SerializeToString()) for event in watched))
    node.wait_applied(produced)
    events, number = [], 1000
    for user in USERS:
        request = score(node, user).request_id
        for item in ITEMS:
            for action in (event_pb2.IMPRESSION, event_pb2.CLICK) if item <= 4 else (event_pb2.IMPRESSION,):
                number += 1
                said = {"user_id": user, "item_id": item, "action": action, "request_id": request}
                events.append(event_pb2.Event(event_id=number, ts_ms=T0 + number, **said))
    events.append(event_pb2.Event(event_id=number + 1, ts_ms=T0 + 3_600_000, user_id=999, item_id=1, action=event_pb2.WATCH))
    kafka.produce(brokers, topic, ((str(event.user_id).encode(), event.SerializeToString()) for event in events))
    return len(USERS) * len(ITEMS)


def row_batch(client, training, user=1):
    """What the head sees of the rows that Score is asked for."""
    ranker = training._ranker
    features = client.get_features(user, ITEMS, feature_set="fine", features=ranker.item_fields)
    dense, sparse = ranker.rows(features, user, ITEMS)
    zeros = np.zeros(len(ITEMS))
    return trainer.Batch(ranker.standardised(dense), sparse, zeros, zeros, zeros > 0)


def check_head(make_node, brokers, make_head):
    topic = kafka.new_topic(brokers)
    node = make_node(configuration(brokers, topic)).start()
    count = show(node, brokers, topic)
    wait_for(lambda: state(node).examples == 2 * count, lambda: f"{2 * count} examples: {state(node)}")
    before = np.array(score(node).probabilities).reshape(-1, 2)
    with freshet.Client(node.api) as client, trainer.Examples(brokers, f"{topic}.examples", topic) as examples:
        training = trainer.Trainer(client, examples, make_head(1, 14), model="shop", task="click")
        wait_for(
            lambda: training.step(timeout=0.2) >= 0 and training.learned == count,
            lambda: f"{training.learned} of {count} learned",
        )
        assert (training.skipped, training.stale, training.rejected) == (count, 0, 0)

        def check_score(version):
            scored = score(node)
            assert scored.model_version >= version
            after = np.array(scored.probabilities).reshape(-1, 2)
            assert list(scored.tasks) == ["buy", "click"]
            wanted = training.head.probabilities(row_batch(client, training))
            assert np.allclose(after[:, 1], wanted, atol=2e-6)
            assert np.allclose(after[:, 0], before[:, 0], atol=1e-6)  # the other task's
            assert after[:4, 1].min() > after[4:, 1].max() and not np.allclose(after[:, 1], before[:, 1], atol=1e-3)

        check_score(training.version)
        node.call("ModelService/Change", model_pb2.ModelChangeRequest(change="SAVE"), model_pb2.ModelStatusResponse)
        client_api = node.api
        node.stop()
        node.start(f"server.listen={client_api}")  # versions go on far above those that the trainer knows
        training.head.learn(row_batch_of_ones(training, client))
        check_stale(training)
        check_score(training.version)


def row_batch_of_ones(training, client):
    batch = row_batch(client, training)
    ones = np.ones(len(batch))
    return trainer.Batch(batch.dense, batch.sparse, (np.arange(len(batch)) < 4) * ones, ones, batch.is_fnw)


def check_stale(training):
    old = training.version
    new = training.push()
    assert training.stale == 1 and new > old + 1_000_000 - 1 and training.rejected == 0


def test_a_head_trained_outside_is_what_score_says(make_node, real_kafka):
    check_head(make_node, real_kafka, Plain)


@pytest.mark.long
def test_so_is_one_in_pytorch(make_node, real_kafka):
    sys.path.append("/usr/lib/python3/dist-packages")  # Debian's python3-torch; the environment's own comes first
    pytest.importorskip("torch")
    check_head(make_node, real_kafka, lambda dense, bits: trainer.TorchHead(dense, bits, rate=0.3, epochs=20))


def test_examples_come_again_until_they_are_done(real_kafka):
    topic = kafka.new_topic(real_kafka, 1)
    records = [(b"1", model_pb2.Example(example_id=number, user_id=1).SerializeToString()) for number in (1, 2, 2, 3, 1, 4)]
    kafka.produce(real_kafka, topic, records)
    for is_done in (False, True):
        with trainer.Examples(real_kafka, topic, topic) as examples:
            found = []
            wait_for(lambda: found.extend(examples.take(10, 0.2)) or len(found) == 4, lambda: f"four examples: {found}")
            assert [one.example_id for one in found] == [1, 2, 3, 4]
            if is_done:
                examples.done()
    kafka.produce(real_kafka, topic, [(b"1", model_pb2.Example(example_id=5, user_id=1).SerializeToString())])
    with trainer.Examples(real_kafka, topic, topic) as examples:
        found = []
        wait_for(lambda: found.extend(examples.take(10, 0.2)) or found, "the fifth")
        assert [one.example_id for one in found] == [5]
