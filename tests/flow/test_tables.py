"""Tables: compacted topics joined to events and to reads, beside an oracle, through kills; what is bad; what is off."""

import collections
import json
import pathlib
import random

import pytest
import yaml

import kafka
import settings
import tables
from shop import is_known, simulated
from freshet.v1 import feature_pb2, recall_pb2
from node import Pipeline, wait_for
from number import float32

T0 = 1_700_000_000_000
PARTITIONS = 3
ITEMS, USERS = 60, 20
TAGS = ["cats", "dogs", "food", "news", "music", "7"]
LANGUAGES = ["en", "de", "fr"]

CATALOGUE = yaml.safe_load(
    """
tables:
  item_info: { topic: none, key: item_id, fields: [tags, language, price, stock], off_when: "stock == 0" }
entities:
  user: { key: [user_id] }
  item: { key: [item_id] }
  tag: { key: [item_info.tags] }
  language: { key: [item_info.language] }
  user_tag: { key: [user_id, item_info.tags] }
features:
  watches: { entity: item, actions: [watch], aggregate: count, windows: [1h] }
  dear: { entity: item, actions: [watch], where: "item_info.price > 10 and item_info.language == 'en'", aggregate: count, windows: [1h] }
  catty: { entity: user, actions: [watch], where: "item_info.tags == 'cats'", aggregate: count, windows: [1h] }
  tag_watches: { entity: tag, actions: [watch], aggregate: count, windows: [1h] }
  affinity: { entity: user_tag, actions: [watch], aggregate: count, windows: [1h] }
  language_watches: { entity: language, actions: [watch], aggregate: count, windows: [1h] }
  heat: { entity: item, actions: [watch], aggregate: decayed, half_life: 1d }
lists:
  hot: { of: item, rank: heat, scopes: [global], limit: 100 }
"""
)


