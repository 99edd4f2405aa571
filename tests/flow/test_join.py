"""Served rows and what happened next become examples, through the wire: every label policy against an oracle, and after kills."""

import json
import random
import time
import uuid

import confluent_kafka
import pytest

import joined
import kafka
import settings
from freshet.v1 import event_pb2, feature_pb2, model_pb2
from node import run_cli, wait_for

START_MS = 1_700_000_000_000
TTL_MS = 60_000
TASKS = (
    joined.Task("click", ("click",), "wait", 60_000),
    joined.Task("buy", ("purchase",), "fnw", 300_000, 0.5),
    joined.Task("like", ("like", "share"), "first_only", 120_000, 0.3),
    joined.Task("talk", ("comment", "gift"), "sliver", 180_000),
)


def configuration(brokers, topic, tasks=TASKS, lanes=2, format="protobuf"):
    made = settings.configuration(brokers, topic, format, catalogue=settings.TINY, lanes=lanes)
    made["features"]["user_watches"] = {"entity": "user", "actions": ["watch"], "aggregate": "count", "windows": ["1h"]}
    made["feature_sets"]["small"] = {"user": ["user_watches", "user_recent"], "item": ["item_watches", "item_seconds"]}
    made["store"]["epoch"] = "100ms"
    made["learner"] = {"serve_ttl": f"{TTL_MS}ms", "served": f"{topic}.served", "examples": f"{topic}.examples"}
    made["models"] = {
        "shop": {
            "feature_set": "small",
            "bits": 18,
            "sparse": ["user_id", "item.category_id", ["user_id", "item_id"]],
            "tasks": {task.name: settings_of(task) for task in tasks},
        }
    }
    return made


def settings_of(task):
    return {
        "actions": list(task.actions), "policy": task.policy, "window": f"{task.window_ms}ms", "negatives": task.negatives,
        "label": task.label,
    }  # fmt: skip


def schema_of(node):
    described = node.call("FeatureService/Describe", feature_pb2.DescribeRequest(), feature_pb2.DescribeResponse)
    return next(one for one in described.feature_sets if one.name == "small")


def message_of(event):
    message = event_pb2.Event(**{**event, "action": event_pb2.Action.Value(event["action"].upper())})
    return str(event["user_id"]).encode(), message.SerializeToString()


def produce_events(brokers, topic, events):
    return kafka.produce(brokers, topic, (message_of(event) for event in events))


def produce_served(brokers, topic, served):
    records = ((str(message.user_id).encode(), message.SerializeToString()) for message in served)
    return kafka.produce(brokers, f"{topic}.served", records)


def event_of(action, ts_ms, user, item=0, request=0, event_id=None, **fields):
    return {
        "event_id": event_id or uuid.uuid4().int & (1 << 63) - 1,
        "ts_ms": ts_ms,
        "user_id": user,
        "item_id": item,
        "request_id": request,
        "action": action,
        "room_id": 0,
        **fields,
    }


def examples_of(brokers, topic):
    """{id: what it says} of all that came; one that came twice says the same."""
    found = {}
    for message in kafka.consume_all(brokers, f"{topic}.examples"):
        example = model_pb2.Example.FromString(message.value())
        assert message.key() == str(example.user_id).encode()
        said = found.setdefault(example.example_id, example)
        assert said == example
    return found


def metric(node, name):
    lines = (line.rpartition(" ") for line in node.page("/metrics")[2].decode().splitlines())
    return sum(float(value) for found, _, value in lines if found == name)


def joined_count(node, what):
    return metric(node, f'freshet_join_total{{what="{what}"}}')


def story_of(node):
    """What a node tells of its join, when a test fails."""
    page = node.page("/metrics")[2].decode().splitlines()
    return "\n".join([line for line in page if "join_" in line and line[0] != "#"] + [node.log()[-1500:]])


