"""What is read out of texts: few labelled ones, counters by `where` of the label, each event once, through kills."""

import collections
import csv
import gzip
import json
import random

import confluent_kafka
import pytest

import kafka
from freshet.v1 import event_pb2
from node import run_cli, wait_for

T0 = 1_700_000_040_000
LABELS = ["buy", "ask", "other"]
CATALOGUE = {
    "entities": {"user": {"key": ["user_id"]}, "room": {"key": ["room_id"]}, "item": {"key": ["item_id"], "parent": "room"}},
    "features": {
        "room_comments": {"entity": "room", "actions": ["comment"], "aggregate": "count", "windows": ["1h"]},
        "room_likes": {"entity": "room", "actions": ["like"], "aggregate": "count", "windows": ["1h"]},
        **{
            f"room_{label}": {
                "entity": "room", "actions": ["comment"], "where": f'attributes.comment_intent == "{label}"',
                "aggregate": "count", "windows": ["1h"],
            } for label in LABELS
        },
    },
}  # fmt: skip
NAMES = list(CATALOGUE["features"])
WORDS = {
    "buy": ["buy", "link", "take two", "order", "下单", "买了", "链接"],
    "ask": ["how much", "which size", "when", "color", "多少钱", "什么颜色", "尺码"],
    "other": ["lol", "haha", "hello", "nice", "哈哈哈", "来了", "主播好"],
}
FILL = ["please", "now", "this one", "guys", "!!", "的", "吧"]


def say(label, dice):
    return " ".join([dice.choice(FILL), dice.choice(WORDS[label]), dice.choice(FILL)])


def configuration(brokers, prefix, **text):
    return {
        "node": {"clock": "event"},
        "kafka": {"brokers": brokers, "topics": [{"name": f"{prefix}.events", "partitions": 2}], "dead_letters": f"{prefix}.dead"},
        "store": {"epoch": "200ms"},
        **CATALOGUE,
        "texts": {
            "comment_intent": {
                "from": f"{prefix}.comments", "labelled": f"{prefix}.labelled", "to": f"{prefix}.read", "labels": LABELS,
                "bits": 14, **text,
            }
        },
    }  # fmt: skip


def labelled(texts):
    return [
        (b"", event_pb2.Event(ts_ms=T0 + number, action=event_pb2.COMMENT, text=text, attributes={"comment_intent": label}).SerializeToString())
        for number, (text, label) in enumerate(texts)
    ]  # fmt: skip


def comment(number, text, room=5, user=7, **fields):
    return event_pb2.Event(
        event_id=number + 1, ts_ms=T0 + number, user_id=user, room_id=room, item_id=room + 100, action=event_pb2.COMMENT, text=text,
        **fields,
    )  # fmt: skip


def produce(brokers, topic, events):
    kafka.produce(brokers, topic, [(str(event.user_id).encode(), event.SerializeToString()) for event in events])


def counted(node, room):
    return [int(value) for value in node.get_features(item_ids=[room + 100], room_id=room, features=NAMES).item_values]


def test_few_labelled_comments_give_counters_by_intent_for_each_room(make_node):
    node = make_node(configuration("embedded", "live")).start()
    dice = random.Random(5)
    few = [(say(label, dice), label) for label in LABELS for _ in range(20)]
    bad = [("what", "unheard-of"), ("", "buy")]
    kafka.produce(node.brokers, "live.labelled", labelled(few + bad))
    examples = f'freshet_texts_examples{{text="comment_intent"}} {len({text for text, _ in few})}\n'.encode()
    wait_for(lambda: examples in node.page("/metrics")[2], "the labelled ones are learned from")
    assert b'freshet_texts_labelled_total{text="comment_intent",what="unknown_label"} 1\n' in node.page("/metrics")[2]
    events, wanted = [], {room: collections.Counter() for room in (5, 6)}
    for number in range(300):
        label, room = dice.choice(LABELS), dice.choice((5, 6))
        events.append(comment(number, say(label, dice), room, user=number % 50 + 1))
        wanted[room][label] += 1
    # What a producer says of the intent himself does not count; nor has an event of another action, or without text, one.
    events.append(comment(300, "zzz qqq", attributes={"comment_intent": "buy"}))
    events.append(comment(301, "", attributes={"comment_intent": "buy"}))
    events.append(comment(302, b"\xf0\x9f\x98\x80 \xe4\xb8".decode(errors="ignore") + "A" * 5000, room=6))
    events.append(event_pb2.Event(event_id=999, ts_ms=T0, user_id=7, room_id=5, action=event_pb2.LIKE))
    produce(node.brokers, "live.comments", events)
    node.wait_applied(len(events))
    right = 0
    for room in (5, 6):
        comments, likes, *by_label = counted(node, room)
        assert (comments, likes) == (sum(wanted[room].values()) + (2 if room == 5 else 1), int(room == 5))
        right += sum(min(count, wanted[room][label]) for count, label in zip(by_label, LABELS))
        assert sum(by_label) <= sum(wanted[room].values()) + 1
    assert right >= 0.85 * 300, (wanted, counted(node, 5), counted(node, 6))
    node.wait_applied(len(events))
    read = kafka.consume_all(node.brokers, "live.read")
    told = [event_pb2.Event.FromString(message.value()) for message in read]
    spoofed = next(event for event in told if event.event_id == 302)
    assert spoofed.attributes["comment_intent"] == ""


