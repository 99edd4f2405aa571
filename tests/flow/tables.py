"""Tables as docs/tables.md has them: rows from records, and what the events of one phase mean, joined with the rows of that phase.

Independent of the node, and of oracle.py: every event of these tests lies inside every window, so a count is a count.
"""

import json
import math

import xxhash

from number import float32

NUMBERS, IDS, LISTS = ("number", "integer"), ("id",), ("ids",)
WATCH = 3
LIST_MOST, TEXT_MOST, BYTES_MOST = 16, 256, 1 << 16
DEFAULTS = {"tags": "ids", "language": "id"}


def text_id(text):
    """The Contract's rule for an id that is given as a string."""
    if text.isascii() and text.isdigit() and (text == "0" or text[0] != "0") and int(text) < 1 << 64:
        return int(text)
    return xxhash.xxh64_intdigest(text.encode(), seed=0) or 1


class Bad(Exception):
    """A record that is a dead letter; its reason."""


def number_of(value, is_integer):
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise Bad("bad_json")
    try:
        number = float(value)
    except ValueError:
        raise Bad("bad_json") from None
    if is_integer and not (abs(number) <= 2**53 and number == math.floor(number)):
        raise Bad("bad_value")
    if not abs(number) <= 1e12 and not is_integer:
        raise Bad("bad_value")
    return number


def id_of(value):
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise Bad("bad_json")
    if isinstance(value, int):
        if not 0 <= value < 1 << 64:
            raise Bad("bad_json")
        return value
    if len(value.encode()) > TEXT_MOST:
        raise Bad("bad_value")
    return text_id(value) if value else 0


def ids_of(values):
    if not isinstance(values, list):
        raise Bad("bad_json")
    found = []
    for value in values:
        one = 0 if value is None else id_of(value)
        if one and one not in found:
            found.append(one)
    if len(found) > LIST_MOST:
        raise Bad("bad_value")
    return found


class Table:
    def __init__(self, settings):
        fields = settings["fields"]
        self.types = fields if isinstance(fields, dict) else {name: DEFAULTS.get(name, "number") for name in fields}
        self.rows = {}
        self.refused = []

    def take(self, key, value):
        """One record, in the order of its partition: bytes, or None for a tombstone."""
        try:
            row_id = self.key_of(key)
            if value is None:
                self.rows.pop(row_id, None)
            else:
                self.rows[row_id] = self.row_of(value)
        except Bad as bad:
            self.refused.append(str(bad))

    @staticmethod
    def key_of(key):
        try:
            text = (key or b"").decode()
        except UnicodeDecodeError:
            raise Bad("bad_key") from None
        if not text or len(key) > TEXT_MOST or text_id(text) == 0:
            raise Bad("bad_key")
        return text_id(text)

    def row_of(self, value):
        if not value:
            raise Bad("empty")
        if len(value) > BYTES_MOST:
            raise Bad("oversized")
        try:
            members = json.loads(value)
        except ValueError:
            raise Bad("bad_json") from None
        if not isinstance(members, dict):
            raise Bad("bad_json")
        row = {}
        for name, kind in self.types.items():
            member = members.get(name)
            if member is None:
                continue
            if kind in NUMBERS:
                row[name] = number_of(member, kind == "integer")
            elif kind in LISTS:
                row[name] = ids_of(member)
            else:
                row[name] = id_of(member)
        return {name: one for name, one in row.items() if one or name in self.types and self.types[name] in NUMBERS}

    def number(self, row_id, name):
        return float32(self.rows.get(row_id, {}).get(name, 0.0))


class Joined:
    """What events meant, each joined with the row that its item had: counts by whom or what they belong to."""

    def __init__(self, table):
        self.table = table
        self.counts = {}

    def add(self, name, *key):
        self.counts[name, key] = self.counts.get((name, key), 0) + 1

    def take(self, event):
        row = self.table.rows.get(event["item_id"], {})
        item, user = event["item_id"], event["user_id"]
        if event["action"] != WATCH:
            return
        self.add("watches", item)
        if row.get("price", 0) > 10 and row.get("language") == text_id("en"):
            self.add("dear", item)
        if text_id("cats") in row.get("tags", []):
            self.add("catty", user)
        for tag in row.get("tags", []):
            self.add("tag_watches", tag)
            self.add("affinity", user, tag)
        if "language" in row:
            self.add("language_watches", row["language"])

    def of_item(self, user, item):
        """What an item's row shows as of now: of a list's ids the greatest."""
        row = self.table.rows.get(item, {})
        tags = row.get("tags", [])
        return {
            "watches.1h": self.counts.get(("watches", (item,)), 0),
            "dear.1h": self.counts.get(("dear", (item,)), 0),
            "tag_watches.1h": max((self.counts.get(("tag_watches", (tag,)), 0) for tag in tags), default=0),
            "affinity.1h": max((self.counts.get(("affinity", (user, tag)), 0) for tag in tags), default=0),
            "language_watches.1h": self.counts.get(("language_watches", (row.get("language", 0),)), 0),
            "item_info.price": self.table.number(item, "price"),
            "item_info.stock": self.table.number(item, "stock"),
        }
