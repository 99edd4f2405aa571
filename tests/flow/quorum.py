"""Three KRaft nodes, each broker and controller; any two of them are enough."""

import shutil
import uuid

from confluent_kafka.admin import AdminClient

from broker import Broker, free_ports
from network import Loopback
from node import wait_for

# A broker is taken for dead after three seconds, not nine, and what a dead producer left open ends as soon as it may.
SETTINGS = {
    "offsets.topic.replication.factor": 3, "transaction.state.log.replication.factor": 3, "transaction.state.log.min.isr": 2,
    "default.replication.factor": 3, "min.insync.replicas": 2, "controlled.shutdown.enable": "true",
    "broker.session.timeout.ms": 3000, "broker.heartbeat.interval.ms": 400, "log.cleaner.dedupe.buffer.size": 4 << 20,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
}  # fmt: skip
JAVA = {"HEAP": "160m", "JVM": "-XX:TieredStopAtLevel=1"}  # seconds of a test, not days


class Quorum:
    """In places of `network`, whose addresses they have; `settings` over those above, None: as brokers have it by themselves."""

    def __init__(self, directory, network=None, settings=None):
        network = network or Loopback()
        places = [network.place() for _ in range(3)]
        ports = [free_ports(2) for _ in places]
        voters = ",".join(f"{number + 1}@{place.address}:{port + 1}" for number, (place, port) in enumerate(zip(places, ports)))
        cluster = uuid.uuid4().hex[:22]
        settings = {name: value for name, value in {**SETTINGS, **(settings or {})}.items() if value is not None}
        self.brokers = [
            Broker(directory / f"broker{number}", port, settings, place, NODE=str(number + 1), VOTERS=voters, CLUSTER=cluster, **JAVA)
            for number, (place, port) in enumerate(zip(places, ports))
        ]
        self.addresses = ",".join(broker.address for broker in self.brokers)

    def start(self):
        begun = [broker.spawn() for broker in self.brokers]
        for broker, process in zip(self.brokers, begun):
            broker.start(process)
        wait_for(lambda: len(AdminClient({"bootstrap.servers": self.addresses}).list_topics(timeout=30).brokers) == 3, "all know all")
        return self

    def stop(self):
        """And away with it all: nothing of it is asked again."""
        for broker in self.brokers:
            broker.kill()
            shutil.rmtree(broker.directory, ignore_errors=True)

    def topics(self, but=None):
        """As the brokers other than `but` have them."""
        others = ",".join(broker.address for broker in self.brokers if broker is not but)
        return AdminClient({"bootstrap.servers": others}).list_topics(timeout=30).topics

    def leaders(self, topic, but=None):
        """Who leads each partition of it."""
        return {number: partition.leader for number, partition in self.topics(but)[topic].partitions.items()}

    def wait_whole(self):
        """Until each partition has all of its replicas again, so that another broker may go."""
        wait_for(
            lambda: all(len(part.isrs) == len(part.replicas) for topic in self.topics().values() for part in topic.partitions.values()),
            "all replicas are in sync",
        )