def wait_examples(brokers, node, topic, wanted, deadline_s=20):
    """Until the topic has all these ids, or any."""
    found = {}

    def is_there():
        assert node.process.poll() is None, node.log()[-2000:]
        if metric(node, "freshet_examples_sent_total") == 0:
            return False
        try:
            found.update(examples_of(brokers, topic))
        except confluent_kafka.KafkaException:
            return False  # some of its partitions have no leader yet
        return len(found) > 0 and set(wanted) <= set(found)

    wait_for(is_there, lambda: f"{len(set(wanted) - set(found))} of {len(wanted)} examples miss: {story_of(node)}", deadline_s)
    return found


class Story:
    """A stream by a seed: rows that were served, and events in the order of time, with all that may be wrong with them."""

    USERS, REQUESTS, SPAN_MS = 40, 400, 1_200_000

    def __init__(self, schema, seed=1):
        self.dice = random.Random(seed)
        self.schema, self.events, self.served = schema, [], []
        for number in range(self.REQUESTS):
            self.tell_request(number + 1)
        for _ in range(self.REQUESTS):  # of what nobody was shown, or long ago
            action = self.dice.choice(("click", "purchase", "like", "comment"))
            self.add(action, self.any_ms(), self.any_user(), self.dice.randint(1, 30), self.dice.choice((0, 0, 99_999)))
        self.events.sort(key=lambda event: (event["ts_ms"], event["event_id"]))
        again = [dict(event) for event in self.dice.sample(self.events, 60)]  # duplicates, right behind what they repeat
        self.events = sorted(self.events + again, key=lambda event: (event["ts_ms"], event["event_id"]))
        self.served.sort(key=lambda message: message.served_ms)
        self.served += self.served[:20]

    def any_ms(self):
        return START_MS + self.dice.randint(0, self.SPAN_MS)

    def any_user(self):
        return self.dice.randint(1, self.USERS)

    def add(self, action, ts_ms, user, item=0, request=0, **fields):
        self.events.append(event_of(action, ts_ms, user, item, request, self.dice.randint(1, 1 << 60), **fields))

    def tell_request(self, request):
        dice, user, served_ms = self.dice, self.any_user(), self.any_ms()
        items = dice.sample(range(1, 31), 5)
        logged = items[: dice.choice((5, 5, 3))]
        kind = dice.random()
        if kind < 0.9:
            self.served.append(self.rows(request, user, served_ms, logged, self.schema if kind < 0.85 else self.schema ^ 1))
        room = dice.choice((0, 0, 5, 6))
        for item in dice.sample(items, dice.randint(0, 4)):
            shown_ms = served_ms + int(dice.expovariate(1 / 12_000)) - 2000
            self.add("impression", shown_ms, user, item, request, room_id=room, category_id=item % 4)
            if dice.random() < 0.1:
                self.add("impression", shown_ms + dice.randint(1, 5000), user, item, request)
            self.tell_outcomes(user, item, request, shown_ms)
        if room and dice.random() < 0.5:
            self.add("leave_room", served_ms + dice.randint(1, 200_000), user, room_id=dice.choice((room, room, 0, 7)))

    def tell_outcomes(self, user, item, request, shown_ms):
        for action in ("click", "purchase", "like", "share", "comment", "gift"):
            for _ in range(self.dice.choice((0, 0, 1, 1, 2))):
                ts_ms = shown_ms + int(self.dice.expovariate(1 / 70_000)) - self.dice.choice((0, 0, 0, 0, 900))
                self.add(action, ts_ms, user, item, self.dice.choice((request, request, 0)))

    def rows(self, request, user, served_ms, items, schema):
        message = model_pb2.Served(request_id=request, user_id=user, served_ms=served_ms, schema=schema, item_ids=items)
        message.user_values.append(self.dice.randint(0, 9))
        message.item_values.extend(self.dice.randint(0, 99) / 4 for _ in range(3 * len(items)))
        return message


def end_of_time(events):
    """An event of a user of his own, so late that every window is over."""
    return event_of("watch", max(event["ts_ms"] for event in events) + 3_600_000, 999_999, 1)


