"""ModelService over the wire: scores, a pulled copy with the same bits, pushes, orders, restarts."""

import json
import time

import confluent_kafka
import grpc
import numpy as np
import pytest

import freshet
import kafka
from freshet.v1 import event_pb2, model_pb2
from node import CallError, Node, wait_for

T0 = 1_700_000_040_000
CONFIGURATION = {
    "node": {"clock": "event"},
    "kafka": {"brokers": "embedded", "topics": [{"name": "freshet.events", "format": "protobuf", "partitions": 2}]},
    "entities": {"user": {"key": ["user_id"]}, "item": {"key": ["item_id"]}, "creator": {"key": ["creator_id"]}},
    "features": {
        "user_watches": {"entity": "user", "actions": ["watch"], "aggregate": "count", "windows": ["1h"]},
        "item_watches": {"entity": "item", "actions": ["watch"], "aggregate": "count", "windows": ["5m", "1h"]},
        "item_watch_time": {"entity": "item", "actions": ["watch"], "aggregate": "sum", "of": "value", "windows": ["1h"]},
    },
    "feature_sets": {"fine": {"user": ["user_watches"], "item": ["item_watches", "item_watch_time"]}},
    "models": {
        "shop": {
            "feature_set": "fine", "bits": 16, "factors": 3, "dense": {"all": "standard", "item_watch_time": "log"},
            "sparse": ["user_id", "item_id", "item.creator_id", ["scene", "item.category_id", "item_watches.5m"]],
            "tasks": {"click": {"actions": ["click"]}, "buy": {"actions": ["purchase"], "policy": "fnw", "window": "1d"}},
            "blend": {"live": "click^1 * buy^2", "mall": "0.25*click + 2*buy"}, "publish": "20ms",
        }
    },
}  # fmt: skip
ITEMS = [1, 2, 3, 4, 99]


def fill(node):
    events = [
        event_pb2.Event(
            event_id=number + 1, ts_ms=T0 + number, user_id=77, item_id=number % 4 + 1, creator_id=number % 4 % 2 + 7,
            category_id=number % 4 + 5, action=event_pb2.WATCH, value=number * 1.75,
        )
        for number in range(30)
    ]  # fmt: skip
    kafka.produce(node.brokers, "freshet.events", [(b"77", event.SerializeToString()) for event in events])
    node.wait_applied(len(events))
    return node


@pytest.fixture
def node(make_node):
    return fill(make_node(CONFIGURATION).start())


@pytest.fixture(scope="module")
def idle(binary, tmp_path_factory):
    """A node whose model nobody changes."""
    node = Node(binary, CONFIGURATION, tmp_path_factory.mktemp("model"))
    try:
        yield fill(node.start())
    finally:
        node.kill()


def score(node, **fields):
    return node.call("ModelService/Score", model_pb2.ScoreRequest(user_id=77, item_ids=ITEMS, **fields), model_pb2.ScoreResponse)


def push(node, **fields):
    return node.call("ModelService/Push", model_pb2.PushRequest(**fields), model_pb2.PushResponse)


def state(node):
    return node.call("ModelService/Status", model_pb2.ModelStatusRequest(), model_pb2.ModelStatusResponse).models[0]


def rows_of(client, ranker, **context):
    features = client.get_features(77, ITEMS, feature_set="fine", features=ranker.item_fields)
    return ranker.rows(features, 77, ITEMS, **context)


def random_weights(schema, sparse, seed):
    """Weights for all that the rows name."""
    width = len(schema.tasks) + schema.factors
    ids = [*range(len(schema.dense) + 1), *sorted({int(one) for one in sparse.flatten()})]
    values = np.random.default_rng(seed).normal(0, 0.4, (len(ids), width)).astype(np.float32)
    values[: len(schema.dense) + 1, len(schema.tasks) :] = 0
    return ids, values


