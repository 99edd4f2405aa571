"""`AdminService.Explain` and `freshet explain`: what is told adds up to the value, and is the oracle's, pane by pane."""

import copy
import json
import random

import pytest
import yaml

import kafka
import number
import oracle
import random_catalogue
import settings
from freshet.v1 import admin_pb2, event_pb2, feature_pb2
from node import CallError

EVENTS, QUESTIONS = 6_000, 150
LATER_MS = (0, 45_000, 3_000_000, oracle.DAY_MS)
MORE = yaml.safe_load(
    """
  item_mean:    { entity: item, actions: [watch, click], aggregate: mean, of: value, windows: [1h, 7d], emit: [value, n] }
  item_least:   { entity: item, aggregate: min, of: value, windows: [1h, 24h] }
  item_heat:    { entity: item, aggregate: decayed, half_life: 10m, emit: [value, n] }
  item_viewers: { entity: item, aggregate: distinct, of: user_id, windows: [1h, 24h] }
  item_median:  { entity: item, aggregate: quantile, q: 0.5, of: value, windows: [1h] }
  item_rate:    { entity: item, aggregate: ratio, of: [item_clicks, item_likes], windows: [1h, 24h], prior: parent, strength: 5, emit: [value, n, sd] }
  item_likes:   { entity: item, actions: [like, watch], aggregate: count, windows: [1h, 24h] }
  room_online:  { entity: room, aggregate: gauge, up: [click, watch, like], down: [purchase], timeout: 1h }
  room_pulse:   { entity: room, actions: [like, watch, click], aggregate: series, bin: 10m, bins: 20 }
  user_similar: { entity: user, aggregate: last, of: user_recent, match: category_id, limit: 5 }
"""
)


def catalogue():
    made = copy.deepcopy(settings.CATALOGUE)
    made["features"].update(MORE)
    return made