def test_rows_that_were_logged_an_impression_and_a_click_make_an_example(make_node, real_kafka):
    topic = kafka.new_topic(real_kafka)
    node = make_node(configuration(real_kafka, topic, TASKS[:1])).start()
    events = [event_of("watch", START_MS, 7, 42, value=5.0, category_id=3), event_of("watch", START_MS, 7, 43, value=1.5)]
    count = produce_events(real_kafka, topic, events)
    node.wait_applied(count)
    reply = node.get_features(user_id=7, item_ids=[41, 42, 43], feature_set="small", log=True, log_items=[42, 43])
    shown = event_of("impression", START_MS + 1000, 7, 42, reply.request_id, category_id=3, position=2, propensity=0.25)
    events = [shown, event_of("click", START_MS + 8000, 7, 42, reply.request_id)]
    produce_events(real_kafka, topic, [*events, end_of_time(events)])
    identity = joined.example_id("shop", "click", reply.request_id, 7, 42, 0)
    found = wait_examples(real_kafka, node, topic, [identity])
    assert set(found) == {identity}
    example = found[identity]
    labels = (("click", 1.0, 1.0, True, 7000),)
    assert joined.told(example) == (reply.request_id, 7, 42, START_MS, "wait", labels)
    columns = len(reply.item_columns)
    assert list(example.dense) == list(reply.user_values) + list(reply.item_values[columns : 2 * columns])
    assert (example.position, example.propensity) == (2, 0.25)
    assert len(example.sparse) == 3 and all(1 << 32 <= one < (1 << 32) + (1 << 18) for one in example.sparse)


def oracle_of(story):
    good = [message for message in story.served if message.schema == story.schema]
    return joined.Join("shop", TASKS, TTL_MS, good, story.events).examples()


def check_story(found, wanted):
    assert {identity: joined.told(example) for identity, example in found.items()} == wanted


def test_every_policy_makes_the_examples_of_the_oracle(make_node, real_kafka):
    topic = kafka.new_topic(real_kafka)
    node = make_node(configuration(real_kafka, topic)).start()
    story = Story(schema_of(node).schema)
    wanted = oracle_of(story)
    node.stop()  # who sees the end of one partition before the beginning of another takes that for late
    count = produce_served(real_kafka, topic, story.served)
    count += produce_events(real_kafka, topic, [*story.events, end_of_time(story.events)])
    node.start()
    node.wait_applied(count)
    found = wait_examples(real_kafka, node, topic, wanted)
    check_story(found, wanted)
    assert {task.policy for task in TASKS} == {example.policy for example in found.values()}
    assert joined_count(node, "rows_foreign_schema") == sum(message.schema != story.schema for message in story.served)
    for what in ("rows_duplicate", "impressions_duplicate", "labels_before_impression", "labels_without_impression",
                 "labels_duplicate", "labels_late", "impressions_without_rows", "impressions_of_unlogged_items"):  # fmt: skip
        assert joined_count(node, what) > 0, what


@pytest.mark.parametrize("lanes, is_served_first", ((1, True), (4, False)))
def test_it_does_not_matter_which_topic_is_read_first(make_node, real_kafka, lanes, is_served_first):
    topic = kafka.new_topic(real_kafka)
    node = make_node(configuration(real_kafka, topic, lanes=lanes)).start()
    story = Story(schema_of(node).schema, seed=lanes + 1)
    node.stop()
    loads = [lambda: produce_served(real_kafka, topic, story.served), lambda: produce_events(real_kafka, topic, story.events)]
    count = sum(load() for load in (loads if is_served_first else reversed(loads)))
    count += produce_events(real_kafka, topic, [end_of_time(story.events)])
    node.start()  # with all of it waiting
    wanted = oracle_of(story)
    node.wait_applied(count)
    check_story(wait_examples(real_kafka, node, topic, wanted), wanted)


KILLS, MANY_KILLS = 6, 100


