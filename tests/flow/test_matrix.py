"""All that one GetFeatures can hold, in one matrix beside the oracle: sets and names, every kind of entity, companions, sequences shared by
their key, repeated and unknown items, a room of the request's own."""

import random

import compare
import kafka
import logs
import oracle
import settings
from freshet.v1 import event_pb2, feature_pb2
from test_values import difficult_events

FIELDS = ["item.creator_id", "item.room_id", "item.category_id", "item.duration_s"]
SETS = {
    "fine": {
        "user": ["recent", "viewed", "seen"],
        "item": ["views", "want_rate", "heat", "follows", "talk_rate", "online", "pulse"],
        "cross": ["of_category", "of_item", "bond", "mine_rate", "in_category"],
    },
    "small": {"item": ["wanted.24h"]},
}


def requests_of(judge, events, catalogue, dice):
    items = sorted({one["item_id"] for one in events if one["item_id"]})
    users = sorted({one["user_id"] for one in events if one["user_id"]})
    rooms = sorted({one["room_id"] for one in events if one["room_id"]})
    many = [dice.choice([0, compare.UNKNOWN_ID, *items]) for _ in range(compare.ITEMS_MAX)]
    names = [*catalogue["features"], *FIELDS]
    for number, later in enumerate(compare.LATER_MS[::2]):
        as_of_ms = judge.stream_time_ms + later if later else 0
        for user_id in (users[number], 0, compare.UNKNOWN_ID):
            yield {"user_id": user_id, "item_ids": many, "features": names, "as_of_ms": as_of_ms}
        for room_id in (0, dice.choice(rooms), compare.UNKNOWN_ID):
            some = [*dice.sample(items, 20), 0, items[0], items[0], compare.UNKNOWN_ID]
            user_id = dice.choice(users)
            common = {"user_id": user_id, "item_ids": some, "room_id": room_id, "as_of_ms": as_of_ms}
            for more in ([], dice.sample(names, 9), ["want_rate.24h", "want_rate", "recent"]):
                for name in (*SETS, ""):
                    if name or more:
                        yield {**common, "feature_set": name, "features": more}
            yield {**common, "item_ids": []}
            yield common


def test_the_whole_matrix_is_the_oracles(make_node):
    catalogue = {**settings.every_kind(), "feature_sets": SETS}
    node = make_node(settings.configuration("embedded", catalogue=catalogue)).start()
    judge, dice = oracle.Oracle(node.configuration), random.Random(3)
    events = [one for one in difficult_events(21, 6000) if judge.apply(one) == "applied"]
    kafka.produce(
        node.brokers, "freshet.events", [(logs.key_of(one), event_pb2.Event(**one).SerializeToString()) for one in events]
    )
    node.wait_applied(len(events))

    def answered():
        for fields in requests_of(judge, events, catalogue, dice):
            wanted = judge.reply(
                fields["user_id"], fields["item_ids"], fields.get("as_of_ms") or judge.stream_time_ms,
                fields.get("room_id", 0), fields.get("feature_set", ""), fields.get("features", ()),
            )  # fmt: skip
            judge.cache.clear()
            yield feature_pb2.GetFeaturesRequest(**fields), wanted, node.get_features(**fields)

    assert compare.check_replies(judge, answered()) > 300_000


def test_a_sequence_is_given_once_for_all_rows_of_its_key(make_node):
    catalogue = {**settings.every_kind(), "feature_sets": SETS}
    node = make_node(settings.configuration("embedded", catalogue=catalogue)).start()
    rows = [(1, 5), (2, 6), (3, 5)]  # item and its category
    events = [
        event_pb2.Event(event_id=number + 1, ts_ms=1_700_000_000_000 + number, user_id=7, item_id=item, category_id=category, action=event_pb2.LIKE)
        for number, (item, category) in enumerate(rows)
    ]  # fmt: skip
    kafka.produce(node.brokers, "freshet.events", [(b"7", one.SerializeToString()) for one in events])
    node.wait_applied(3)
    reply = node.get_features(user_id=7, item_ids=[1, 2, 3, 1, 99, 0], feature_set="fine")
    shared = {(one.name, one.key): list(one.rows) for one in reply.sequences if one.rows}
    for name in ("pulse", "in_category"):
        assert {key[1]: rows for key, rows in shared.items() if key[0] == name} == {5: [0, 2, 3], 6: [1]}
    assert [one.name for one in reply.sequences if not one.rows] == ["recent", "seen"]
    assert list(reply.item_present) == [True] * 4 + [False] * 2 and reply.user_present
    assert len(reply.item_values) == 6 * len(reply.item_columns)