class World:
    """A node, its topics of events, rows and what is banned, and the oracle of each."""

    def __init__(self, make_node, brokers, **node):
        self.brokers = brokers
        self.events_topic = kafka.new_topic(brokers)
        self.rows_topic = kafka.new_topic(brokers, PARTITIONS, "rows", **{"cleanup.policy": "compact"})
        self.banned_topic = kafka.new_topic(brokers, 1, "banned", **{"cleanup.policy": "compact"})
        catalogue = {
            **CATALOGUE,
            "tables": {
                "item_info": {**CATALOGUE["tables"]["item_info"], "topic": self.rows_topic},
                "banned": {"topic": self.banned_topic, "key": "item_id", "blocks": True},
            },
        }
        self.configuration = settings.configuration(brokers, self.events_topic, "json", catalogue=catalogue, **node)
        self.configuration["store"]["epoch"] = "100ms"
        self.node = make_node(self.configuration, "joined")
        self.table = tables.Table(catalogue["tables"]["item_info"])
        self.joined = tables.Joined(self.table)
        self.banned = set()
        self.sent, self.marks, self.events = 0, 0, []

    def send_rows(self, records):
        """(key, value) in order: a key keeps to its partition, so the order of each key is this one."""
        for key, value in records:
            self.table.take(key, value)
        kafka.produce(self.brokers, self.rows_topic, records, **{"enable.idempotence": True})

    def ban(self, dice, count):
        """Some items, some of them twice, and tombstones of others, banned or not."""
        records = [(dice.randint(1, ITEMS), None if dice.random() < 0.5 else b"{}") for _ in range(count)]
        for item, row in records:
            self.banned.discard(item) if row is None else self.banned.add(item)
        keyed = [(str(item).encode(), row) for item, row in records]
        kafka.produce(self.brokers, self.banned_topic, keyed, **{"enable.idempotence": True})

    def mark(self):
        """A row of its own at the end of each partition; returns what shows that all before it are applied."""
        self.marks += 1
        keys, key = {}, 1_000_000 + self.marks * 1000
        while len(keys) < PARTITIONS:
            key += 1
            keys.setdefault(kafka.murmur2_partition(str(key).encode(), PARTITIONS), key)
        self.send_rows([(str(key).encode(), json.dumps({"price": self.marks})) for key in keys.values()])
        items = list(keys.values())

        def is_applied():
            reply = self.node.get_features(item_ids=items, features=["item_info.price"])
            return list(reply.item_values) == [self.marks] * len(items)

        return is_applied

    def settle(self):
        wait_for(self.mark(), lambda: f"rows applied: {self.node.log()[-2000:]}")

    def send_events(self, events):
        for event in events:
            self.joined.take(event)
        self.events += events
        self.sent += len(events)
        records = [(str(event["user_id"]).encode(), json.dumps(event)) for event in events]
        kafka.produce(self.brokers, self.events_topic, records, **{"enable.idempotence": True})

    def check(self):
        """Every item as every fifth user sees it; the user's own; lists of tags and languages as ids."""
        self.node.wait_applied(self.sent)
        items = list(range(1, ITEMS + 2))
        users = list(range(1, USERS + 1, 5))
        columns = list(self.joined.of_item(1, 1))
        asked = [
            feature_pb2.GetFeaturesRequest(user_id=user, item_ids=items, features=[*columns, "catty.1h", "item_info.language", "item_info.tags"])
            for user in users
        ]
        pipeline = Pipeline(self.node.api)
        for request, reply in zip(asked, pipeline.get_features(asked)):
            assert list(reply.item_columns) == columns
            assert list(reply.user_values) == [self.joined.counts.get(("catty", (request.user_id,)), 0)]
            for row, item in enumerate(items):
                got = dict(zip(columns, reply.item_values[row * len(columns) : (row + 1) * len(columns)]))
                assert got == self.joined.of_item(request.user_id, item), f"item {item} for user {request.user_id}"
            wanted = [self.table.rows.get(item, {}).get("language", 0) for item in items]
            assert {field.name: list(field.ids) for field in reply.item_fields} == {"item_info.language": wanted}
            found = {one.key: list(one.fields[0].ids) for one in reply.sequences if one.fields[0].ids}
            assert found == {item: row["tags"] for item, row in self.table.rows.items() if item in items and row.get("tags")}
        pipeline.close()
        self.check_off()

    def check_off(self):
        seen = {item for (name, (item, *_)) in self.joined.counts if name == "watches"}
        on = {item for item in seen if self.table.rows.get(item, {}).get("stock") != 0} - self.banned

        def shown():
            reply = self.node.call("RecallService/Trending", recall_pb2.TrendingRequest(list="hot"), recall_pb2.Candidates)
            return set(reply.ids)

        wait_for(lambda: shown() == on, lambda: f"{on}, not {shown()}: {self.banned}")
        wait_for(lambda: self.banned_count() == len(self.banned), lambda: f"{len(self.banned)} banned: {self.banned_count()}")

    def banned_count(self):
        return next(int(one["tableIds"]) for one in self.node.status()["blocked"] if one["kind"] == "item")


EXAMPLE = yaml.safe_load((pathlib.Path(__file__).parents[2] / "examples/catalogues/tables.yaml").read_text())