def kill_in_the_loop(make_node, brokers, kills, partitions=kafka.PARTITIONS, make_story=Story, watch=None):
    """A story told in pieces to a node that is killed in each of them; `watch(topic)` is called before it begins.

    Nobody runs while a piece is written: who sees the end of one partition before the beginning of another takes that for late.
    """
    topic = kafka.new_topic(brokers, partitions)
    node = make_node(configuration(brokers, topic), "killed").start()
    story = make_story(schema_of(node).schema, seed=9)
    if watch:
        watch(topic)
    dice = random.Random(kills)
    mixed = sorted(
        [(message.served_ms, True, message) for message in story.served] + [(e["ts_ms"], False, e) for e in story.events],
        key=lambda one: one[:2],
    )
    size = len(mixed) // kills + 1
    sent = 0
    node.kill()
    for at in range(0, len(mixed), size):
        some = mixed[at : at + size]
        sent += produce_served(brokers, topic, [one for _, is_served, one in some if is_served])
        sent += produce_events(brokers, topic, [one for _, is_served, one in some if not is_served])
        node.start(is_ready=False)
        goal = dice.randint(max(sent - size, 1), sent)
        wait_for(lambda goal=goal: node.applied() >= goal, lambda: node.log()[-1000:])
        if dice.random() < 0.5:
            time.sleep(dice.random() * 0.3)  # not a wait: into the epochs, the acknowledgements and the deletes behind them
        node.kill()
    sent += produce_events(brokers, topic, [end_of_time(story.events)])
    node.start()
    node.wait_applied(sent)
    return node, story, topic


def check_kills(make_node, brokers, kills):
    node, story, topic = kill_in_the_loop(make_node, brokers, kills)
    wanted = oracle_of(story)
    check_story(wait_examples(brokers, node, topic, wanted), wanted)
    node.stop()


def test_kills_in_the_loop_change_no_example(make_node, real_kafka):
    check_kills(make_node, real_kafka, KILLS)


@pytest.mark.long
def test_a_hundred_kills_in_the_loop_change_no_example(make_node, real_kafka):
    check_kills(make_node, real_kafka, MANY_KILLS)


def test_bad_rows_are_dead_letters_by_reason_and_bad_events_change_no_example(make_node, real_kafka):
    topic = kafka.new_topic(real_kafka)
    node = make_node(configuration(real_kafka, topic, TASKS[:1])).start()
    schema = schema_of(node).schema

    def rows(**fields):
        good = {"request_id": 1, "user_id": 7, "served_ms": START_MS, "schema": schema, "item_ids": [1, 2]}
        return model_pb2.Served(**{**good, "user_values": [1.0], "item_values": [1.0] * 6, **fields})

    bad = {
        "bad_value": [
            rows(request_id=0), rows(user_id=0), rows(item_ids=[], item_values=[]), rows(item_values=[1.0] * 5),
            rows(positions=[1]), rows(sparse=[1, 2, 3]), rows(propensities=[0.5]), rows(user_values=[float("nan")]),
            rows(item_values=[float("inf")] * 6), rows(propensities=[0.1, float("-inf")]),
        ],
        "bad_time": [rows(served_ms=0), rows(served_ms=-5), rows(served_ms=4_102_444_800_000)],
    }  # fmt: skip
    records = [(b"7", message.SerializeToString()) for some in bad.values() for message in some]
    records += [(b"7", b"\x0a\xff\xff"), (b"7", None), (b"7", b""), (b"7", b"\x00" * (1 << 20) + b"x")]
    count = kafka.produce(real_kafka, f"{topic}.served", records)
    foreign = [rows(schema=schema + 1), rows(user_values=[]), rows(item_values=[1.0] * 4)]
    count += produce_served(real_kafka, topic, [*foreign, rows(), rows(item_ids=[3, 4])])
    shown = event_of("impression", START_MS + 10, 7, 1, 1)
    events = [
        event_of("click", START_MS + 5, 7, 1, 1),  # before its impression
        shown,
        {**shown, "event_id": 1},  # the same impression again
        event_of("click", START_MS + 500, 7, 1, 1),
        event_of("click", START_MS + 600, 7, 1, 1),
        event_of("click", START_MS + 700, 7, 2, 77),  # of a request that nobody knows
        event_of("click", START_MS + 800, 7, 2),  # of an item that was not shown
        event_of("impression", START_MS + 900, 7, 9, 1),  # of an item that was not logged
        event_of("click", START_MS + 60_011, 7, 1, 1),  # behind the window
        event_of("impression", START_MS + 20, 0, 1, 1),  # of nobody
    ]
    count += produce_events(real_kafka, topic, [*events, end_of_time(events)])
    node.wait_applied(count)
    identity = joined.example_id("shop", "click", 1, 7, 1, 0)
    found = wait_examples(real_kafka, node, topic, [identity])
    assert {one: joined.told(example) for one, example in found.items()} == {
        identity: (1, 7, 1, START_MS, "wait", (("click", 1.0, 1.0, True, 490),))
    }
    wait_for(lambda: joined_count(node, "labels_without_impression") == 2, "time has passed")
    counted = {
        "rows": 1, "rows_duplicate": 1, "rows_foreign_schema": 3, "impressions": 2, "impressions_duplicate": 1,
        "impressions_of_unlogged_items": 1, "labels": 1, "labels_duplicate": 1, "labels_before_impression": 1, "labels_late": 1,
    }  # fmt: skip
    assert {what: joined_count(node, what) for what in counted} == counted
    letters = [dict(message.headers())["reason"].decode() for message in kafka.consume_all(real_kafka, f"{topic}.dead")]
    wanted = {reason: len(some) for reason, some in bad.items()} | {"bad_protobuf": 1, "empty": 2, "oversized": 1}
    assert {reason: letters.count(reason) for reason in set(letters)} == wanted


