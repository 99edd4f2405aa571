"""Bad input (docs/values.md): what no number, time, owner or crowd can do to values; every one of them is the oracle's."""

import math
import time

import compare
import kafka
import logs
import oracle
import settings
import yaml
from freshet.v1 import event_pb2
from node import run_cli
from number import float32

T0 = 1_700_000_040_000
ITEM, OTHER, CREATOR = 7, 8, 100
HUGE = 1e12
WATCH, LIKE, FOLLOW = (oracle.ACTIONS.index(name) for name in ("watch", "like", "follow"))

CATALOGUE = yaml.safe_load(
    """
entities:
  user:     { key: [user_id] }
  item:     { key: [item_id], parent: creator }
  creator:  { key: [creator_id] }
  category: { key: [category_id] }
features:
  watches:  { entity: item, actions: [watch], aggregate: count, windows: [1m, 24h], emit: [value, age] }
  likes:    { entity: item, actions: [like], aggregate: count, windows: [24h] }
  sum:      { entity: item, aggregate: sum, of: value, windows: [1m, 24h] }
  seconds:  { entity: item, aggregate: sum, of: duration_s, windows: [24h] }
  mean:     { entity: item, aggregate: mean, of: value, windows: [1m, 24h], emit: [value, n] }
  least:    { entity: item, aggregate: min, of: value, windows: [24h] }
  shortest: { entity: item, aggregate: min, of: duration_s, windows: [24h] }
  most:     { entity: item, aggregate: max, of: value, windows: [24h] }
  p50:      { entity: item, aggregate: quantile, q: 0.5, of: value, windows: [24h] }
  p100:     { entity: item, aggregate: quantile, q: 1, of: duration_s, windows: [24h] }
  large:    { entity: item, where: "value * value > 1e23 or value / duration_s > 2", aggregate: count, windows: [24h] }
  heat:     { entity: item, aggregate: decayed, half_life: 1h, emit: [value, n] }
  rate:     { entity: item, aggregate: ratio, of: [likes, watches], windows: [24h], prior: parent, strength: 10, emit: [value, n, sd] }
  each:     { entity: item, aggregate: ratio, of: [sum, watches], windows: [24h] }
  followed: { entity: creator, actions: [follow], aggregate: count, windows: [1h, 24h] }
  worth:    { entity: creator, aggregate: sum, of: value, windows: [24h] }
  items:    { entity: category, aggregate: distinct, of: item_id, windows: [1h, 24h], emit: [value, n] }
  viewers:  { entity: category, aggregate: distinct, windows: [24h] }
  all:      { entity: category, aggregate: count, windows: [1h, 24h] }
  spent:    { entity: user, aggregate: sum, of: value, windows: [1m, 24h] }
  viewed:   { entity: user, aggregate: distinct, of: item_id, windows: [24h] }
  recent:   { entity: user, aggregate: last, limit: 50, fields: [item_id, action, ts_ms, value, duration_s] }
"""
)
LATER_MS = (0, 59_000, 3_600_000, oracle.DAY_MS, 31 * oracle.DAY_MS)


class Judged:
    """A node and the oracle beside it."""

    def __init__(self, make_node, **node):
        self.node = make_node(settings.configuration("embedded", catalogue=CATALOGUE, **node)).start()
        self.made = oracle.Oracle(self.node.configuration)
        self.sent = []

    def event(self, **fields):
        """One of ITEM by user 1, a second after the one before, but for what is given."""
        given = {"event_id": len(self.sent) + 1, "ts_ms": T0 + 1_000 * len(self.sent), "user_id": 1, "item_id": ITEM}
        self.sent.append(oracle.normal({**given, "action": WATCH, "value": 5.0, "duration_s": 30.0, **fields}))
        return self.sent[-1]

    def send(self, events):
        kafka.produce(
            self.node.brokers, "freshet.events", ((logs.key_of(one), event_pb2.Event(**one).SerializeToString()) for one in events)
        )
        self.judge(events)

    def judge(self, events):
        for one in events:
            self.made.apply(one)
        self.node.wait_applied(self.made.records)

    def check(self, later_ms=LATER_MS):
        touched = [one for one in self.sent if oracle.verdict(one) == "applied"]
        compare.check_values(self.node, self.made, compare.questions(touched), later_ms)
        counted = {one["outcome"]: int(one["events"]) for one in self.node.status()["outcomes"]}
        for outcome in ("applied", "duplicate", "bad_value", "bad_time"):
            assert counted.get(outcome, 0) == self.made.outcomes.get(outcome, 0), (outcome, counted, self.made.outcomes)

    def value(self, name, item=ITEM, **fields):
        """One column of one item, or of user 1."""
        reply = self.node.get_features(user_id=1, item_ids=[item], features=[name], **fields)
        return [*reply.user_values, *reply.item_values][0]

    def clamped(self):
        lines = self.node.page("/metrics")[2].decode().splitlines()
        return next(int(float(line.split()[1])) for line in lines if line.startswith("freshet_sums_clamped_total "))


