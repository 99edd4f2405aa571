"""What the instances of a cluster write for each other: the records of its topics, and what is in them."""

from collections import Counter

from confluent_kafka import Consumer, KafkaError, TopicPartition

import kafka


def committed(cluster, topic):
    """Every committed record of a topic of the cluster's, to where it ends now."""
    return committed_of(cluster.brokers, f"{cluster.group}.{topic}")


def committed_of(brokers, topic):
    """The same of any topic that transactions write to: between the records lie the transactions' own."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers, "group.id": "flow-tests", "enable.auto.commit": False,
            "enable.partition.eof": True, "auto.offset.reset": "earliest",
        }
    )  # fmt: skip
    found, ended = [], set()
    try:
        ends = [high for _, high in kafka.watermarks(brokers, topic)]
        consumer.assign([TopicPartition(topic, number, 0) for number in range(len(ends))])
        while len(ended) < len(ends):  # who writes all the time never lets a reader come to an end: what lies behind is as good
            message = consumer.poll(30)
            assert message is not None, ended
            if message.error():
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                ended.add(message.partition())
                continue
            found.append(message)
            if message.offset() >= ends[message.partition()] - 1:
                ended.add(message.partition())
    finally:
        consumer.close()
    return found


def markers(cluster):
    """How many epochs each instance ended, in each partition."""
    found = [message for message in committed(cluster, "changelog") if message.key() == b"\0"]
    return Counter((message.value()[10 : 10 + message.value()[9]].decode(), message.partition()) for message in found)


def deltas_of(record):
    """Whose epoch a record of deltas is of, and the keys of the entities in it."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while record[at] > 127:
            value, shift, at = value | (record[at] & 127) << shift, shift + 7, at + 1
        at += 1
        return value | record[at - 1] << shift

    assert varint() == 2
    store, at = record[at : at + 8], at + 8
    epoch = varint()
    at += 8  # the catalogue
    varint()  # the stream's time
    keys = []
    while at < len(record):
        length = varint()
        keys.append(record[at : at + length])
        at += length
        length = varint()
        at += length
    return (store, epoch), keys


def partitions_of_deltas(cluster):
    """Of each epoch with deltas: where its records lie."""
    found = {}
    for message in committed(cluster, "deltas"):
        if message.key() is None:
            found.setdefault(deltas_of(message.value())[0], []).append(message.partition())
    return found