def test_what_waits_is_bounded_and_the_first_due_leaves(make_node, real_kafka):
    topic = kafka.new_topic(real_kafka)
    made = configuration(real_kafka, topic, TASKS[:1])
    made["learner"]["join_bytes"] = "1MiB"
    node = make_node(made).start()
    schema = schema_of(node).schema
    served, events = [], []
    for request in range(1, 4001):
        at_ms, items = START_MS + request, list(range(1, 21))
        values = {"user_values": [1.0], "item_values": [0.5] * 60}
        served.append(
            model_pb2.Served(request_id=request, user_id=request, served_ms=at_ms, schema=schema, item_ids=items, **values)
        )
        events.append(event_of("impression", at_ms + 5000, request, 1, request))
    count = produce_served(real_kafka, topic, served)
    count += produce_events(real_kafka, topic, events)
    node.wait_applied(count)
    wait_for(lambda: metric(node, "freshet_join_bytes") <= 1 << 20, "room was made")
    assert joined_count(node, "dropped_for_room") + joined_count(node, "rows_without_impression") > 0
    produce_events(real_kafka, topic, [end_of_time(events)])
    wait_for(lambda: metric(node, "freshet_join_bytes") == 0, lambda: f"all has left: {metric(node, 'freshet_join_bytes')}")
    found = wait_examples(real_kafka, node, topic, [])
    assert 0 < len(found) < 4000  # those that were left are the latest ones
    assert min(example.request_id for example in found.values()) > 1000