REFUSED = (math.nan, math.inf, -math.inf, 1.000001e12, -1.000001e12, math.nextafter(HUGE, math.inf), 1.7e308, -1.7e308)
TAKEN = (HUGE, -HUGE, -2.5, -0.0, 0.0, 5e-324, -5e-324, 0.5e-6, -0.5e-6, 0.4999999e-6, 1e-3, 1e9, 1e9 + 1, 0.1, 123456789.123456)


def number_events(judged):
    """Each number alone in an item of its own, and all together in one."""
    for number in (*REFUSED, *TAKEN):
        for field in ("value", "duration_s"):
            judged.event(**{field: number}, item_id=100 + len(judged.sent))
            judged.event(**{field: number}, user_id=2)
    return judged.sent


def test_numbers_no_aggregate_can_take_are_refused_and_the_others_exact(make_node):
    judged = Judged(make_node)
    judged.send(number_events(judged))
    assert judged.made.outcomes["bad_value"] == 4 * len(REFUSED)
    judged.check()
    assert [judged.value(name) for name in ("least.24h", "most.24h", "shortest.24h")] == [float32(x) for x in (-HUGE, HUGE, -HUGE)]
    assert abs(judged.value("p100.24h") / 1e9 - 1) < 0.01  # clamped


def test_so_they_are_from_a_file_of_json(make_node, tmp_path):
    judged = Judged(make_node)
    events, names = number_events(judged), {math.inf: '"Infinity"', -math.inf: '"-Infinity"'}
    with open(tmp_path / "events.jsonl", "w") as file:
        for one in events:
            value, duration = ('"NaN"' if one[f] != one[f] else names.get(one[f], repr(one[f])) for f in ("value", "duration_s"))
            ids = ", ".join(f'"{logs.camel(field)}": "{one[field]}"' for field in ("event_id", "ts_ms", "user_id", "item_id"))
            file.write(f'{{{ids}, "action": "watch", "value": {value}, "durationS": {duration}}}\n')
    done = run_cli(
        judged.node.binary, "produce", "--brokers", judged.node.brokers, "--topic", "freshet.events", "--strict", file.name
    )
    assert done.returncode == 0, done.stderr
    judged.judge(events)
    judged.check()


def test_a_sum_beyond_64_bits_is_clamped_counted_and_comes_back(make_node):
    judged = Judged(make_node)
    judged.send([judged.event(value=HUGE, duration_s=-HUGE) for _ in range(12)])
    before = judged.clamped()
    assert judged.value("sum.24h") == judged.made.reply(1, [ITEM], judged.made.stream_time_ms, names=["sum.24h"]).item_values[0]
    assert judged.value("sum.24h") < 9.3e12 and judged.clamped() == before + 2
    assert judged.value("seconds.24h") > -9.3e12
    assert judged.value("mean.24h") == float32(HUGE)  # of the exact sum
    assert judged.value("each.24h") == float32(HUGE)
    judged.check()
    judged.send([judged.event(value=-HUGE, duration_s=HUGE) for _ in range(12)] + [judged.event(value=0.25)])
    before = judged.clamped()
    assert judged.value("sum.24h") == 0.25 and judged.value("seconds.24h") == 30 and judged.clamped() == before
    judged.check()


