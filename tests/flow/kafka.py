"""The third-party clients: confluent-kafka, as producers and tools of users have it."""

import contextlib
import time
import uuid

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PARTITIONS = 8


def new_topic(brokers, partitions=PARTITIONS, prefix="events", name=None, **config):
    """Makes a topic, with a name of its own unless one is given, and as many replicas as the brokers make by default."""
    name = name or f"{prefix}.{uuid.uuid4().hex[:12]}"
    admin = AdminClient({"bootstrap.servers": brokers})
    for attempt in range(3):
        try:
            for made in admin.create_topics([NewTopic(name, partitions, config=config)]).values():
                made.result(30)
        except KafkaException as refused:  # brokers that have just started close connections now and then
            if attempt > 0 and refused.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                break  # the attempt that seemed to fail
            if refused.args[0].code() >= 0 or attempt == 2:
                raise
        else:
            break
    return name


def remake(brokers, topic, partitions=1, between=lambda: None):
    """Deletes a topic, calls `between`, and makes it again, empty."""
    admin = AdminClient({"bootstrap.servers": brokers})
    for gone in admin.delete_topics([topic]).values():
        gone.result(30)
    between()
    end = time.monotonic() + 30
    while True:
        try:
            for made in admin.create_topics([NewTopic(topic, partitions, 1)]).values():
                made.result(30)
            return
        except KafkaException:  # it is still being deleted
            assert time.monotonic() < end, f"{topic} cannot be made again"
            time.sleep(0.02)


def produce(brokers, topic, records, **properties):
    """Loads (key, value) pairs, keyed as Java does, in order; returns how many. Waits until all are acknowledged."""
    failures = []
    producer = Producer(
        {
            "bootstrap.servers": brokers,
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "message.max.bytes": 4_000_000,
            "queue.buffering.max.messages": 1_000_000,
            **properties,
        }
    )

    def delivered(error, _):
        if error:
            failures.append(error)

    count = 0
    for key, value in records:
        while True:
            try:
                producer.produce(topic, value, key, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        count += 1
        if count % 1000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0
    assert not failures, failures[:3]
    return count


def watermarks(brokers, topic):
    """[(low, high)] of each partition. Where a broker dies as it is asked, those that are left are."""
    until = time.monotonic() + 30
    while True:
        try:
            return ask_watermarks(brokers, topic)
        except KafkaException:
            if time.monotonic() > until:
                raise


def ask_watermarks(brokers, topic):
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "flow-tests", "enable.auto.commit": False})
    try:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        return [consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30) for number in sorted(partitions)]
    finally:
        consumer.close()


def consume_all(brokers, topic):
    """Every message of a topic up to its end as it is now, partition by partition, each in its order."""
    ends = {number: high - low for number, (low, high) in enumerate(watermarks(brokers, topic))}
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "flow-tests",
            "enable.auto.commit": False,
            "enable.partition.eof": False,
            "auto.offset.reset": "earliest",
        }
    )
    found = {number: [] for number in ends}
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in ends])
        wanted = sum(ends.values())
        while wanted > 0:
            messages = consumer.consume(min(wanted, 10_000), timeout=30)
            assert messages, f"{wanted} messages of {topic} did not come"
            for message in messages:
                assert not message.error(), message.error()
                if len(found[message.partition()]) < ends[message.partition()]:
                    found[message.partition()].append(message)
                    wanted -= 1
    finally:
        consumer.close()
    return [message for number in sorted(found) for message in found[number]]


def murmur2_partition(key, partitions):
    """Java's partition of a key: murmur2 with seed 0x9747b28c, made positive."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(key)) & mask
    whole = len(key) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    if len(key) != whole:
        h = (h ^ int.from_bytes(key[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return ((h ^ h >> 15) & 0x7FFFFFFF) % partitions


@contextlib.contextmanager
def other_cluster(topic):
    """A broker that is not the real one: librdkafka's mock cluster, with an id of its own; it has `topic`."""
    holder = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "ignored", "log_level": 0})
    holder.produce(topic, b"x")
    assert holder.flush(30) == 0
    broker = next(iter(holder.list_topics(timeout=30).brokers.values()))
    yield f"{broker.host}:{broker.port}"
    del holder