@pytest.fixture
def told(make_node):
    """A node after a restart, so that much of it is on disk, and the oracle."""
    dice = random.Random(5)
    sent = random_catalogue.stream(dice, EVENTS, is_valid=True)
    node = make_node(settings.configuration("embedded", catalogue=catalogue())).start()
    judge = oracle.Oracle(node.configuration)
    for event in sent:
        judge.apply(event)
    for part in (sent[: EVENTS // 2], sent[EVENTS // 2 :]):
        if part is not sent[: EVENTS // 2] and node.applied():
            assert node.stop() == 0
            node.start()
        before = node.applied()
        kafka.produce(node.brokers, "freshet.events", [(str(e["user_id"]).encode(), encoded(e)) for e in part])
        node.wait_applied(before + len(part))
    return node, judge


def encoded(event):
    return event_pb2.Event(**event).SerializeToString()


def explain(node, entity, key, feature, as_of_ms=0):
    asked = admin_pb2.ExplainRequest(
        entity=feature_pb2.EntityKey(entity=entity, key=key), feature=feature, as_of_ms=as_of_ms
    )
    return node.call("AdminService/Explain", asked, admin_pb2.ExplainResponse)


def micro(value):
    return round(value * 1_000_000)


def inside(panes, outer):
    """A late event goes to a finer pane than those beside it that have merged: all that lie inside, the pane too."""
    end_ms = outer.start_ms + outer.span_ms
    return [pane for pane in panes if outer.start_ms <= pane.start_ms and pane.start_ms + pane.span_ms <= end_ms]


def check_counter(judge, feature, key, reply, time_ms, columns):
    """Each pane is what the oracle finds between its ends; those of a window add up to the value."""
    taken = judge.taken(feature, feature.entity, key, time_ms)
    for pane in reply.panes:
        span, nested = (pane.start_ms, pane.start_ms + pane.span_ms), inside(reply.panes, pane)
        if feature.aggregate in ("count", "sum", "mean"):
            right = taken.count(span) * 1_000_000 if feature.aggregate == "count" else taken.sum(span)
            assert sum(micro(one.value) for one in nested) == right, (feature.name, key, pane)
        else:
            assert min(micro(one.value) for one in nested) == min(taken.list(span)), (feature.name, key, pane)
        if feature.aggregate == "mean":
            assert sum(one.count for one in nested) == taken.count(span)
    for column, value in zip(columns, reply.values):
        shares = [pane for pane in reply.panes if column.window and column.window.text in pane.windows]
        if column.kind != "value":
            continue
        if feature.aggregate == "mean":
            events = sum(pane.count for pane in shares)
            right = number.float32_of(sum(micro(pane.value) for pane in shares), events * 1_000_000) if events else 0
        elif feature.aggregate == "min":
            right = number.float32_of(min((micro(pane.value) for pane in shares), default=0), 1_000_000)
        else:
            right = number.float32_of(sum(micro(pane.value) for pane in shares), 1_000_000)
        assert value == right, (column.name, key, value, shares)


def check_cells(judge, feature, key, reply, time_ms):
    taken = judge.taken(feature, feature.entity, key, time_ms)
    total = sum(pane.value for pane in reply.panes)
    if feature.aggregate == "decayed":
        assert reply.values[0] == pytest.approx(total, rel=1e-6)
        assert reply.values[1] == sum(pane.count for pane in reply.panes)
    elif feature.aggregate == "gauge":
        assert reply.values[0] == total
    elif feature.aggregate == "distinct":
        for pane in reply.panes:
            ids = set(taken.list((pane.start_ms, pane.start_ms + pane.span_ms)))
            if len(ids) <= 128 and len(inside(reply.panes, pane)) == 1:
                assert (pane.form, pane.value) == ("exact", len(ids)), (key, pane)
    elif feature.aggregate == "quantile":
        for pane in reply.panes:
            events = sum(one.count for one in inside(reply.panes, pane))
            assert (pane.form, events) == ("buckets", taken.count((pane.start_ms, pane.start_ms + pane.span_ms)))
    elif feature.aggregate == "series":
        assert total == sum(sum(field.ints) for field in reply.fields)


def check_ratio(judge, feature, key, reply, time_ms):
    roles = [(operand.of, operand.side) for operand in reply.operands]
    assert roles == [(of, side) for of in ("own", "parent", "all") for side in ("numerator", "denominator")]
    for operand in reply.operands:
        measured = judge.features[feature.source[operand.side == "denominator"]]
        entity = oracle.ALL if operand.of == "all" else operand.entity.entity
        for window, value in zip(operand.windows, operand.values):
            total = sum(pane.value for pane in operand.panes if window in pane.windows)
            assert value == total, (operand.of, window)
            if window in feature.windows:
                span = feature.windows[window].span(time_ms)
                assert value == judge.taken(measured, entity, tuple(operand.entity.key), time_ms).count(span)
    for column, value, prior in zip(reply.columns, reply.values, reply.priors):
        if column == "item_rate.1h":
            own = [operand.values[list(operand.windows).index("1h")] for operand in reply.operands[:2]]
            assert value == pytest.approx((own[0] + reply.strength * prior) / (own[1] + reply.strength), rel=1e-6)


def check_sequence(judge, feature, key, reply, time_ms):
    source = judge.features[feature.source] if feature.match else feature
    records = judge.records_of(source, key, time_ms)
    assert [(event.ts_ms, event.event_id) for event in reply.events] == [(r["ts_ms"], r["event_id"]) for r in records]
    if feature.match:
        assert reply.searched == source.name
        assert [event.matched for event in reply.events] == [record[feature.match] for record in records]


def check(node, judge, entity, key, name, later):
    feature = judge.features[name]
    as_of_ms = judge.stream_time_ms + later if later else 0
    time_ms = as_of_ms or judge.stream_time_ms
    written = [key[entity.key.index(field)] for field in node.configuration["entities"][entity.name]["key"]]
    reply = explain(node, entity.name, written, name, as_of_ms)
    state = judge.states[entity.name].get(key)
    assert (reply.read_time_ms, reply.stream_time_ms) == (time_ms, judge.stream_time_ms)
    assert reply.present == bool(judge.state(entity.name, key, time_ms))
    assert reply.latest_event_ms in (state.newest_ms, 0 if not reply.present else state.newest_ms)
    assert (reply.feature, reply.generation) == (name, 1)
    if feature.aggregate in ("last", "series"):
        fields = {field.name: list(field.ids) or list(field.ints) or list(field.numbers) for field in reply.fields}
        if not feature.match and any(fields.values()):
            assert fields == judge.fields_of(feature, key, time_ms)
    else:
        [(_, columns)] = judge.selected("", [name])[0]
        parents = judge.parents_of(entity, columns, key, judge.item_ids_of(key[0], 0, 0, time_ms), time_ms)
        assert list(reply.columns) == [column.name for column in columns]
        assert list(reply.values) == judge.row(entity.name, columns, key, time_ms, parents), (name, key, later)
    if feature.aggregate in ("count", "sum", "mean", "min"):
        check_counter(judge, feature, key, reply, time_ms, columns)
    elif feature.aggregate == "ratio":
        check_ratio(judge, feature, key, reply, time_ms)
    elif feature.aggregate == "last":
        check_sequence(judge, feature, key, reply, time_ms)
    else:
        check_cells(judge, feature, key, reply, time_ms)
    return len(reply.panes) + len(reply.events) + len(reply.operands)


def test_what_is_told_adds_up_and_is_the_oracles(told):
    node, judge = told
    dice = random.Random(11)
    told_of, names = {}, sorted(judge.features)
    for question in range(QUESTIONS):
        name = names[question % len(names)]
        entity = judge.entities[judge.features[name].entity]
        key = dice.choice(sorted(judge.states[entity.name]))
        pieces = check(node, judge, entity, key, name, dice.choice(LATER_MS))
        told_of[name] = told_of.get(name, 0) + pieces
    silent = [name for name in names if not told_of[name]]
    assert len(silent) < 5, f"nothing was told of {silent}"


def test_the_offsets_are_those_that_the_value_covers(told):
    node, judge = told
    reply = explain(node, "item", [1], "item_clicks")
    status = {(one["topic"], one["partition"]): int(one["nextOffset"]) for one in node.status()["partitions"]}
    assert {(one.topic, one.partition): one.offset for one in reply.offsets} == status
    assert sum(status.values()) == EVENTS // 2  # the embedded broker began anew


def test_one_column_is_told_by_its_window_alone(told):
    node, _ = told
    reply = explain(node, "item", [1], "item_clicks.7d")
    assert list(reply.columns) == ["item_clicks.7d"]
    assert reply.panes and all("7d" in pane.windows for pane in reply.panes)


@pytest.mark.parametrize(
    ("entity", "key", "feature", "says"),
    [
        ("itm", [1], "item_clicks", "did you mean 'item'"),
        ("item", [1], "item_click", "did you mean 'item_clicks'"),
        ("item", [1, 2], "item_clicks", "the key of item is item_id"),
        ("item", [0], "item_clicks", "none of them 0"),
        ("item", [1, 2, 3, 4, 5], "item_clicks", "no key has more than"),
        ("user", [1], "item_clicks", "is of entity item, not of user"),
    ],
)
def test_a_wrong_question_says_what_is_near(make_node, entity, key, feature, says):
    node = make_node(settings.configuration("embedded")).start()
    with pytest.raises(CallError) as wrong:
        explain(node, entity, key, feature)
    assert wrong.value.code == "invalid_argument" and says in wrong.value.message


def test_the_command_shows_it_to_people_and_programs(told):
    node, judge = told
    done = node.cli("explain", "item", 1, "item_clicks", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["columns"][0] == "item_clicks.1m" and answer["panes"] and answer["entity"]["key"] == ["1"]
    done = node.cli("explain", "item", 1, "item_clicks")
    assert done.returncode == 0 and done.stdout.startswith("item 1: item_clicks (count)\n")
    for shown in ("item_clicks.7d", "present, latest event 20", "panes that count", "next offset to apply"):
        assert shown in done.stdout, done.stdout
    for entity, key, feature in (
        ("item", 1, "item_rate"), ("user", 2, "user_recent"), ("user", 2, "user_similar"), ("room", 1, "room_pulse"),
        ("user_category", "2/1", "user_category_events"), ("item", 987, "item_heat"), ("item", "some-text", "item_viewers"),
    ):  # fmt: skip
        done = node.cli("explain", entity, key, feature)
        assert done.returncode == 0 and feature in done.stdout and done.stderr == "", done.stderr
        print(done.stdout)
    done = node.cli("explain", "item", 1, "item_click")
    assert done.returncode == 1 and done.stdout == "" and "item_clicks" in done.stderr
    for short in ((), ("item",), ("item", 1)):
        assert node.cli("explain", *short).returncode == 2