def test_times_before_1970_and_after_2100_are_refused_and_what_lies_beside_counts(make_node):
    judged = Judged(make_node)
    judged.send([judged.event() for _ in range(5)])
    outside = (0, -1, -999, -62_135_596_800_000, -(1 << 63), oracle.TS_MS_END, oracle.TS_MS_END + 1, (1 << 63) - 1)
    judged.send([judged.event(ts_ms=ts_ms) for ts_ms in outside])
    assert judged.made.outcomes["bad_time"] == len(outside)
    judged.check()
    judged.send([judged.event(ts_ms=ts_ms, item_id=OTHER, user_id=2) for ts_ms in (1, 999, 1_000)])  # late, and nothing more
    judged.check()
    judged.send([judged.event(ts_ms=oracle.TS_MS_END - 1)])  # the stream is there now, and all before it long ago
    judged.check((0,))
    assert judged.value("watches.24h") == 1 and judged.value("watches.24h", item=OTHER) == 0


def test_by_the_wall_clock_the_far_future_is_refused_too(make_node):
    judged = Judged(make_node, clock="wall", max_future="1m")
    now = int(time.time() * 1_000)
    judged.send([judged.event(ts_ms=ts_ms) for ts_ms in (now, 1, oracle.TS_MS_END - 1, now + 86_400_000)])
    counted = {one["outcome"]: int(one["events"]) for one in judged.node.status()["outcomes"]}
    assert counted["applied"] == 2 and counted["future"] == 2
    assert judged.node.get_features(item_ids=[ITEM]).stream_time_ms == now


def test_an_item_that_changes_creator_takes_its_columns_and_prior_along(make_node):
    judged = Judged(make_node)
    old, new, never = CREATOR, CREATOR + 1, CREATOR + 2
    judged.send([judged.event(creator_id=old, item_id=OTHER, action=LIKE, user_id=user) for user in range(2, 60)])
    judged.send([judged.event(creator_id=creator, item_id=OTHER, user_id=9) for creator in (old, new, never) for _ in range(40)])
    judged.send([judged.event(creator_id=old, item_id=0, action=FOLLOW, user_id=user) for user in range(2, 5)])
    judged.send([judged.event(creator_id=new, item_id=0, action=FOLLOW)])
    judged.send([judged.event(creator_id=old)])
    judged.check()
    of_old = judged.value("followed.1h"), judged.value("rate.24h")
    assert of_old[0] == 3

    moved = judged.event(creator_id=new)
    judged.send([moved])
    judged.check()
    of_new = judged.value("followed.1h"), judged.value("rate.24h")
    assert of_new[0] == 1 and of_new[1] < of_old[1] / 2

    late = {"ts_ms": moved["ts_ms"] - 500, "creator_id": never}
    judged.send([judged.event(**late), judged.event(creator_id=0), judged.event(creator_id=old, action=0)])
    judged.check()  # a late owner, none, and one of an event that is ignored change nothing
    reply = judged.node.get_features(item_ids=[ITEM], features=["item.creator_id"])
    assert list(reply.item_fields[0].ids) == [new] and judged.value("followed.1h") == 1
    judged.send([judged.event(creator_id=old, ts_ms=moved["ts_ms"] - 100 * oracle.DAY_MS)])  # later than any window
    judged.check()


def test_a_hot_user_and_a_hot_category_are_counted_as_any_other(make_node):
    judged, count = Judged(make_node), 20_000
    for number in range(count):
        crowd = {"user_id": 1 if number % 2 else 1_000 + number, "item_id": 1 + number, "category_id": 3}
        judged.event(ts_ms=T0 + number * 60_000 // count, event_id=number + 1, **crowd)
    again = judged.sent[-32:]  # those of user 1 are known: 32 ids are kept of each
    judged.send(judged.sent)
    judged.send(again)
    assert judged.made.outcomes["duplicate"] == 32
    touched = [one for one in judged.sent if one["user_id"] == 1][:: count // 100] + judged.sent[:: count // 100]
    compare.check_values(judged.node, judged.made, compare.questions(touched), (0, 59_000, oracle.DAY_MS))
    assert judged.value("all.24h", item=1) == count
    assert abs(judged.value("items.24h", item=1) / count - 1) < 0.06
