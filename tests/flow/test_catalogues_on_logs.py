"""Catalogues on public logs, beside the oracle: watches with durations and dislikes, comments on matches, the chat of channels."""

import csv
import datetime
import gzip
import pathlib
import random

import pytest
import yaml

import compare
import kafka
import logs
import oracle
import settings
import world

CATALOGUES = pathlib.Path(__file__).resolve().parents[2] / "examples/catalogues"
T0 = 1_600_000_000_000
COMMENT = oracle.ACTIONS.index("comment")

ROOMS = yaml.safe_load(
    """
entities:
  user:      { key: [user_id] }
  item:      { key: [item_id] }
  room:      { key: [room_id] }
  user_room: { key: [user_id, room_id] }
features:
  room_comments: { entity: room, actions: [comment], aggregate: count, windows: [1m, 5m, 1h] }
  room_talkers:  { entity: room, actions: [comment], aggregate: distinct, windows: [5m, 1h] }
  room_burst:    { entity: room, actions: [comment], aggregate: burst, bin: 20s, bins: 60 }
  room_capped:   { entity: room, actions: [comment], aggregate: capped, cap: 2, windows: [5m], emit: [value, n] }
  room_pleased:  { entity: room, actions: [comment], where: "value > 0", aggregate: count, windows: [1h, 30d] }
  room_said:     { entity: room, actions: [comment], aggregate: count, windows: [1h, 30d] }
  room_mood:     { entity: room, actions: [comment], aggregate: mean, of: value, windows: [1h, 30d] }
  room_pleasure:
    { entity: room, aggregate: ratio, of: [room_pleased, room_said], windows: [1h, 30d], prior: global, strength: 10, emit: [value, lower, upper, chain] }
  said_here:     { entity: user_room, actions: [comment], aggregate: count, windows: [1h, 30d] }
  user_said:     { entity: user, actions: [comment], aggregate: last, limit: 50, fields: [ts_ms, room_id, item_id] }
  user_acts:     { entity: user, aggregate: actor, of: user_said, field: room_id }
"""
)


def rows_of(file):
    with gzip.open(file, "rt", newline="") as text:
        return list(csv.DictReader(text))


def danmaku(data):
    """Comments on three matches as in a live chat: by the clock of the video. A room, and an item, for each."""
    for video in (1, 2, 3):
        for row in rows_of(data / f"bilibili_danmaku_lpl/danmaku_video{video}.csv.gz"):
            yield {
                "ts_ms": T0 + round(float(row["video_time_s"]) * 1000), "user_id": logs.id_of(row["user_hash"]), "room_id": video,
                "item_id": 100 + video, "action": COMMENT, "text": row["text"], "duration_s": 0.0,
            }  # fmt: skip


def chat(data):
    """Messages with their sentiment as value; the channel is the room, the game the item."""
    for row in rows_of(data / "twitch_chat_sentiment/chat.csv.gz"):
        sent = datetime.datetime.fromisoformat(row["date"])
        yield {
            "ts_ms": round(sent.timestamp() * 1000), "user_id": int(row["user"]), "room_id": logs.id_of(row["channel"]),
            "item_id": logs.id_of(row["game"]), "action": COMMENT, "text": row["message"], "value": float(row["sentiment"]),
        }  # fmt: skip


def kuairand(data):
    return logs.read_events(logs.Kuairand, data)[:20_000]


def judged(make_node, catalogue, made):
    """A node that has the events, in the order of their time, and the oracle of them."""
    numbered = ({**event, "event_id": event.get("event_id") or number} for number, event in enumerate(made, 1))
    events = sorted(map(oracle.normal, numbered), key=oracle.order)
    node = make_node(settings.configuration("embedded", format="json", catalogue=catalogue)).start()
    dice = random.Random(1)
    kafka.produce(node.brokers, "freshet.events", ((logs.key_of(event), logs.json_of(event, dice)) for event in events))
    judge = oracle.Oracle(node.configuration)
    for event in events:
        judge.apply(event)
    node.wait_applied(len(events))
    return node, judge, events


@pytest.mark.parametrize("name", ["safety", "causal"])
def test_watches_with_durations_and_dislikes_are_weighed_as_the_oracle_says(make_node, data, name):
    catalogue = yaml.safe_load((CATALOGUES / f"{name}.yaml").read_text())
    node, judge, events = judged(make_node, catalogue, kuairand(data))
    items = sorted({event["item_id"] for event in events})
    users = sorted({event["user_id"] for event in events})[::500]
    compare.check_values(node, judge, [(0, items[::20]), *((user, items[:3]) for user in users)], (0, 20_000_000))
    column = "dislike_rate.7d.upper" if name == "safety" else "item_watch_rank.24h"
    values = node.get_features(item_ids=items[:2000], features=[column]).item_values
    assert len(set(values)) > 3  # the log has what it is about


def test_rates_bursts_and_caps_of_the_simulated_world_are_the_oracles(binary, make_node, tmp_path):
    """What is planted there to be found: a longer run, in test_causal.py, finds it."""
    simulated = world.World(binary, tmp_path, rate=10, seconds=300, seed=6, items=150, users=40)
    catalogue = yaml.safe_load((CATALOGUES / "safety.yaml").read_text())
    node, judge, events = judged(make_node, catalogue, map(logs.event_of, simulated.events))
    compare.check_values(node, judge, compare.questions(events, users_every=3), (0, 60_000))
    names = ["likes_capped.24h", "room_likes.1h", "report_rate.7d.upper", "dislike_rate.7d.upper"]
    columns = world.columns(node, sorted({event["item_id"] for event in events} - {0}), names)
    assert all(len({column[name] for column in columns}) > 3 for name in names), names


@pytest.mark.parametrize("log", [danmaku, chat])
def test_comments_are_counted_by_room_as_the_oracle_says(make_node, data, log):
    node, judge, events = judged(make_node, ROOMS, log(data))
    assert len(events) == {danmaku: 12_366, chat: 1_498}[log]
    compare.check_values(node, judge, compare.questions(events, users_every=40), (0, 30_000, 3_000_000))
    for room in sorted({event["room_id"] for event in events}):
        of_room = [event for event in events if event["room_id"] == room]
        names = ["room_said.30d", "room_mood.30d", "room_talkers.1h", "room_burst"]
        said, mood, _, _ = node.get_features(item_ids=[of_room[0]["item_id"]], room_id=room, features=names).item_values
        assert said == len(of_room)
        assert mood == pytest.approx(sum(event["value"] for event in of_room) / len(of_room), abs=1e-6)
