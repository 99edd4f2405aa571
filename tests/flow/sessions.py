"""What sessions have to be, computed from a list of events: docs/sequences.md in Python."""

import dataclasses
import math
import struct

import xxhash

GAP, FULL, LONG = 1, 2, 3
IMPRESSION, WATCH = 1, 3
NOT_DONE_BY_USERS = (0, 1, 17, 18, 19, 20)  # impressions, and what rooms and items do


@dataclasses.dataclass
class Rules:
    gap_ms: int = 1_800_000
    tokens: int = 200
    duration_ms: int = 6 * 3_600_000
    actions: tuple = tuple(action for action in range(1, 24) if action not in NOT_DONE_BY_USERS)
    positive: tuple = ()
    least: float = 0.0
    within: int = 5
    slots: int = 65536
    rate: float = 0.01


FIELDS = ("ts_ms", "event_id", "action", "item_id", "value", "creator_id", "category_id", "scene", "request_id", "position")


def token_of(event):
    return tuple(event.get(field, 0) for field in FIELDS)


def order_of(token):
    """Events in their order: values by their bits."""
    return (*token[:4], struct.unpack("<Q", struct.pack("<d", token[4]))[0], *token[5:])


def cut(tokens, rules):
    """[(tokens, end, part, tokens before, when it ends)] of one user's tokens in order; what has not ended by then is among them."""
    found, part, before = [], 0, 0
    while tokens:
        count, end = 1, GAP
        while count < len(tokens):
            if tokens[count][0] - tokens[count - 1][0] > rules.gap_ms:
                break
            if count == rules.tokens or tokens[count][0] - tokens[0][0] > rules.duration_ms:
                end = FULL if count == rules.tokens else LONG
                break
            count += 1
        due = tokens[count - (end == GAP)][0] + rules.gap_ms + 1
        found.append((tokens[:count], end, part, before, due))
        part, before = (0, 0) if end == GAP else (part + 1, before + count)
        tokens = tokens[count:]
    return found


def session_id(user, first, part):
    return xxhash.xxh64_intdigest(struct.pack("<QQQQ", user, first[0], first[1], part)) or 1


def slates(tokens):
    """{request: {item: what became of it}} of a record's tokens."""
    found = {}
    for at, (ms, _, action, item, value, _, _, _, request, position) in enumerate(tokens):
        if not request and action != IMPRESSION:
            before = [one[8] for one in tokens[:at] if one[2] == IMPRESSION and one[3] == item]
            request = before[-1] if before else 0
        if not item or not request:
            continue
        row = found.setdefault(request, {}).setdefault(item, {"position": 0, "shown": 0, "acted": 0, "actions": 0, "dwell": 0.0})
        if action == IMPRESSION:
            if not row["shown"]:
                row.update(shown=ms, position=position)
            continue
        row["actions"] |= 1 << action
        row["acted"] = row["acted"] or ms
        row["dwell"] += value if action == WATCH else 0.0
    return found


def told_slates(session):
    """The same of a Session that came; requests and items in order."""
    found = {}
    for slate in session.slates:
        columns = zip(slate.positions, slate.shown_ms, slate.acted_ms, slate.actions, slate.dwell_s, strict=True)
        names = ("position", "shown", "acted", "actions", "dwell")
        found[slate.request_id] = {item: dict(zip(names, one)) for item, one in zip(slate.item_ids, columns, strict=True)}
        assert list(slate.item_ids) == sorted(set(slate.item_ids))
    assert list(found) == sorted(found) and len(found) == len(session.slates)
    return found


class Frequency:
    """Algorithm 2 of Yi et al. (RecSys 2019), with two hashes."""

    def __init__(self, rules):
        self.rules, self.step, self.latest, self.interval = rules, 0, {}, {}

    def note(self, item):
        self.step += 1
        slots = {xxhash.xxh64_intdigest(struct.pack("<Q", item), seed=seed) % self.rules.slots for seed in (0, 1)}
        for slot in slots:
            apart = self.step - self.latest.get(slot, 0)
            if slot in self.interval:
                self.interval[slot] = (1 - self.rules.rate) * self.interval[slot] + self.rules.rate * apart
            else:
                self.interval[slot] = apart
            self.latest[slot] = self.step
        return -math.log(max(self.interval[slot] for slot in slots))


def is_positive(token, rules):
    return token[3] != 0 and token[2] in rules.positive and (token[2] != WATCH or token[4] >= rules.least)


def sessions(events, rules, until_ms):
    """{session_id: what it says} of those that have ended when time has come to until_ms."""
    by_user, ended, found = {}, [], {}
    for event in {(event["user_id"], event["event_id"]): event for event in events}.values():
        if event["user_id"] and event["action"] in rules.actions:
            by_user.setdefault(event["user_id"], []).append(token_of(event))
    for user, tokens in by_user.items():
        first_id = 0
        for some, end, part, before, due in cut(sorted(tokens, key=order_of), rules):
            identity = session_id(user, some[0], part)
            first_id = identity if part == 0 else first_id
            if due <= until_ms:
                ended.append((due, user, part, some[0], identity, first_id, some, end, before))
    frequency = Frequency(rules)
    for _, user, part, _, identity, first_id, some, end, before in sorted(ended):
        positive = [is_positive(token, rules) for token in some] if rules.positive else []
        logs = [frequency.note(token[3]) if good else 0.0 for token, good in zip(some, positive)]
        pairs = [
            (i, k)
            for i in range(len(some))
            for k in range(i + 1, min(i + rules.within, len(some) - 1) + 1)
            if rules.positive and positive[i] and positive[k] and some[i][3] != some[k][3]
        ]
        assert identity not in found
        tokens = tuple((*token[:1], *token[2:]) for token in some)
        found[identity] = (user, some[0][0], some[-1][0], end, part, first_id, before, tokens, tuple(positive), tuple(pairs), logs)
    return found


def told(session):
    """The same of a Session that came."""
    tokens = zip(
        session.ts_ms, session.actions, session.item_ids, session.values, session.creator_ids, session.category_ids, session.scenes,
        session.request_ids, session.positions, strict=True,
    )  # fmt: skip
    return (
        session.user_id, session.begin_ms, session.end_ms, session.end, session.part, session.first_id, session.tokens_before,
        tuple(tokens), tuple(session.positive), tuple(zip(session.pair_first, session.pair_second, strict=True)),
        list(session.log_frequency),
    )  # fmt: skip


def is_same(told, wanted):
    """Frequencies go through a logarithm, all else is exact."""
    return told[:-1] == wanted[:-1] and len(told[-1]) == len(wanted[-1]) and all(
        math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12) for a, b in zip(told[-1], wanted[-1])
    )  # fmt: skip
