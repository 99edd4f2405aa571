"""Three brokers, of which one after the other is taken away under load: two nodes on the same topic end alike, with each event once."""

import threading

import pytest

import kafka
import settings
from node import wait_for
from quorum import Quorum
from test_replay import records, some_events

COUNT = 9_000
PARTITIONS = 6


@pytest.fixture
def quorum(tmp_path):
    made = Quorum(tmp_path / "quorum")
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.mark.long
def test_leaders_that_change_under_load_lose_and_double_nothing(make_node, quorum):
    topic = kafka.new_topic(quorum.addresses, PARTITIONS)
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
