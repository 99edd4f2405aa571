"""An outside trainer: examples from a real Kafka, a head trained on them, pushed; Score then says what the head says."""

import dataclasses
import hashlib
import math
import os
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

import freshet
import kafka
from freshet import trainer
from freshet.v1 import event_pb2, model_pb2
from node import wait_for

HERE = pathlib.Path(__file__).parent
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


@pytest.fixture(scope="module")
def pypi_torch():
    """PyTorch as `pip install torch` brings it, with CUDA's libraries, in an environment of its own that the user's cache keeps."""
    wanted = HERE / "requirements-torch.txt"
    version = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()[:16]
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    environment = cache / "freshet-tests" / f"torch-{version}"
    if not (environment / ".complete").exists():
        install(environment, wanted)
    packages = environment / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    sys.path.append(str(packages))  # ours come first
    import torch

    assert pathlib.Path(torch.__file__).is_relative_to(packages)
    return torch


def install(environment, wanted):
    """3 GB to fetch, 5.4 GB on disk: what pip does is told as it does it (with -s)."""
    begun = time.monotonic()
    shutil.rmtree(environment, ignore_errors=True)
    print(f"trainer: {wanted.read_text().split()[-1]} from PyPI into {environment}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [environment / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir"]
    done = subprocess.Popen([*pip, "--progress-bar=off", "-r", wanted], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = []
    for line in done.stdout:
        said.append(line)
        print(f"trainer: {time.monotonic() - begun:4.0f} s {line.rstrip()}", flush=True)
    assert done.wait() == 0, "".join(said[-20:])
    held = sum(one.stat().st_size for one in environment.rglob("*") if one.is_file() and not one.is_symlink())
    print(f"trainer: {held / 1e9:.1f} GB in {time.monotonic() - begun:.0f} s", flush=True)
    (environment / ".complete").touch()


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
def test_so_is_one_in_pytorch(make_node, real_kafka, pypi_torch):
    check_head(make_node, real_kafka, lambda dense, bits: trainer.TorchHead(dense, bits, rate=0.3, epochs=20))


# ---- Gradients ----

OPTIMISER = {"alpha": 0.25, "beta": 0.5, "l1": 0.01, "l2": 0.02}


class Slopes:
    """The gradient of a logistic loss in numpy; keeps what it said last."""

    def gradients(self, batch, here):
        logits = here.offset + here.weights[0] + batch.dense @ here.weights[1 : 1 + batch.dense.shape[1]]
        off = batch.weights * (1 / (1 + np.exp(-logits - here.weights[here.places].sum(1))) - batch.labels)
        slopes = np.zeros(len(here.ids))
        slopes[: 1 + batch.dense.shape[1]] = off.sum(), *(batch.dense.T @ off)
        np.add.at(slopes, here.places, off[:, None])
        return slopes


class Listening:
    """A head whose gradients are kept as they go over the wire."""

    def __init__(self, head):
        self.head, self.said, self.asked = head, {}, 0

    def gradients(self, batch, here):
        slopes = self.head.gradients(batch, here)
        self.said = dict(zip(here.ids.tolist(), slopes.astype(np.float32).tolist()))
        self.asked += 1
        return slopes


class Given:
    """Examples by the batch, as if they came from the topic."""

    def __init__(self, batches):
        self.batches = list(batches)

    def take(self, count, timeout):
        return self.batches.pop(0) if self.batches else []

    def done(self):
        pass


def made_examples(schema, count, seed):
    """Of coordinates that no example of the node's own names; some labels are ranks."""
    draw = np.random.default_rng(seed)
    for number in range(count):
        label = model_pb2.Label(task="click", value=float(draw.choice([0, 0, 1, draw.random()])), weight=float(draw.choice([1, 2])))
        sparse = (1 << 32) + draw.integers(0, 40, len(schema.sparse))
        dense = draw.integers(0, 9, len(schema.dense))
        yield model_pb2.Example(
            example_id=number + 1, schema=schema.schema, dense=dense, sparse=sparse.tolist(), labels=[label], policy="first_only"
        )


def ftrl(state, gradient):
    """FTRL-proximal (McMahan 2013), (z, n, w) kept as floats and reckoned in doubles, as docs/model.md says."""
    alpha, beta, l1, l2 = OPTIMISER.values()
    z, n, w = (float(one) for one in state)
    root, next_ = math.sqrt(n), math.sqrt(n + gradient * gradient)
    z += gradient - (next_ - root) / alpha * w
    size = max(abs(z) - l1, 0) / ((beta + next_) / alpha + l2)
    return np.float32(z), np.float32(n + gradient * gradient), np.float32(-size if z > 0 else size)


def check_gradients(make_node, head):
    """From a model that has seen nothing, so that the whole state of its optimiser is known."""
    at = configuration("embedded", "freshet.events")
    at["models"]["shop"]["optimiser"] = OPTIMISER
    node = make_node(at).start()
    with freshet.Client(node.api) as client:
        schema = freshet.Ranker(client, "shop").schema
        source, listening = Given(list(made_examples(schema, 300, seed)) for seed in range(4)), Listening(head)
        training = trainer.Trainer(client, source, listening, model="shop", task="click")
        mine = {}
        for step in range(4):
            if step == 3:  # versions go on far above: what was taken at the old one is refused, and taken anew
                node.call("ModelService/Change", model_pb2.ModelChangeRequest(change="SAVE"), model_pb2.ModelStatusResponse)
                api = node.api
                training._ranker.update = restart_first(node, api, training._ranker.update)
            assert training.step() == 300
            for one, gradient in listening.said.items():
                mine[one] = ftrl(mine.get(one, (0, 0, 0)), gradient)
            training._ranker.update()
            weights = training._ranker.weights(mine)
            assert np.array_equal(weights[:, training.task], np.array([state[2] for state in mine.values()])), step
            assert not weights[:, [column for column in range(weights.shape[1]) if column != training.task]].any()
        assert len(mine) > 40 and np.count_nonzero([state[2] for state in mine.values()]) > 30
        assert (training.stale, listening.asked, training.rejected) == (1, 5, 0)


def restart_first(node, api, update):
    """The first update is the node's last word before it is started anew."""
    left = [True]

    def updated():
        version = update()
        if left:
            left.clear()
            node.stop()
            node.start(f"server.listen={api}")
        return version

    return updated


def test_a_pushed_gradient_moves_weights_as_the_optimiser_says(make_node):
    check_gradients(make_node, Slopes())


@pytest.mark.long
def test_so_does_one_by_autograd(make_node, pypi_torch):
    check_gradients(make_node, trainer.TorchGradients())
    batch, here = made_batch()
    assert np.allclose(trainer.TorchGradients().gradients(batch, here), Slopes().gradients(batch, here), rtol=1e-9, atol=1e-9)


def test_gradients_are_those_of_finite_differences():
    batch, here = made_batch()
    slopes = Slopes().gradients(batch, here)
    for one in range(len(here.ids)):
        up, down = (loss(batch, moved(here, one, by)) for by in (1e-5, -1e-5))
        assert abs((up - down) / 2e-5 - slopes[one]) < 1e-6


def made_batch():
    draw = np.random.default_rng(5)
    count = 50
    zeros = np.zeros(count, bool)
    batch = trainer.Batch(
        draw.normal(size=(count, 3)), np.zeros((count, 2), np.uint64), draw.integers(0, 2, count) * draw.random(count), 1 + draw.random(count), zeros
    )
    here = trainer.Here(np.arange(12, dtype=np.uint64), draw.normal(size=12), draw.integers(4, 12, (count, 2)), draw.normal(size=count))
    return batch, here


def moved(here, one, by):
    weights = here.weights.copy()
    weights[one] += by
    return dataclasses.replace(here, weights=weights)


def loss(batch, here):
    logits = here.offset + here.weights[0] + batch.dense @ here.weights[1:4] + here.weights[here.places].sum(1)
    return float((batch.weights * (np.logaddexp(0, logits) - batch.labels * logits)).sum())


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
