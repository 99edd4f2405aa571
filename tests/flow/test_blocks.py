"""What AdminService.Block and tables block is in no recall reply and last in every score, at once and after a kill; a blocked user's events count no more."""

import copy
import json

import pytest
import yaml

import kafka
import settings
from freshet.v1 import event_pb2
from node import CallError, wait_for

START_MS = 1_700_000_000_000
LOWEST = -3.4e38
CATALOGUE = yaml.safe_load(
    """
tables:
  banned_items:    { topic: banned.items, key: item_id, blocks: true, partitions: 1 }
  banned_creators: { topic: banned.creators, key: creator_id, blocks: true, fields: [], partitions: 2 }
  banned_users:    { topic: banned.users, key: user_id, blocks: true, partitions: 1 }
entities:
  user:    { key: [user_id] }
  item:    { key: [item_id] }
  creator: { key: [creator_id] }
  room:    { key: [room_id] }
features:
  heat:      { entity: item, aggregate: decayed, half_life: 1h }
  room_heat: { entity: room, aggregate: decayed, half_life: 1h }
  fame:      { entity: creator, aggregate: decayed, half_life: 1h }
  likes:     { entity: item, actions: [like], aggregate: count, windows: [1h] }
  recent:    { entity: user, aggregate: last, limit: 10, fields: [item_id, ts_ms] }
  related:   { entity: item, aggregate: covisit, from: recent, within: 1h, half_life: 1h, limit: 10 }
lists:
  trending: { of: item, rank: heat, scopes: [global], limit: 20 }
  rooms:    { of: room, rank: room_heat, scopes: [global], limit: 20 }
  creators: { of: creator, rank: fame, scopes: [global], limit: 20 }
feature_sets:
  few: { item: [likes] }
models:
  shop: { feature_set: few, bits: 10, factors: 0, tasks: { click: { actions: [click] } } }
"""
)


def event(number, **fields):
    made = {"event_id": number + 1, "ts_ms": START_MS + number * 1000, "action": "LIKE", "scene": "LIVE", "user_id": 1, **fields}
    return str(made["user_id"]).encode(), event_pb2.Event(**made).SerializeToString()


def produce(node, events):
    kafka.produce(node.brokers, "freshet.events", events)
    node.sent = getattr(node, "sent", 0) + len(events)
    node.wait_applied(node.sent)


