"""The client of a cluster against stubs of its instances."""

import grpc
import pytest
import stub

import freshet
from freshet._routes import Routes, partition_of
from freshet.v1 import admin_pb2, feature_pb2

PARTITIONS = 8
MOVED = (grpc.StatusCode.FAILED_PRECONDITION, "the user is at another instance")
GONE = (grpc.StatusCode.UNAVAILABLE, "stopping")


def user_of(partition):
    return next(user for user in range(1, 1000) if partition_of(user, PARTITIONS) == partition)


class Instances:
    """Stubs of instances by name; `share` says which partitions each announces."""

    def __init__(self, names):
        self.nodes = {name: stub.Node() for name in names}
        for node in self.nodes.values():
            node.replies["GetFeatures"] = feature_pb2.GetFeaturesResponse(user_values=[])
            node.__enter__()

    def share(self, copies="", **partitions):
        """`copies`: who says to have a copy of what is another's."""
        members = [
            admin_pb2.ClusterMember(instance=name, api=self.nodes[name].target, partitions=own) for name, own in partitions.items()
        ]
        for name, node in self.nodes.items():
            node.replies["Cluster"] = admin_pb2.ClusterResponse(
                mode="cluster",
                members=members,
                partitions=[
                    admin_pb2.ClusterPartition(partition=number, instance=owner, here=owner == name, standby=name in copies and owner != name)
                    for number in range(PARTITIONS)
                    for owner, own in partitions.items()
                    if number in own
                ],
            )

    def asked(self, name):
        return [request.user_id for method, request, _, _ in self.nodes[name].calls if method == "GetFeatures"]


@pytest.fixture
def instances():
    instances = Instances("ab")
    instances.share(a=[0, 1, 2, 3], b=[4, 5, 6, 7])
    yield instances
    for node in instances.nodes.values():
        node.__exit__()


@pytest.fixture
def client(instances, connect_cluster):
    return connect_cluster([instances.nodes["a"].target], timeout=10)


@pytest.mark.parametrize("user, hash", [(21, -973932308), (12345, None), (2**64 - 1, None)])
def test_a_partition_is_that_of_kafkas_java_producers(user, hash):
    """The first is in Kafka's own tests (UtilsTest.testMurmur2)."""
    if hash is not None:
        assert partition_of(user, 1000) == (hash & 0x7FFFFFFF) % 1000
    assert 0 <= partition_of(user, PARTITIONS) < PARTITIONS


def test_each_user_is_asked_for_where_its_partition_is(instances, client):
    users = list(range(1, 60))
    for user in users:
        client.get_features(user, [1])
    assert instances.asked("a") == [user for user in users if partition_of(user, PARTITIONS) < 4]
    assert instances.asked("b") == [user for user in users if partition_of(user, PARTITIONS) >= 4]
    assert sum(method == "Cluster" for method, *_ in instances.nodes["a"].calls) == 1


def test_a_word_is_asked_for_where_its_number_is(instances, client):
    client.get_features("alice", [1])
    owner = "a" if partition_of(freshet.id_of("alice"), PARTITIONS) < 4 else "b"
    assert instances.asked(owner) == [freshet.id_of("alice")]


def test_nobodys_reads_go_anywhere(instances, client):
    for _ in range(40):
        client.get_features(0, [1])
    assert len(instances.asked("a")) + len(instances.asked("b")) == 40
    assert instances.asked("a") and instances.asked("b")


def test_a_user_that_moved_is_followed(instances, client):
    user = user_of(0)
    client.get_features(user, [1])
    instances.share(a=[1, 2, 3], b=[0, 4, 5, 6, 7])
    instances.nodes["a"].failures = [MOVED]
    client.get_features(user, [1])
    client.get_features(user, [1])
    assert instances.asked("a") == [user, user]
    assert instances.asked("b") == [user, user]


def test_a_refusal_that_is_not_of_the_place_stands(instances, client):
    instances.nodes["a"].failures = []
    client.get_features(user_of(0), [1])
    instances.nodes["a"].failures = [MOVED]
    with pytest.raises(freshet.Error) as raised:
        client.get_features(user_of(0), [1])
    assert raised.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert instances.asked("b") == []


def test_when_an_instance_is_gone_the_others_say_who_has_its_users(instances, client):
    client.get_features(user_of(0), [1])
    client.get_features(user_of(7), [1])  # b is known now
    instances.share(b=list(range(PARTITIONS)))
    instances.nodes["a"].server.stop(0).wait()
    client.get_features(user_of(0), [1])
    assert instances.asked("b") == [user_of(7), user_of(0)]


def test_while_nobody_has_taken_over_a_user_is_read_from_a_copy(instances, client):
    client.get_features(user_of(0), [1])
    instances.share(a=[0, 1, 2, 3], b=[4, 5, 6, 7], copies="b")
    client.get_features(user_of(7), [1])
    instances.nodes["a"].server.stop(0).wait()
    for _ in range(3):  # b says still that he is at a
        client.get_features(user_of(0), [1])
    assert instances.asked("b") == [user_of(7), *3 * [user_of(0)]]
    assert client.target_of(user_of(0)) == instances.nodes["a"].target
    instances.share(b=list(range(PARTITIONS)))
    client.get_features(user_of(0), [1])
    assert client.target_of(user_of(0)) == instances.nodes["b"].target


def test_instances_that_are_gone_for_good_are_not_asked():
    def said(owner):
        return admin_pb2.ClusterResponse(
            members=[admin_pb2.ClusterMember(instance=owner, api=owner)],
            partitions=[admin_pb2.ClusterPartition(instance=owner)],
        )

    routes = Routes(["given:1"], str)
    for owner in ("one:1", "two:1"):
        routes.take(said(owner), "given:1")
        assert set(routes.known()) == {"given:1", owner}


def test_when_nobody_is_there_the_failure_is_told(instances, client):
    for node in instances.nodes.values():
        node.server.stop(0).wait()
    with pytest.raises(freshet.Error) as raised:
        client.get_features(1, [1], timeout=0.5)
    assert raised.value.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def test_a_node_that_stands_alone_is_a_cluster_of_one(node, connect_cluster):
    client = connect_cluster([node.target])
    client.get_features(5, [1])
    assert client.target_of(5) == node.target
    assert [method for method, *_ in node.calls] == ["Cluster", "GetFeatures"]


def test_an_address_may_be_dialled_otherwise_than_announced(instances, connect_cluster):
    instances.share(a=[0, 1, 2, 3], b=[4, 5, 6, 7])
    for node in instances.nodes.values():
        for member in node.replies["Cluster"].members:
            member.api = f"inside-{member.instance}:7070"
    outside = {f"inside-{name}:7070": node.target for name, node in instances.nodes.items()}
    client = connect_cluster([instances.nodes["a"].target], dial=outside.__getitem__)
    client.get_features(user_of(7), [1])
    assert instances.asked("b") == [user_of(7)]


@pytest.mark.parametrize("targets, error", [("a:1", TypeError), ([], ValueError)])
def test_targets_that_make_no_sense(targets, error, connect_cluster):
    with pytest.raises(error):
        connect_cluster(targets)


def test_a_closed_client_says_so(instances, client):
    client.close()
    with pytest.raises(ValueError, match="closed"):
        client.get_features(1, [1])
