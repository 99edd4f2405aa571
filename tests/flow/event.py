"""An event as the Contract has it: its fields, the total order of events, and which of them are refused."""

import struct

FIELD_NUMBERS = {
    "event_id": 1, "ts_ms": 2, "user_id": 3, "item_id": 4, "creator_id": 5, "room_id": 6, "category_id": 7, "region": 8,
    "action": 9, "value": 10, "duration_s": 11, "scene": 12, "request_id": 13, "position": 14, "propensity": 15, "text": 16,
    "attributes": 17,
}  # fmt: skip
ACTIONS = (
    "action_unspecified impression click watch like unlike comment share follow unfollow gift add_to_cart remove_from_cart"
    " purchase refund enter_room leave_room room_start room_end item_on item_off dislike report search"
).split()
SCENES = "scene_unspecified live short_video mall search_page feed".split()

TS_MS_END = 4102444800000
VALUE_MAX = 1e12
SECOND_MS, DAY_MS = 1000, 86_400_000
UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}


def span_ms(text):
    """'250ms', '5m', '7d' → ms; 0 → 0."""
    text = str(text)
    digits = text.rstrip("mshd")
    unit = text[len(digits) :]
    return int(digits) * UNITS_MS[unit] if unit else int(digits)


def double_bits(x):
    return struct.unpack("<Q", struct.pack("<d", x))[0]


def float_bits(x):
    return struct.unpack("<I", struct.pack("<f", x))[0]


def normal(event):
    """Every field, zeros where absent."""
    full = dict.fromkeys(FIELD_NUMBERS, 0)
    full.update(value=0.0, duration_s=0.0, propensity=0.0, text="", attributes={})
    full.update(event)
    return full


def order(event):
    """The total order of events: 'latest' and 'greatest' everywhere."""
    return (
        event["ts_ms"], event["event_id"], event["action"], event["item_id"], double_bits(event["value"]),
        event["user_id"], event["creator_id"], event["room_id"], event["category_id"], event["region"],
        double_bits(event["duration_s"]), event["scene"], event["request_id"], event["position"],
        float_bits(event["propensity"]),
    )  # fmt: skip


def verdict(event):
    """What becomes of a record that could be decoded (event clock: nothing is too far in the future)."""
    if not 1 <= event["action"] < len(ACTIONS):
        return "unknown_action"
    if not 1 <= event["ts_ms"] < TS_MS_END:
        return "bad_time"
    if not abs(event["value"]) <= VALUE_MAX or not abs(event["duration_s"]) <= VALUE_MAX:
        return "bad_value"
    return "applied"