@pytest.fixture
def node(make_node):
    """Items 1 … 6: 1 and 2 of creator 10 in room 20, 3 and 4 of 11 in 21, 5 and 6 of 12 in 22; one user liked them all."""
    made = make_node(settings.configuration("embedded", catalogue=copy.deepcopy(CATALOGUE))).start()
    produce(made, [event(item, item_id=item, creator_id=10 + (item - 1) // 2, room_id=20 + (item - 1) // 2) for item in range(1, 7)])
    return made


def block(node, kind, *ids, **more):
    return node.call_json("AdminService/Block", {"kind": kind, "ids": ids, **more})


def counts(reply, by="ids"):
    return {one["kind"]: int(one[by]) for one in reply["blocked"]}


def tell(node, table, *records):
    """Rows of banned.TABLE (key, JSON or None), once they are applied."""
    outcomes = f'freshet_table_rows_total{{table="banned_{table}",outcome="'

    def told():
        return sum(float(line.split()[-1]) for line in node.page("/metrics")[2].decode().splitlines() if line.startswith(outcomes))

    wanted = told() + len(records)
    kafka.produce(node.brokers, f"banned.{table}", [(key.encode(), value) for key, value in records])
    wait_for(lambda: told() == wanted, lambda: f"{len(records)} rows of {table}")


def ids(node, method, **asked):
    return sorted(map(int, node.call_json(f"RecallService/{method}", asked)["ids"]))


def shown(node):
    """Items, rooms and creators that recall gives, by all of its ways."""
    items = ids(node, "Trending", list="trending")
    assert items == ids(node, "Recent", kind="new_items")
    assert [item for item in items if item != 1] == ids(node, "Related", item_id=1)
    rooms, creators = ids(node, "Trending", list="rooms"), ids(node, "Trending", list="creators")
    assert rooms == ids(node, "Recent", kind="rooms_live") and creators == ids(node, "Recent", kind="creators_live")
    return items, rooms, creators


def scores(node, **more):
    reply = node.call_json("ModelService/Score", {"user_id": 9, "item_ids": [1, 2, 3, 4, 5, 6, 7], "model": "shop", **more})
    assert [p == 0 for p in reply["probabilities"]] == [score <= LOWEST for score in reply["scores"]]
    return [at + 1 for at, score in enumerate(reply["scores"]) if score <= LOWEST]


def test_what_is_blocked_is_gone_at_once_and_stays_so_after_a_kill(node):
    everything = ([1, 2, 3, 4, 5, 6], [20, 21, 22], [10, 11, 12])
    assert shown(node) == everything and scores(node) == []
    assert counts(block(node, "item", 4, reason="not what it says"))["item"] == 1
    assert shown(node) == ([1, 2, 3, 5, 6], [20, 21, 22], [10, 11, 12]) and scores(node) == [4]
    block(node, "room", 22)
    assert ids(node, "Recent", kind="creators_live") == [10, 11] and ids(node, "Recent", kind="rooms_live") == [20, 21]
    assert ids(node, "Trending", list="trending") == [1, 2, 3] and scores(node) == [4, 5, 6]
    block(node, "creator", 11)
    assert ids(node, "Trending", list="trending") == [1, 2] and scores(node) == [3, 4, 5, 6]
    assert ids(node, "Recent", kind="rooms_live") == [20] == ids(node, "Trending", list="rooms")
    assert ids(node, "Recent", kind="creators_live") == [10] and scores(node, room_id=22) == [1, 2, 3, 4, 5, 6, 7]
    assert counts(node.status()) == {"item": 1, "room": 1, "creator": 1, "user": 0}
    assert "blocked 1 item, the first 4: not what it says" in node.log()
    node.kill()
    node.start()
    assert counts(node.status()) == {"item": 1, "room": 1, "creator": 1, "user": 0}
    assert scores(node) == [3, 4, 5, 6] and list(map(int, block(node, "creator")["ids"])) == [11]
    for kind, one in (("item", 4), ("room", 22), ("creator", 11)):
        block(node, kind, one, unblock=True)
    assert shown(node) == everything and scores(node) == []


WHY = b'{"reason": "sold by nobody", "by": 7}'


def test_a_topic_blocks_whoever_has_a_row_until_his_tombstone(node):
    tell(node, "items", ("4", WHY))
    assert shown(node) == ([1, 2, 3, 5, 6], [20, 21, 22], [10, 11, 12]) and scores(node) == [4]
    tell(node, "items", ("5", b"{}"), ("5", None), ("6", None), ("4", WHY))
    assert scores(node) == [4] and counts(node.status(), "tableIds") == {"item": 1, "room": 0, "creator": 0, "user": 0}
    tell(node, "creators", ("12", b"{}"))
    assert ids(node, "Trending", list="trending") == [1, 2, 3] and ids(node, "Recent", kind="rooms_live") == [20, 21]
    tell(node, "users", ("66", WHY))
    node.call_json("AdminService/Checkpoint", {})
    digest = node.digest()
    node.kill()
    node.start()
    assert node.digest() == digest and scores(node) == [4, 5, 6]
    assert counts(node.status(), "tableIds") == {"item": 1, "room": 0, "creator": 1, "user": 1}
    tell(node, "items", ("4", None))
    tell(node, "creators", ("12", None))
    tell(node, "users", ("66", None))
    assert shown(node) == ([1, 2, 3, 4, 5, 6], [20, 21, 22], [10, 11, 12]) and scores(node) == []
    assert sum(counts(node.status(), "tableIds").values()) == 0 and node.digest() != digest


def test_what_people_and_a_topic_block_each_lets_in_alone(node):
    tell(node, "items", ("1", WHY), ("2", WHY))
    assert block(node, "item", 3, 2, 4)["byTables"] == ["2"] and scores(node) == [1, 2, 3, 4]
    assert block(node, "item", 1, 2, 3, 4, unblock=True)["byTables"] == ["1", "2"] and scores(node) == [1, 2]
    block(node, "item", 2)
    tell(node, "items", ("2", None), ("1", None))
    assert scores(node) == [2] and block(node, "item")["ids"] == ["2"]


def test_a_bad_key_is_a_dead_letter_and_blocks_nobody(node):
    kafka.produce(node.brokers, "banned.users", [(b"0", WHY), (b"", WHY), (b"\xff", WHY), (b"7", b"[]")])
    wait_for(lambda: len(kafka.consume_all(node.brokers, "freshet.events.dead")) == 4, "four dead letters")
    reasons = [dict(message.headers())["reason"].decode() for message in kafka.consume_all(node.brokers, "freshet.events.dead")]
    assert sorted(reasons) == ["bad_json", "bad_key", "bad_key", "bad_key"]
    assert sum(counts(node.status(), "tableIds").values()) == 0


def test_the_command_blocks_lists_and_lets_in(node):
    tell(node, "items", ("3", WHY))
    made = node.cli("block", "item", 1, 3, "--reason", "not what it says")
    assert made.returncode == 0 and made.stdout == "2 items blocked\na table blocks item 3, too: until its row is deleted\n"
    assert scores(node) == [1, 3] and "blocked 2 items, the first 1: not what it says" in node.log()
    listed = node.cli("block", "item")
    assert listed.stdout == "1\n3\n" and "blocked by tables, and not listed: 1\n" in listed.stderr
    assert node.cli("block", "item", "3", "--unblock").stdout.startswith("1 item let in again\na table blocks item 3")
    assert json.loads(node.cli("block", "item", "--json").stdout)["ids"] == ["1"] and scores(node) == [1, 3]
    wrong = node.cli("block", "itm", 1)
    assert wrong.returncode == 1 and "did you mean 'item'" in wrong.stderr
    assert node.cli("block", "item", "--unblock").returncode == 2


@pytest.mark.parametrize("by_table", [False, True])
def test_a_blocked_users_events_count_no_more(node, by_table):
    likes = [event(100 + n, user_id=66, item_id=1) for n in range(5)]
    tell(node, "users", ("66", WHY)) if by_table else block(node, "user", 66)
    produce(node, likes)
    assert list(node.get_features(item_ids=[1], features=["likes.1h"]).item_values) == [1.0]
    assert {one["outcome"]: int(one["events"]) for one in node.status()["outcomes"]}["blocked"] == 5
    tell(node, "users", ("66", None)) if by_table else block(node, "user", 66, unblock=True)
    produce(node, [event(200, user_id=66, item_id=1)])
    assert list(node.get_features(item_ids=[1], features=["likes.1h"]).item_values) == [2.0]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"kind": "itm", "ids": [1]}, "did you mean 'item'"),
        ({"kind": "item", "ids": [1, 0]}, "ids[1]: 0 names nothing"),
        ({"kind": "item", "ids": [1], "reason": "x" * 201}, "longer than 200"),
        ({"kind": "item", "ids": list(range(1, 10_002))}, "at most 10000"),
    ],
)
def test_what_is_no_order_is_refused_and_blocks_nothing(node, asked, says):
    with pytest.raises(CallError) as refused:
        node.call_json("AdminService/Block", asked)
    assert refused.value.code == "invalid_argument" and says in refused.value.message
    assert sum(counts(node.status()).values()) == 0
