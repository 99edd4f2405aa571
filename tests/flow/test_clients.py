"""Stock clients, each by its name: every value that it gets, of real logs and of difficult events, is the oracle's."""

import pytest

import clients
import compare
import kafka
import logs
import oracle
import settings
from freshet.v1 import event_pb2
from node import Node
from test_python_client import NAMES
from test_values import difficult_events

USERS_EVERY = {"kuairand": 10, "rees46": 5, "difficult": 1}
LATER_MS = (0, 600_000)
FEW = 6  # what is slow to ask or to read is asked one question of so many


class Answers:
    """A node with a log, idle, and what it must say."""

    def __init__(self, node, made, events, users_every):
        asked = compare.questions(events, users_every)
        self.node, self.made = node, made
        self.requests = [request for later in LATER_MS for request in compare.requests_of(made, asked, later, NAMES)]
        self.wanted = [compare.wanted_of(made, request) for request in self.requests]


def events_of(name, request):
    if name == "difficult":
        return [event for event in difficult_events(11, 3_000) if oracle.verdict(event) == "applied"]
    return logs.read_events(logs.LOGS[name], request.getfixturevalue("data"))


@pytest.fixture(scope="module", params=USERS_EVERY)
def answers(binary, tmp_path_factory, request):
    events = events_of(request.param, request)
    node = Node(binary, settings.configuration("embedded"), tmp_path_factory.mktemp("clients"))
    try:
        node.start()
        messages = ((logs.key_of(event), event_pb2.Event(**event).SerializeToString()) for event in events)
        kafka.produce(node.brokers, "freshet.events", messages)
        made = oracle.Oracle(node.configuration)
        for event in events:
            made.apply(event)
        node.wait_applied(len(events))
        yield Answers(node, made, events, USERS_EVERY[request.param])
    finally:
        node.kill()


@pytest.mark.parametrize(
    ("client", "every"),
    [
        (clients.grpcio, 1),
        (clients.grpcio_aio, 1),
        (clients.grpcurl, FEW),
        (clients.ghz, FEW),
        (clients.curl_http1, FEW),
        (clients.curl_http2, FEW),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_every_value_is_the_oracles(answers, tmp_path, client, every):
    requests, wanted = answers.requests[::every], answers.wanted[::every]
    replies = client(answers.node.api, requests, tmp_path)
    assert len(replies) == len(requests)
    count = compare.check_replies(answers.made, zip(requests, wanted, replies))
    assert count > 5_000