def test_the_example_counts_a_simulated_shop_by_what_is_true_of_its_items(make_node, binary, real_kafka, tmp_path):
    topics = kafka.new_topic(real_kafka), kafka.new_topic(real_kafka, 2, "rows")
    wait_for(lambda: all(is_known(real_kafka, topic) for topic in topics), "topics that everybody knows of")
    count, events, items = simulated(binary, real_kafka, tmp_path, *topics)
    catalogue = {key: value for key, value in EXAMPLE.items() if key not in ("node", "kafka")}
    catalogue["tables"] = {"item_info": {**EXAMPLE["tables"]["item_info"], "topic": topics[1]}}
    node = make_node(settings.configuration(real_kafka, topics[0], "json", catalogue=catalogue)).start()
    node.wait_applied(count)
    watches, dear, sales, reads, seen = (collections.Counter() for _ in range(5))
    for event in events:
        item = items.get(event["itemId"])
        if not item:
            continue
        if event["action"] == "WATCH":
            watches.update(item["tags"])
            reads[event["userId"], item["language"]] += 1
        if event["action"] == "PURCHASE":
            dear[event["itemId"]] += item["price"] > 50
            sales[item["language"]] += round(event["value"] * 1_000_000)
        if event["action"] in ("CLICK", "WATCH") and "sale" in item["tags"]:
            seen[event["userId"]] += 1
    assert len(watches) == 10 and sum(dear.values()) > 0 and len(sales) > 2  # of a minute's traffic something is there
    user = max(seen, key=seen.get)
    names = ["tag_watches.24h", "dear_purchases.24h", "language_sales.24h", "reads_language.7d", "item_info.price", "item_info.stock"]
    reply = node.get_features(user_id=int(user), item_ids=[int(item) for item in items], features=["user_sale.24h", *names])
    assert list(reply.user_values) == [seen[user]]
    for row, (item_id, item) in enumerate(items.items()):
        wanted = [
            max((watches[tag] for tag in item["tags"]), default=0), dear[item_id], float32(sales[item["language"]] / 1e6),
            reads[user, item["language"]], float32(item["price"]), item["stock"],
        ]  # fmt: skip
        assert list(reply.item_values[row * len(names) : (row + 1) * len(names)]) == wanted, item
    hot = node.call("RecallService/Trending", recall_pb2.TrendingRequest(list="hot"), recall_pb2.Candidates)
    assert len(hot.ids) > 20 and all(items[str(item)]["stock"] > 0 for item in hot.ids)


def some_rows(dice, count):
    """Rows and tombstones, some told twice, some of items that nobody will ever see."""
    records = []
    for _ in range(count):
        key = str(dice.randint(1, ITEMS + 20)).encode()
        row = {
            "price": dice.choice((0, 9.99, 10, 12.5, 99)), "stock": dice.choice((0, 1, 5)), "language": dice.choice(LANGUAGES),
            "tags": dice.sample(TAGS, dice.randint(0, 4)), "more": {"that": ["nobody", "reads"]},
        }  # fmt: skip
        for name in dice.sample(sorted(row), dice.randint(0, 2)):
            row[name] = None
        record = (key, None if dice.random() < 0.2 else json.dumps(row))
        records += [record] * dice.choice((1, 1, 1, 2))
    return records


def some_events(dice, first, count):
    return [
        {
            "event_id": first + number, "ts_ms": T0 + dice.randrange(60_000), "user_id": dice.randint(1, USERS),
            "item_id": dice.randint(1, ITEMS), "action": dice.choice((3, 3, 4)), "value": 1.0,
        }
        for number in range(count)
    ]  # fmt: skip


def test_killed_again_and_again_rows_and_what_is_joined_are_the_oracles(make_node, real_kafka):
    dice = random.Random(31)
    world = World(make_node, real_kafka)
    world.send_rows(some_rows(dice, 200))  # before the node's first event, so before the first join
    world.send_events(some_events(dice, 1, 400))
    world.ban(dice, 40)
    world.node.start()
    world.check()
    for life in range(6):
        world.send_rows(some_rows(dice, 60))
        is_applied = world.mark()
        world.ban(dice, 20)
        if life % 2 == 0:
            world.node.kill()  # with rows under way
            world.node.start()
        wait_for(is_applied, "rows applied")
        world.send_events(some_events(dice, 1000 * (life + 1), 200))
        if life % 2 == 1:
            goal = dice.randint(world.sent - 200, world.sent)
            wait_for(lambda: world.node.applied() >= goal, "some of the events applied")
            world.node.kill()  # with events under way
            world.node.start()
        world.check()
    digest = world.node.digest()
    world.node.stop()
    undisturbed = make_node({**world.configuration, "store": {**world.configuration["store"], "path": str(world.node.directory / "other")}}, "undisturbed")
    undisturbed.start()
    undisturbed.wait_applied(world.sent)
    assert undisturbed.digest() == digest  # of rows, and of what no table has a word in