def test_scores_from_a_pulled_copy_are_the_nodes_own(node):
    with freshet.Client(node.api) as client:
        ranker = freshet.Ranker(client, "shop", verify=True)
        assert ranker.update() == state(node).version
        dense, sparse = rows_of(client, ranker, scene="live")
        for seed in range(3):
            ids, values = random_weights(ranker.schema, sparse, seed)
            pushed = push(
                node, model="shop", base_version=ranker.version, schema=ranker.schema.schema, kind="WEIGHTS",
                width=values.shape[1], ids=ids, values=values.flatten(),
            )  # fmt: skip
            assert (pushed.accepted, pushed.rejected) == (len(ids), 0)
            assert ranker.update() == pushed.version
            scored = score(node, model="shop", scene="live")
            assert scored.model_version == pushed.version and list(scored.tasks) == ["click", "buy"]
            mine = ranker.probabilities(dense, sparse)
            assert np.array_equal(np.array(scored.probabilities, np.float32).reshape(mine.shape), mine)
            assert np.allclose(scored.scores, mine[:, 0] * mine[:, 1].astype(float) ** 2, rtol=1e-6)
            assert len(set(scored.scores)) == len(ITEMS) and all(sd > 0 for sd in scored.score_sd)
            mall = score(node, model="shop", scene="mall", tasks=["buy"])
            other = ranker.probabilities(*rows_of(client, ranker, scene="mall"))
            assert np.array_equal(np.array(mall.probabilities, np.float32), other[:, 1])
            assert np.allclose(mall.scores, 0.25 * other[:, 0].astype(float) + 2 * other[:, 1], rtol=1e-6)


def test_a_stream_goes_on_with_each_version(node):
    with freshet.Client(node.api) as client:
        ranker, late = (freshet.Ranker(client, verify=True) for _ in range(2))
        versions = ranker.follow(timeout=60)
        next(versions)
        late.update()
        dense, sparse = rows_of(client, ranker)
        for seed in range(5):
            ids, values = random_weights(ranker.schema, sparse[: seed + 1], seed)
            pushed = push(
                node, base_version=ranker.version, schema=ranker.schema.schema, kind="GRADIENTS", width=values.shape[1],
                ids=ids, values=values.flatten(),
            )  # fmt: skip
            assert next(version for version in versions if version >= pushed.version) == pushed.version
        assert late.update() == ranker.version  # a delta over all of them
        assert np.array_equal(late.logits(dense, sparse), ranker.logits(dense, sparse))
        assert np.array_equal(
            np.array(score(node).probabilities, np.float32).reshape(-1, 2), ranker.probabilities(dense, sparse)
        )


