"""Configurations of the nodes under test."""

import copy
import pathlib

import yaml

CATALOGUE = yaml.safe_load(pathlib.Path(__file__).with_name("catalogue.yaml").read_text())
EVERY = yaml.safe_load(pathlib.Path(__file__).with_name("every.yaml").read_text())


def configuration(brokers, topic="freshet.events", format="protobuf", partitions=None, catalogue=None, **node):
    """A whole configuration; `node` are settings of the node, `brokers` an address or "embedded"."""
    topic_settings = {"name": topic, "format": format}
    if partitions or brokers == "embedded":
        topic_settings["partitions"] = partitions or 8
    return {
        "node": {"clock": "event", "lanes": 2, "dedupe": {"ids": 32, "horizon": "10m"}, **node},
        "kafka": {"brokers": brokers, "topics": [topic_settings], "dead_letters": f"{topic}.dead"},
        "store": {"memory": "256MiB", "epoch": "500ms"},
        **copy.deepcopy(catalogue or CATALOGUE),
    }


TINY = yaml.safe_load(
    """
entities:
  user: { key: [user_id] }
  item: { key: [item_id] }
features:
  item_watches: { entity: item, actions: [watch], aggregate: count, windows: [1m, 1h] }
  item_seconds: { entity: item, actions: [watch], aggregate: sum, of: value, windows: [1h] }
  user_recent:  { entity: user, actions: [watch, like], aggregate: last, limit: 5, fields: [item_id, action, ts_ms, value] }
feature_sets:
  small: { user: [user_recent], item: [item_watches] }
"""
)


def every_kind():
    """Every aggregate; each kind of entity that an item row shows; ratios towards what an entity remembers, and by a part of its key."""
    catalogue = copy.deepcopy(EVERY)
    catalogue["entities"].update(
        creator={"key": ["creator_id"]},
        room={"key": ["room_id"], "parent": "creator"},
        user_creator={"key": ["creator_id", "user_id"]},
    )
    count = {"aggregate": "count", "windows": ["1h", "7d"]}
    rate = {"aggregate": "ratio", "windows": ["7d"], "strength": 7, "emit": ["value", "n", "sd", "age"]}
    catalogue["features"].update(
        follows={"entity": "creator", "actions": ["follow", "watch"], **count},
        talk={"entity": "room", "actions": ["comment", "like"], **count},
        looks={"entity": "room", **count},
        talk_rate={"entity": "room", "of": ["talk", "looks"], "prior": "parent", **rate},
        bond={"entity": "user_creator", **count},
        mine={"entity": "user_category", "actions": ["watch"], **count},
        all_mine={"entity": "user_category", **count},
        mine_rate={"entity": "user_category", "of": ["mine", "all_mine"], "prior": "parent", **rate},
    )
    return catalogue
