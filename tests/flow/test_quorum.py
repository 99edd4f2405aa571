"""Three brokers, of which one after the other is taken away under load: two nodes on the same topic end alike, with each event once."""

import threading
import uuid

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

import kafka
import settings
from broker import Broker, free_ports
from node import wait_for
from test_replay import records, some_events

COUNT = 9_000
PARTITIONS = 6


class Quorum:
    """Three KRaft nodes, each broker and controller; any two of them are enough."""

    def __init__(self, directory):
        ports = [free_ports(2) for _ in range(3)]
        voters = ",".join(f"{number + 1}@127.0.0.1:{port + 1}" for number, port in enumerate(ports))
        more = {
            "offsets.topic.replication.factor": 3, "transaction.state.log.replication.factor": 3, "default.replication.factor": 3,
            "min.insync.replicas": 2, "controlled.shutdown.enable": "true",
        }  # fmt: skip
        cluster = uuid.uuid4().hex[:22]
        self.brokers = [
            Broker(directory / f"broker{number}", port, more, NODE=str(number + 1), VOTERS=voters, CLUSTER=cluster)
            for number, port in enumerate(ports)
        ]
        self.addresses = ",".join(broker.address for broker in self.brokers)

    def start(self):
        begun = [broker.spawn() for broker in self.brokers]
        for broker, process in zip(self.brokers, begun):
            broker.start(process)
        return self

    def stop(self):
        for broker in self.brokers:
            broker.stop(WIPE="1")

    def new_topic(self):
        name = f"events.{uuid.uuid4().hex[:12]}"
        admin = AdminClient({"bootstrap.servers": self.addresses})
        for made in admin.create_topics([NewTopic(name, PARTITIONS, 3)]).values():
            made.result(60)
        return name

    def leaders(self, topic, but):
        """Who leads each partition, as the brokers other than `but` have it."""
        others = ",".join(broker.address for broker in self.brokers if broker is not but)
        partitions = AdminClient({"bootstrap.servers": others}).list_topics(topic, timeout=30).topics[topic].partitions
        return {number: partition.leader for number, partition in partitions.items()}


@pytest.fixture
def quorum(tmp_path):
    made = Quorum(tmp_path / "quorum")
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.mark.long
def test_leaders_that_change_under_load_lose_and_double_nothing(make_node, quorum):
    topic = quorum.new_topic()
    made = records(some_events(COUNT))
    configuration = settings.configuration(quorum.addresses, topic)
    nodes = [make_node(configuration, name).start() for name in ("disturbed", "killed")]
    produced = []

    def load():
        for at in range(0, COUNT, 150):
            kafka.produce(quorum.addresses, topic, made[at : at + 150], **{"enable.idempotence": True, "acks": "all"})
            produced.append(150)

    loader = threading.Thread(target=load)
    loader.start()
    for number, broker in enumerate(quorum.brokers):
        goal = (number + 1) * COUNT // 5
        wait_for(lambda: sum(produced) >= goal, lambda: f"{goal} produced of {sum(produced)}", 300)  # noqa: B023
        led = [partition for partition, leader in quorum.leaders(topic, None).items() if leader == number + 1]
        assert led, f"broker {number + 1} leads nothing"
        (broker.kill if number % 2 else broker.stop)()
        wait_for(lambda: number + 1 not in quorum.leaders(topic, broker).values(), "others lead")  # noqa: B023
        nodes[1].kill()  # a second replica that is killed with each broker
        nodes[1].start(is_ready=False)
        broker.start()
    loader.join()
    for node in nodes:
        node.wait_applied(COUNT)
    undisturbed = make_node(configuration, "undisturbed").start()
    undisturbed.wait_applied(COUNT)
    assert {node.digest() for node in (*nodes, undisturbed)} == {undisturbed.digest()}
    restarts = [line for line in nodes[0].page("/metrics")[2].decode().splitlines() if line.startswith("freshet_ingest_re")]
    print(restarts)
