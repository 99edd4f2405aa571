"""Sessions as arrays of one shape, and item vectors from their pairs: python sessions_to_arrays.py BROKERS TOPIC [LENGTH [FILE.npz]]

Reads a topic of sessions (docs/sequences.md) to its end, each session once, pads them to LENGTH tokens (50; of longer ones the latest), and
makes vectors of the items that went together. Wants the client and a consumer: pip install ./clients/python confluent-kafka
"""

import sys

import confluent_kafka
import numpy as np

from freshet.v1 import session_pb2

brokers, topic = sys.argv[1:3]
length = int(sys.argv[3]) if len(sys.argv) > 3 else 50


def records():
    """All that is in the topic now."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": brokers, "group.id": "sessions-to-arrays", "enable.auto.commit": False})
    partitions = [confluent_kafka.TopicPartition(topic, each) for each in consumer.list_topics(topic, 10).topics[topic].partitions]
    for partition in partitions:
        first, end = consumer.get_watermark_offsets(partition, 10)
        partition.offset = first
        consumer.assign([partition])
        while first < end:
            message = consumer.poll(10)
            if message is None or message.error():
                sys.exit(f"{topic}: {message.error() if message else 'nothing came for 10 s'}")
            yield message.value()
            first = message.offset() + 1
    consumer.close()


def padded(sessions, column, kind):
    """One column of all sessions: sessions × length, zeros before what there is."""
    block = np.zeros((len(sessions), length), kind)
    for row, session in zip(block, sessions):
        values = getattr(session, column)[-length:]
        row[length - len(values) :] = values
    return block


# A record may come twice, after a crash or a broker's failure: it is the same one.
sessions = list({session.session_id: session for session in map(session_pb2.Session.FromString, records())}.values())
arrays = {
    "session_id": np.array([session.session_id for session in sessions], np.uint64),
    "item_id": padded(sessions, "item_ids", np.uint64),
    "creator_id": padded(sessions, "creator_ids", np.uint64),
    "category_id": padded(sessions, "category_ids", np.uint64),
    "action": padded(sessions, "actions", np.uint32),
    "value": padded(sessions, "values", np.float64),
    "scene": padded(sessions, "scenes", np.uint32),
    "mask": padded(sessions, "ts_ms", np.int64) > 0,
}
print(f"{len(sessions)} sessions, {int(arrays['mask'].sum())} tokens in {arrays['item_id'].shape[0]} x {length}")

# Pairs with the correction of in-batch sampling: what a two-tower model subtracts from its logit is the log frequency of each item.
pairs, log_frequency = {}, {}
for session in sessions:
    for i, k in zip(session.pair_first, session.pair_second):
        a, b = session.item_ids[i], session.item_ids[k]
        pairs[a, b] = pairs.get((a, b), 0) + 1
        pairs[b, a] = pairs.get((b, a), 0) + 1
        log_frequency[a], log_frequency[b] = session.log_frequency[i], session.log_frequency[k]
items = sorted(log_frequency)
place = {item: at for at, item in enumerate(items)}
together = np.zeros((len(items), len(items)))
for (a, b), count in pairs.items():
    together[place[a], place[b]] = count
if items:
    log_q = np.array([log_frequency[item] for item in items])
    # ln p(a, b) - ln q(a) - ln q(b), where it is above 0; its leading singular vectors are the items'.
    excess = np.log(np.maximum(together, 1e-9) / together.sum()) - log_q[:, None] - log_q[None, :]
    vectors, strength, _ = np.linalg.svd(np.maximum(excess, 0) * (together > 0))
    arrays.update(items=np.array(items, np.uint64), vectors=(vectors * np.sqrt(strength))[:, :16], log_q=log_q)
    print(f"{len(items)} items with vectors, from {sum(pairs.values()) // 2} pairs")
if len(sys.argv) > 4:
    np.savez(sys.argv[4], **arrays)
