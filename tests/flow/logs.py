"""The public logs: how `freshet produce` maps them, the same mapping again in Python, and the JSON that others would send."""

import csv
import datetime
import gzip
import json
import random
import struct

import xxhash

import oracle

BATCH_SPAN_MS = 5_000  # how far events are shuffled
DUPLICATE_SHARE = 0.05


def id_of(text):
    """An id given as a string."""
    if not text:
        return 0
    if text.isascii() and text.isdigit() and (text == "0" or text[0] != "0") and int(text) < 1 << 64:
        return int(text)
    return xxhash.xxh64_intdigest(text.encode()) or 1


def action(name):
    return oracle.ACTIONS.index(name)


class Taobao:
    file = "taobao_userbehavior/events.csv.gz"
    map = "timestamp:s=ts_ms,behavior_type=action(pv:click,cart:add_to_cart,fav:like,buy:purchase),'mall'=scene"
    names = {"pv": "click", "cart": "add_to_cart", "fav": "like", "buy": "purchase"}

    @classmethod
    def events(cls, row):
        yield {
            "user_id": int(row["user_id"]), "item_id": int(row["item_id"]), "category_id": int(row["category_id"]),
            "ts_ms": int(row["timestamp"]) * 1000, "action": action(cls.names[row["behavior_type"]]),
            "scene": oracle.SCENES.index("mall"),
        }  # fmt: skip


class Kuairand:
    file = "kuairand_27k_like_hate/log.csv.gz"
    map = (
        "video_id=item_id,time_ms=ts_ms,play_time_ms:ms=value,duration_ms:ms=duration_s,'short_video'=scene,'watch'=action,"
        "is_click=action(1:click),label=action(1:like,0:dislike),is_follow=action(1:follow),is_comment=action(1:comment),"
        "is_forward=action(1:share)"
    )

    @staticmethod
    def events(row):
        shared = {
            "user_id": int(row["user_id"]), "item_id": int(row["video_id"]), "ts_ms": int(row["time_ms"]),
            "value": int(row["play_time_ms"]) / 1000, "duration_s": int(row["duration_ms"]) / 1000,
            "scene": oracle.SCENES.index("short_video"),
        }  # fmt: skip
        flags = (("is_click", "click"), ("is_follow", "follow"), ("is_comment", "comment"), ("is_forward", "share"))
        names = ["watch", "like" if row["label"] == "1" else "dislike"] + [name for flag, name in flags if row[flag] == "1"]
        for name in names:
            yield {**shared, "action": action(name)}


class Rees46:
    file = "rees46_2019oct_sample/events.csv.gz"
    map = (
        "event_time:iso=ts_ms,event_type=action(view:click,cart:add_to_cart,purchase:purchase),product_id=item_id,price=value,"
        "brand=creator_id,user_session=request_id"
    )
    names = {"view": "click", "cart": "add_to_cart", "purchase": "purchase"}

    @classmethod
    def events(cls, row):
        at = datetime.datetime.strptime(row["event_time"], "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=datetime.timezone.utc)
        yield {
            "user_id": int(row["user_id"]), "item_id": int(row["product_id"]), "category_id": int(row["category_id"]),
            "ts_ms": int(at.timestamp()) * 1000, "action": action(cls.names[row["event_type"]]), "value": float(row["price"]),
            "creator_id": id_of(row["brand"]), "request_id": id_of(row["user_session"]),
        }  # fmt: skip


LOGS = {"taobao": Taobao, "kuairand": Kuairand, "rees46": Rees46}


def event_id(line, number, action_number):
    """What `freshet produce` gives a row without one: line bytes, line number, action."""
    return xxhash.xxh64_intdigest(line + struct.pack("<QI", number, action_number))


def read_events(log, data):
    """Every event of a log in the order of its file, mapped here and not by Freshet."""
    with gzip.open(data / log.file, "rb") as file:
        lines = file.read().splitlines()
    header = next(csv.reader([lines[0].decode()]))
    events = []
    for number, line in enumerate(lines[1:], 2):  # the header is line 1
        row = dict(zip(header, next(csv.reader([line.decode()]))))
        for event in log.events(row):
            events.append(oracle.normal({**event, "event_id": event_id(line, number, event["action"])}))
    return events


def shuffled(events, seed):
    """Out of order by up to 5 s of event time, 5 % of them a second time: the order in which a producer sends them."""
    dice = random.Random(seed)
    sent = [(event["ts_ms"] + dice.uniform(0, BATCH_SPAN_MS), dice.random(), event) for event in events]
    again = dice.sample(events, int(len(events) * DUPLICATE_SHARE))
    sent += [(event["ts_ms"] + dice.uniform(0, BATCH_SPAN_MS), dice.random(), event) for event in again]
    return [event for *_, event in sorted(sent, key=lambda one: one[:2])]


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def json_of(event, dice):
    """One event as some producer's JSON: both forms of names, ids as numbers or strings, enum names in any case."""
    out = {}
    for field, value in event.items():
        if not value and dice.random() < 0.9:
            continue
        if field == "action":
            value = dice.choice((str.upper, str.lower, str.capitalize))(oracle.ACTIONS[value])
        elif field == "scene":
            value = dice.choice((str.upper, str.lower))(oracle.SCENES[value])
        elif isinstance(value, int) and field != "position" and dice.random() < 0.5:
            value = str(value)
        out[camel(field) if dice.random() < 0.5 else field] = value
    return json.dumps(out).encode()


def key_of(event):
    return str(event["user_id"]).encode()


def event_of(message):
    """A produced protobuf as the oracle has events."""
    return {**{field: getattr(message, field) for field in oracle.FIELD_NUMBERS}, "attributes": dict(message.attributes)}
