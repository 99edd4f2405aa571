"""Both clients against a stub of a node: what is sent, what comes back."""

import asyncio
import pickle
import threading

import grpc
import numpy as np
import pytest

import freshet
from freshet.v1 import admin_pb2, feature_pb2


def test_what_get_features_sends(node, connect):
    connect(node.target).get_features(
        "7",
        [1, "2", "a", np.uint64(2**64 - 1)],
        features=(name for name in ("item_watches", "user_recent")),
        feature_set="fine_rank",
        room_id=5,
        as_of_ms=99,
        after=[freshet.Offset("events", 3, 41), ("events", 4, 0)],
    )
    assert node.requests() == [
        feature_pb2.GetFeaturesRequest(
            user_id=7,
            item_ids=[1, 2, 0xD24EC4F1A98C6E5B, 2**64 - 1],
            features=["item_watches", "user_recent"],
            feature_set="fine_rank",
            room_id=5,
            as_of_ms=99,
            after=[
                feature_pb2.Offset(topic="events", partition=3, offset=41),
                feature_pb2.Offset(topic="events", partition=4, offset=0),
            ],
        )
    ]


def test_item_ids_may_be_an_array_or_none_at_all(node, connect):
    client = connect(node.target)
    client.get_features(1, np.array([3, 2**64 - 1], np.uint64))
    client.get_features(1, ())
    assert [list(request.item_ids) for request in node.requests()] == [[3, 2**64 - 1], []]


def test_what_get_features_returns(node, connect):
    node.replies["GetFeatures"] = feature_pb2.GetFeaturesResponse(
        item_columns=["item_watches.1m"], item_values=[3, 4], item_present=[True, True], request_id=8
    )
    features = connect(node.target).get_features(1, [1, 2])
    assert features.items.tolist() == [[3], [4]]
    assert features.request_id == 8


def test_a_large_reply_comes_whole(node, connect):
    columns, rows = 1_000, 2_000
    values = np.arange(columns * rows, dtype=np.float32)
    node.replies["GetFeatures"] = feature_pb2.GetFeaturesResponse(
        item_columns=map(str, range(columns)), item_values=values, item_present=[True] * rows
    )  # 8 MB
    assert np.array_equal(connect(node.target).get_features(1, range(rows)).items, values.reshape(rows, columns))


@pytest.mark.parametrize(
    ("method", "rpc", "reply"),
    [
        ("describe", "Describe", feature_pb2.DescribeResponse(features=[feature_pb2.FeatureDescription(name="f")])),
        ("status", "Status", admin_pb2.StatusResponse(ready=True, cluster_id="c")),
        ("checkpoint", "Checkpoint", admin_pb2.CheckpointResponse(epoch=9)),
        ("digest", "Digest", admin_pb2.DigestResponse(digest="00ff")),
    ],
)
def test_the_other_methods_return_the_services_messages(node, connect, method, rpc, reply):
    node.replies[rpc] = reply
    assert getattr(connect(node.target), method)() == reply
    assert [name for name, *_ in node.calls] == [rpc]


def test_digest_of_all(node, connect):
    client = connect(node.target)
    client.digest()
    client.digest(all=True)
    assert [request.all for request in node.requests()] == [False, True]


def test_the_token_goes_with_every_call(node, connect):
    client = connect(node.target, token="s3cret")
    client.get_features(1, [])
    client.status()
    assert [metadata["authorization"] for _, _, metadata, _ in node.calls] == ["Bearer s3cret"] * 2


def test_without_a_token_no_authorization_is_sent(node, connect):
    connect(node.target).status()
    assert "authorization" not in node.calls[0][2]