def test_kills_and_a_second_node_count_each_comment_once(make_node, real_kafka):
    prefix = kafka.new_topic(real_kafka, 1)  # a name that nobody else has
    dice = random.Random(6)
    settings = configuration(real_kafka, prefix)
    node = make_node(settings).start()
    kafka.produce(real_kafka, f"{prefix}.labelled", labelled([(say(label, dice), label) for label in LABELS for _ in range(20)]))
    wait_for(lambda: b'freshet_texts_examples{text="comment_intent"} ' in node.page("/metrics")[2], "labelled ones are there")
    total = 0
    for round_ in range(3):
        events = [
            comment(total + number, say(dice.choice(LABELS), dice), dice.choice((5, 6)), user=dice.randrange(1, 200))
            for number in range(400)
        ]
        events[0].event_id = 0  # one without an id
        produce(real_kafka, f"{prefix}.comments", events)
        total += len(events)
        wait_for(lambda: node.status() and sum(counted(node, room)[0] for room in (5, 6)) > total - 400, "some of them count")
        node.kill()
        if round_ == 1:  # more is labelled meanwhile: what was said before stays said
            more = labelled([(say(label, dice), label) for label in LABELS for _ in range(20)])
            kafka.produce(real_kafka, f"{prefix}.labelled", more)
        node.start()
    wait_for(lambda: sum(counted(node, room)[0] for room in (5, 6)) >= total, lambda: f"{total}: {counted(node, 5)} {counted(node, 6)}")
    said = {}
    for message in sorted(kafka.consume_all(real_kafka, f"{prefix}.read"), key=lambda one: (one.partition(), one.offset())):
        event = event_pb2.Event.FromString(message.value())
        said.setdefault((event.user_id, event.event_id), event)
    assert len(said) == total
    for room in (5, 6):
        of_room = [event for event in said.values() if event.room_id == room]
        labels = collections.Counter(event.attributes["comment_intent"] for event in of_room)
        assert counted(node, room) == [len(of_room), 0, *(labels[label] for label in LABELS)]
    consumer = confluent_kafka.Consumer({"bootstrap.servers": real_kafka, "group.id": "freshet.comment_intent"})
    partitions = [confluent_kafka.TopicPartition(f"{prefix}.comments", number) for number in range(2)]
    wait_for(lambda: sum(max(one.offset, 0) for one in consumer.committed(partitions, 10)) == total, "the group has told how far it is")
    consumer.close()
    second = make_node(settings, "second").start()
    wait_for(lambda: second.digest() == node.digest(), "an empty node comes to the same state")
    passed = [line for line in second.page("/metrics")[2].splitlines() if line.startswith(b"freshet_texts_total")]
    assert passed and all(line.endswith(b" 0") for line in passed), passed  # and passes nothing on again


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": ["buy"]}, "texts.comment_intent.labels: should be a list of 2 to 16 names"),
        ({"labels": ["buy", "buy"]}, "'buy' twice"),
        ({"from": "x.events"}, "'x.events' is in kafka, too, and its events would count twice"),
        ({"to": "x.comments"}, "from, labelled and to are three topics"),
        ({"labelled": None}, "texts.comment_intent.labelled"),
        ({"actions": ["coment"]}, "unknown action; did you mean comment"),
        ({"words": 0, "characters": 0}, "neither words nor characters"),
        ({"lables": 1}, "did you mean"),
    ],
)
def test_mistakes_in_texts_are_told(binary, tmp_path, change, says):
    settings = configuration("embedded", "x")
    text = settings["texts"]["comment_intent"]
    text.update(change)
    settings["texts"]["comment_intent"] = {key: value for key, value in text.items() if value is not None}
    file = tmp_path / "mistaken.yaml"
    file.write_text(json.dumps(settings))
    done = run_cli(binary, "check", "--config", file)
    assert done.returncode == 1 and says in done.stderr, done.stderr


def test_labelled_chat_is_told_better_than_by_the_most_common_label(make_node, data):
    """A public log of live chat, in eight classes of emotion; half is labelled, the other half is judged."""
    with gzip.open(data / "livestream_chat_emotion" / "chat_text.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = [(row["text"], "c" + row["label"]) for row in csv.DictReader(file) if row["text"].strip()]
    random.Random(1).shuffle(rows)
    known, judged = rows[:3000], rows[3000:4000]
    labels = sorted({label for _, label in rows})
    node = make_node(configuration("embedded", "chat", labels=labels, least=0, bits=18)).start()
    kafka.produce(node.brokers, "chat.labelled", labelled(known))
    examples = f'freshet_texts_examples{{text="comment_intent"}} {len({text for text, _ in known})}\n'.encode()
    wait_for(lambda: examples in node.page("/metrics")[2], "the labelled ones are learned from")
    events = [comment(number, text, user=number + 1) for number, (text, _) in enumerate(judged)]
    produce(node.brokers, "chat.comments", events)
    node.wait_applied(len(events))
    said = {}
    for message in kafka.consume_all(node.brokers, "chat.read"):
        event = event_pb2.Event.FromString(message.value())
        said[event.event_id] = event.attributes["comment_intent"]
    right = sum(said[number + 1] == label for number, (_, label) in enumerate(judged)) / len(judged)
    most = collections.Counter(label for _, label in known).most_common(1)[0][0]
    majority = sum(label == most for _, label in judged) / len(judged)
    print(f"accuracy {right:.3f}, the most common label {majority:.3f}")
    assert right > majority + 0.1