BAD = [
    (b"", b'{"price":1}'),
    (b"0", b'{"price":1}'),
    (b"\xff\xfe", b'{"price":1}'),
    (b"5", b"{"),
    (b"5", b"[]"),
    (b"5", b'{"price":true}'),
    (b"5", b'{"price":1e13}'),
    (b"5", b'{"tags":"cats"}'),
    (b"5", json.dumps({"tags": [f"t{number}" for number in range(17)]}).encode()),
    (b"5", json.dumps({"language": "x" * 257}).encode()),
    (b"5", b'{"price":1,"more":"' + b"x" * 70_000 + b'"}'),
]


def dead_letters(world):
    found = kafka.consume_all(world.brokers, f"{world.events_topic}.dead")
    return [dict(message.headers())["reason"].decode() for message in found if dict(message.headers())["topic"].decode() == world.rows_topic]


def test_bad_rows_are_dead_letters_and_change_nothing(make_node, real_kafka):
    world = World(make_node, real_kafka)
    world.send_rows([(b"5", b'{"price":3,"stock":2}'), (b"no-number", b'{"price":4}'), *BAD, (b"77", None)])
    world.node.start()
    world.settle()
    assert len(world.table.refused) == len(BAD)
    wait_for(lambda: sorted(dead_letters(world)) == sorted(world.table.refused), lambda: f"{dead_letters(world)}")
    reply = world.node.get_features(item_ids=[5, tables.text_id("no-number")], features=["item_info"])
    assert list(reply.item_columns) == ["item_info.price", "item_info.stock"]
    assert list(reply.item_values) == [3, 2, 4, 0]
    assert 'freshet_table_rows_total{table="item_info",outcome="unknown"} 1' in world.node.page("/metrics")[2].decode()


def test_a_table_made_anew_is_told_and_a_changed_one_read_anew(make_node, real_kafka):
    world = World(make_node, real_kafka)
    world.send_rows([(str(key).encode(), json.dumps({"price": key, "stock": 1})) for key in range(1, 30)])
    world.node.start()
    world.settle()
    world.node.stop()
    kafka.remake(real_kafka, world.rows_topic, PARTITIONS)
    world.send_rows([(str(key).encode(), json.dumps({"price": key + 1})) for key in range(1, 60)] * 2)
    world.node.spawn()
    assert world.node.ended(60) == 1
    assert world.rows_topic in world.node.log()
    changed = dict(world.configuration)
    changed["tables"] = {"item_info": {**world.configuration["tables"]["item_info"], "fields": ["tags", "language", "price", "stock", "extra"]}}
    changed["store"] = {**world.configuration["store"], "path": str(world.node.directory / "joined.store")}
    again = make_node(changed, "changed").start()
    world.node = again
    world.settle()
    reply = again.get_features(item_ids=[1, 29, 59], features=["item_info.price", "item_info.stock"])
    assert list(reply.item_values) == [2, 0, 30, 0, 60, 0]


def test_a_missing_table_ends_the_node_with_its_name(make_node, real_kafka):
    topic = kafka.new_topic(real_kafka)
    catalogue = {**CATALOGUE, "tables": {"item_info": {**CATALOGUE["tables"]["item_info"], "topic": "nowhere.at.all"}}}
    node = make_node(settings.configuration(real_kafka, topic, "json", catalogue=catalogue))
    node.spawn()
    assert node.ended(60) == 1
    assert "nowhere.at.all" in node.log()


@pytest.mark.parametrize("name", ["item_info.prise", "item_inf.price"])
def test_an_unknown_field_is_told_with_the_nearest(make_node, name):
    made = settings.configuration("embedded", catalogue={**CATALOGUE})
    node = make_node(made).start()
    with pytest.raises(Exception, match="item_info.price|unknown feature"):
        node.get_features(item_ids=[1], features=[name])