@pytest.mark.parametrize("token", ["", "two words", "line\nend", "é"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_repeated(token, connect):
    with pytest.raises(ValueError) as refused:
        connect("127.0.0.1:1", token=token)
    assert not token or token not in str(refused.value)


def test_an_error_has_code_and_message(node, connect):
    node.failures = [(grpc.StatusCode.INVALID_ARGUMENT, "features[0]: 'item_wtches' is unknown; did you mean 'item_watches'?")]
    with pytest.raises(freshet.Error) as failed:
        connect(node.target).get_features(1, [])
    assert failed.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failed.value.message == "features[0]: 'item_wtches' is unknown; did you mean 'item_watches'?"
    assert str(failed.value) == f"INVALID_ARGUMENT: {failed.value.message}"
    again = pickle.loads(pickle.dumps(failed.value))
    assert (again.code, again.message) == (failed.value.code, failed.value.message)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [((-1, []), {}), ((1, [2**64]), {}), ((1, [""]), {}), ((1, []), {"room_id": -1}), ((1, []), {"timeout": 0})],
)
def test_what_cannot_be_sent_is_a_value_error(node, connect, arguments, options):
    with pytest.raises(ValueError):
        connect(node.target).get_features(*arguments, **options)
    assert not node.calls


@pytest.mark.parametrize(
    ("arguments", "options"),
    [((None, []), {}), ((1, "123"), {}), ((1, [1.5]), {}), ((1, [True]), {}), ((1, []), {"features": "item_watches"})],
)
def test_what_is_of_another_type_is_a_type_error(node, connect, arguments, options):
    with pytest.raises(TypeError):
        connect(node.target).get_features(*arguments, **options)
    assert not node.calls


def test_a_closed_client_says_so(node, connect):
    client = connect(node.target)
    client.status()
    client.close()
    client.close()
    with pytest.raises(ValueError, match="the client is closed"):
        client.status()


def test_with_closes_the_client(node):
    with freshet.Client(node.target) as client:
        client.status()
    with pytest.raises(ValueError, match="the client is closed"):
        client.status()

    async def main():
        async with freshet.AsyncClient(node.target) as client:
            await client.status()
        with pytest.raises(ValueError, match="the client is closed"):
            await client.status()

    asyncio.run(main())


def test_closing_ends_a_call_that_runs(node):
    node.hold = threading.Event()
    client = freshet.Client(node.target, timeout=30)
    failed = []

    def ask():
        try:
            client.status()
        except freshet.Error as error:
            failed.append(error.code)

    thread = threading.Thread(target=ask)
    thread.start()
    while not node.calls:
        thread.join(0.01)
    client.close()
    thread.join(10)
    assert failed == [grpc.StatusCode.CANCELLED]


def test_many_threads_share_a_client(node):
    answers = {}

    def ask(number, client):
        for item in range(25):
            client.get_features(number, [item])
        answers[number] = client.digest().digest

    with freshet.Client(node.target, timeout=30) as client:
        threads = [threading.Thread(target=ask, args=(number, client)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert len(answers) == 8
    asked = [(request.user_id, request.item_ids[0]) for name, request, *_ in node.calls if name == "GetFeatures"]
    assert sorted(asked) == [(number, item) for number in range(8) for item in range(25)]


def test_many_tasks_share_a_client(node):
    async def main():
        async with freshet.AsyncClient(node.target, timeout=30) as client:
            return await asyncio.gather(*(client.get_features(number, [number]) for number in range(100)))

    assert len(asyncio.run(main())) == 100
    assert sorted(request.user_id for request in node.requests()) == list(range(100))


def test_a_cancelled_task_is_cancelled(node):
    node.hold = threading.Event()

    async def main():
        async with freshet.AsyncClient(node.target, timeout=30) as client:
            task = asyncio.ensure_future(client.status())
            while not node.calls:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_keepalive_and_options_reach_the_channel():
    from freshet import _channel

    options = dict(_channel.options(None, 12.5, 3, [("grpc.max_receive_message_length", 1)]))
    assert options["grpc.keepalive_time_ms"] == 12_500
    assert options["grpc.keepalive_timeout_ms"] == 3_000
    assert options["grpc.keepalive_permit_without_calls"] == 1
    assert options["grpc.max_receive_message_length"] == 1
    assert "grpc.keepalive_time_ms" not in dict(_channel.options(None, None, 3, []))
