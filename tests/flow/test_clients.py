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
FEW = 6
CLIENTS = {  # each is asked one question of so many: some start a process for each, ghz's log is slow to read
    clients.grpcio: 1,
    clients.grpcio_aio: 1,
    clients.grpcurl: FEW,
    clients.ghz: FEW,
    clients.curl_http1: FEW,
    clients.curl_http2: FEW,
    clients.connect_go: FEW,
}


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


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_every_value_is_the_oracles(answers, tmp_path, client):
    requests, wanted = answers.requests[:: CLIENTS[client]], answers.wanted[:: CLIENTS[client]]
    replies = client(answers.node.api, requests, tmp_path)
    assert len(replies) == len(requests)
    assert compare.check_replies(answers.made, zip(requests, wanted, replies)) > 5_000