def test_exploration_is_drawn_from_the_seed(idle):
    plain, ucb = score(idle), score(idle, explore="UCB")
    assert plain.probabilities == ucb.probabilities and all(a < b for a, b in zip(plain.scores, ucb.scores))
    draws = [score(idle, explore="THOMPSON", seed=seed).scores for seed in (3, 3, 4)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(
    ("method", "request_", "code", "message"),
    [
        ("Score", {"model": "shpo"}, "invalid_argument", "model: 'shpo' is unknown; did you mean 'shop'?"),
        ("Score", {"scene": "liv"}, "invalid_argument", "scene: 'liv' is unknown; did you mean 'live'?"),
        ("Score", {"tasks": ["clik"]}, "invalid_argument", "tasks: 'clik' is unknown; did you mean 'click'?"),
        ("Score", {"itemIds": ["1"] * 2001}, "invalid_argument", "item_ids: 2001 given"),
        ("Push", {"model": "shop", "width": 5, "ids": ["0"], "values": [1]}, "invalid_argument", "values: 1 given"),
        ("Push", {"width": 5, "baseVersion": "1"}, "failed_precondition", "schema: 0 is not that of model 'shop'"),
        ("Status", {"model": "x"}, "invalid_argument", "model: 'x' is unknown"),
        ("Change", {"change": "PROMOTE"}, "failed_precondition", "has no shadow to promote"),
        ("Change", {}, "invalid_argument", "change: 0 is unknown"),
    ],
)
def test_mistakes_are_told(idle, method, request_, code, message):
    with pytest.raises(CallError) as raised:
        idle.call_json(f"ModelService/{method}", request_)
    assert raised.value.code == code and message in raised.value.message


def test_a_push_against_another_version_or_schema_is_refused(node):
    now = state(node)
    for base, schema, message in (
        (now.version + 1, now.schema, "is not there yet"),
        (0, now.schema, "is too old"),
        (now.version, now.schema + 1, "is not that of model"),
    ):
        with pytest.raises(CallError) as raised:
            push(node, base_version=base, schema=schema, width=5)
        assert raised.value.code == "failed_precondition" and message in raised.value.message
    bad = [1e9, float("nan"), float("inf")]
    pushed = push(
        node, base_version=now.version, schema=now.schema, width=5, ids=[0, 1 << 32, 1, 10_000],
        values=[value for one in (*bad, 0.5) for value in (one, 0, 0, 0, 0)],
    )  # fmt: skip
    assert (pushed.accepted, pushed.rejected) == (0, 4)


def test_an_unknown_model_ends_the_stream_with_its_nearest_name(idle):
    with grpc.insecure_channel(idle.api) as channel:
        stream = channel.unary_stream("/freshet.v1.ModelService/Pull")(model_pb2.PullRequest(model="shpo").SerializeToString())
        with pytest.raises(grpc.RpcError) as raised:
            next(stream)
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT and "did you mean 'shop'?" in raised.value.details()


def test_a_model_survives_a_restart_and_a_kill_after_it_was_saved(node):
    now = state(node)
    push(
        node, base_version=now.version, schema=now.schema, kind="WEIGHTS", width=5, ids=[0, (1 << 32) + 5],
        values=[0.5, -0.5, 0, 0, 0, 0.25, 0.125, 0.5, 1, 2],
    )  # fmt: skip
    node.call("ModelService/Change", model_pb2.ModelChangeRequest(change="SAVE"), model_pb2.ModelStatusResponse)
    for end in (node.kill, node.stop):
        before = score(node)
        end()
        node.start()
        after = score(node)
        assert after.model_version > before.model_version
        with freshet.Client(node.api) as client:
            ranker = freshet.Ranker(client, verify=True)
            ranker.update()
            assert ranker._version.rows[ranker._version.index[(1 << 32) + 5]].tolist() == [0.25, 0.125, 0.5, 1, 2]


def test_status_and_metrics_name_the_model(node):
    shown = node.status()["models"]
    assert [(one["name"], one["role"]) for one in shown] == [("shop", "live")]
    assert [task["name"] for task in shown[0]["tasks"]] == ["click", "buy"]
    assert b'freshet_model_versions_total{model="shop",role="live"}' in node.page("/metrics")[2]
    node.call_json("ModelService/Change", {"model": "shop", "change": "FREEZE"})
    wait_for(lambda: state(node).role == "frozen", "frozen")
    with pytest.raises(CallError, match="frozen"):
        push(node, base_version=state(node).version, schema=state(node).schema, width=5)
    assert node.call_json("ModelService/Change", {"change": "PROMOTE"})["models"][0]["role"] == "live"


# ---- The loop: what was shown and clicked changes the next score ----


def test_what_is_clicked_is_scored_higher_from_the_next_version_on(make_node):
    configuration = json.loads(json.dumps(CONFIGURATION))
    configuration["node"]["clock"] = "wall"
    configuration["store"] = {"epoch": "100ms"}
    configuration["models"]["shop"]["tasks"] = {"click": {"actions": ["click"], "policy": "fnw", "window": "1m"}}
    configuration["models"]["shop"]["blend"] = {"live": "click"}
    node = make_node(configuration).start()
    before = state(node)
    event_id = 0
    for _ in range(12):
        shown = score(node, scene="live", log_items=ITEMS)
        now_ms = int(time.time() * 1000)
        events = [
            event_pb2.Event(
                event_id=(event_id := event_id + 1), ts_ms=now_ms, user_id=77, item_id=item, action=action,
                request_id=shown.request_id, scene=event_pb2.LIVE, position=ITEMS.index(item) + 1,
            )
            for item in ITEMS for action in ([event_pb2.IMPRESSION, event_pb2.CLICK] if item < 3 else [event_pb2.IMPRESSION])
        ]  # fmt: skip
        kafka.produce(node.brokers, "freshet.events", [(b"77", event.SerializeToString()) for event in events])
        produced = time.monotonic()
        wait_for(lambda: score(node, scene="live").model_version > shown.model_version, "a version that learned from it")
        assert time.monotonic() - produced < 10
    wait_for(lambda: state(node).tasks[0].examples >= 12 * (len(ITEMS) + 2), lambda: str(state(node)))
    wait_for(lambda: state(node).version > before.version + 1, "the last of it published")
    scores = score(node, scene="live").scores
    assert min(scores[:2]) > 1.2 * max(scores[2:]), scores
    learned = state(node)
    assert learned.tasks[0].positives == 24 and learned.rejected == 0
    # Saved and killed: what the outbox still holds is learned again, nothing twice.
    node.call_json("ModelService/Change", {"change": "SAVE"})
    node.kill()
    node.start()
    wait_for(lambda: state(node).examples == learned.examples, lambda: f"{learned.examples} examples, {state(node)}")
    assert np.allclose(score(node, scene="live").scores, scores, rtol=0.05)


@pytest.mark.alone
def test_a_click_changes_the_next_score_long_before_its_epoch_is_durable(make_node, capsys):
    """From a click's being produced to a Score that knows of it. An epoch of 30 s: who waited for it would be far out of these bounds."""
    configuration = json.loads(json.dumps(CONFIGURATION))
    configuration["node"]["clock"] = "wall"
    configuration["store"] = {"epoch": "30s"}
    configuration["models"]["shop"] |= {
        "tasks": {"click": {"actions": ["click"], "policy": "first_only", "window": "1h"}}, "blend": {"default": "click"},
        "publish": "100ms",
    }  # fmt: skip
    node = make_node(configuration).start()
    producer = confluent_kafka.Producer({"bootstrap.servers": node.brokers, "partitioner": "murmur2_random", "linger.ms": 0})

    def send(action, request, number):
        event = event_pb2.Event(
            event_id=(number + 1) * 2 + (action == event_pb2.CLICK), ts_ms=int(time.time() * 1000), user_id=77, item_id=1,
            action=action, request_id=request.request_id, scene=event_pb2.LIVE,
        )  # fmt: skip
        producer.produce("freshet.events", event.SerializeToString(), b"77")
        producer.flush()

    requests = [score(node, scene="live", log_items=[1]) for _ in range(40)]
    for number, request in enumerate(requests):
        send(event_pb2.IMPRESSION, request, number)
    shown = b'freshet_join_total{what="impressions"} 40\n'
    rows = b'freshet_join_total{what="rows"} 40\n'
    wait_for(lambda: shown in (page := node.page("/metrics")[2]) and rows in page, "all of them shown")
    ask = model_pb2.ScoreRequest(item_ids=ITEMS, scene="live")  # of no user: such rows are not logged
    took, before = [], node.call("ModelService/Score", ask, model_pb2.ScoreResponse)
    for number, request in enumerate(requests):
        begun = time.monotonic()
        send(event_pb2.CLICK, request, number)
        while (after := node.call("ModelService/Score", ask, model_pb2.ScoreResponse)).model_version == before.model_version:
            assert time.monotonic() - begun < 20
        took.append(time.monotonic() - begun)
        assert after.probabilities[0] > before.probabilities[0]
        before = after
    took.sort()
    p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
    with capsys.disabled():
        print(f"\nclick -> changed Score: p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms of {len(took)}")
    assert p50 < 1 and p99 < 5  # the aim is a p99 below 1 s; a machine that does ten other things may take longer


def test_the_command_line_shows_orders_and_copies(node, tmp_path):
    def run(*arguments):
        done = node.cli("model", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "shop" in run("show") and "click" in run("show")
    report = run("report")
    assert report.startswith("shop (live): version ") and "stability" in report and "too few examples yet" in report
    assert json.loads(run("freeze", "--json"))["models"][0]["role"] == "frozen"
    assert json.loads(run("thaw", "--json"))["models"][0]["role"] == "live"
    file = tmp_path / "shop.model"
    store = node.configuration["store"]["path"]
    assert "coordinates" in run("export", "--model", "shop", "--store", store, file)
    node.stop()
    spoiled = tmp_path / "spoiled.model"
    spoiled.write_bytes(file.read_bytes()[:-20])
    refused = node.cli("model", "import", "--model", "shop", "--store", store, spoiled)
    assert refused.returncode == 1 and "not whole" in refused.stderr
    run("import", "--model", "shop", "--store", store, file)
    node.start()
    mistaken = node.cli("model", "promot")
    assert mistaken.returncode == 2 and "did you mean promote" in mistaken.stderr


def test_a_score_follows_what_was_written(node):
    event = event_pb2.Event(event_id=999, ts_ms=T0 + 60_000, user_id=77, item_id=1, action=event_pb2.WATCH, value=1)
    before = score(node)
    kafka.produce(node.brokers, "freshet.events", [(b"77", event.SerializeToString())])
    partition = kafka.murmur2_partition(b"77", 2)
    end = kafka.watermarks(node.brokers, "freshet.events")[partition][1]
    after = score(node, after=[{"topic": "freshet.events", "partition": partition, "offset": end - 1}])
    assert after.stream_time_ms == T0 + 60_000 > before.stream_time_ms