def test_what_was_scored_is_joined_and_learned(make_node, real_kafka):
    topic = kafka.new_topic(real_kafka)
    node = make_node(configuration(real_kafka, topic, TASKS[:1])).start()
    watched = [event_of("watch", START_MS, user, item, value=1.0, category_id=3) for user in (1, 2) for item in range(1, 41)]
    count = produce_events(real_kafka, topic, watched)
    node.wait_applied(count)
    replies, events = {}, []
    for user in (1, 2):
        request = model_pb2.ScoreRequest(user_id=user, item_ids=range(1, 41), log_items=[5, 6] if user == 2 else [])
        replies[user] = node.call("ModelService/Score", request, model_pb2.ScoreResponse)
        for item in (5, 6, 40):
            events.append(event_of("impression", START_MS + 100, user, item, replies[user].request_id))
        events.append(event_of("click", START_MS + 200, user, 5, replies[user].request_id))
    produce_events(real_kafka, topic, [*events, end_of_time(events)])
    wanted = [joined.example_id("shop", "click", replies[user].request_id, user, item, 0) for user in (1, 2) for item in (5, 6)]
    found = wait_examples(real_kafka, node, topic, wanted)
    assert set(found) == set(wanted)  # item 40 was neither among the best 32 nor among log_items
    assert {found[one].labels[0].value for one in wanted[::2]} == {1.0}
    assert {found[one].labels[0].value for one in wanted[1::2]} == {0.0}
    assert [found[one].position for one in wanted[:2]] == [5, 6]  # of a model that knows nothing, in the order asked
    described = node.call("FeatureService/Describe", feature_pb2.DescribeRequest(), feature_pb2.DescribeResponse)
    assert {example.schema for example in found.values()} == {described.schemas[0].schema}

    def learned():
        state = node.call("ModelService/Status", model_pb2.ModelStatusRequest(), model_pb2.ModelStatusResponse).models[0]
        return (state.tasks[0].examples, state.tasks[0].positives) == (4, 2)

    wait_for(learned, "four examples are learned, two of them positive")


def test_a_node_with_a_broker_of_its_own_joins_too(make_node):
    node = make_node(configuration("embedded", "events", TASKS[:1])).start()
    count = produce_events(node.brokers, "events", [event_of("watch", START_MS, 7, 1, value=2.0)])
    node.wait_applied(count)
    reply = node.get_features(user_id=7, item_ids=[1, 2], feature_set="small", log=True)
    shown = event_of("impression", START_MS + 10, 7, 2, reply.request_id)
    produce_events(node.brokers, "events", [shown, end_of_time([shown])])
    identity = joined.example_id("shop", "click", reply.request_id, 7, 2, 0)
    assert set(wait_examples(node.brokers, node, "events", [identity])) == {identity}


def test_what_waits_of_a_forgotten_user_goes_and_a_store_with_a_join_is_sound(make_node):
    tasks = (TASKS[0], joined.Task("buy", ("purchase",), "fnw", 60_000))
    node = make_node(configuration("embedded", "events", tasks)).start()
    schema = schema_of(node).schema
    served = [
        model_pb2.Served(
            request_id=user, user_id=user, served_ms=START_MS, schema=schema, item_ids=[1], user_values=[0.0], item_values=[1.0] * 3
        )
        for user in (7, 8)
    ]
    shown = [event_of("impression", START_MS + 10, user, 1, user) for user in (7, 8)]
    count = produce_served(node.brokers, "events", served)
    count += produce_events(node.brokers, "events", shown)
    node.wait_applied(count)
    negatives = [joined.example_id("shop", "buy", user, user, 1, 0) for user in (7, 8)]
    assert set(wait_examples(node.brokers, node, "events", negatives)) == set(negatives)
    node.digest()  # an epoch with accounts, rows and a chunk of the outbox
    checked = run_cli(node.binary, "fsck", "--config", node.file, "--json")
    assert json.loads(checked.stdout)["sound"] is True, checked.stdout
    waiting = metric(node, "freshet_join_bytes")
    forgotten = json.loads(node.cli("forget", 7, "--json").stdout)
    assert int(forgotten["entities"]) == 3  # the user, his account, his rows
    late = [event_of("impression", START_MS + 5, 7, 1, 70), event_of("click", START_MS + 9, 7, 1, 7)]
    count += produce_served(node.brokers, "events", [model_pb2.Served.FromString(served[0].SerializeToString())])
    count += produce_events(node.brokers, "events", [*late, event_of("click", START_MS + 30, 8, 1, 8)])
    node.wait_applied(count)
    assert metric(node, "freshet_join_bytes") == waiting / 2
    produce_events(node.brokers, "events", [end_of_time(late)])
    click = joined.example_id("shop", "click", 8, 8, 1, 0)
    assert set(wait_examples(node.brokers, node, "events", [click])) == {*negatives, click}
    wait_for(lambda: metric(node, "freshet_join_bytes") == 0, "all has left")
