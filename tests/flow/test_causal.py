"""Causal and robust counters on logs with propensities and positions, on the simulator's truth, and on clicks that may be a machine's."""

import csv
import gzip
import json
import pathlib

import numpy
import pytest
import yaml

import causal
import kafka
import oracle
import settings
from freshet.v1 import event_pb2
from node import run_cli

CATALOGUES = pathlib.Path(__file__).resolve().parents[2] / "examples/catalogues"
BANDIT = "open_bandit_zozo/impressions_{}.csv.gz"
BANDIT_MAP = (
    "timestamp:iso=ts_ms,item_id=item_id,position=position,propensity_score=propensity,user_feature_0=user_id,"
    "'impression'=action,click=action(1:click)"
)
ITEMS = {"random_all": 80, "bts_men": 34}
PER_ITEM = yaml.safe_load(
    """
entities:
  user: { key: [user_id] }
  item: { key: [item_id] }
features:
  coec:  { entity: item, aggregate: coec, windows: [30d], emit: [value, n, sd] }
  drawn: { entity: item, aggregate: coec, windows: [30d], strength: 2 }
  ips:   { entity: item, actions: [click], aggregate: ips, floor: 0.01, windows: [30d] }
  shown: { entity: item, actions: [impression], aggregate: ips, floor: 0.01, windows: [30d] }
  snips: { entity: item, aggregate: ratio, of: [ips, shown], windows: [30d] }
"""
)


def bandit_by_numpy(file):
    """What each item's columns must be, from the file alone: {item: [coec, n, sd, drawn, ips, snips]}."""
    with gzip.open(file, "rt") as text:
        rows = list(csv.DictReader(text))
    item = numpy.array([int(row["item_id"]) for row in rows])
    place = numpy.array([int(row["position"]) for row in rows])
    click = numpy.array([int(row["click"]) for row in rows])
    weight = 1 / numpy.maximum(numpy.array([row["propensity_score"] for row in rows], numpy.float32).astype(float), 0.01)
    rate = numpy.bincount(place, click, 4) / numpy.maximum(numpy.bincount(place, minlength=4), 1)
    found = {}
    for one in numpy.unique(item):
        at = item == one
        expected, clicks, shown = rate[place[at]].sum(), click[at].sum(), weight[at].sum()
        ips = (weight * click)[at].sum()
        ours = [clicks / expected, at.sum(), clicks**0.5 / expected, (clicks + 2) / (expected + 2), ips, ips / shown]
        found[int(one)] = [float(value) for value in ours]
    return found, len(rows) + int(click.sum())


@pytest.mark.parametrize("policy", ITEMS)
def test_clicks_over_expected_and_propensities_are_numpys(binary, make_node, data, policy):
    """Item 0 of the log names nothing: ids begin at 1. Its impressions are in the curve all the same."""
    file = data / BANDIT.format(policy)
    wanted, events = bandit_by_numpy(file)
    node = make_node(settings.configuration("embedded", catalogue=PER_ITEM)).start()
    done = run_cli(
        binary, "produce", "--brokers", node.brokers, "--topic", "freshet.events", "--format", "csv", "--map", BANDIT_MAP, file
    )
    assert done.returncode == 0, done.stderr
    node.wait_applied(events)
    items = [item for item in wanted if item]
    assert len(wanted) == ITEMS[policy]
    features = ["coec", "drawn", "ips", "snips"]
    values = numpy.array(node.get_features(item_ids=items, features=features).item_values).reshape(len(items), -1)
    numpy.testing.assert_allclose(values, [wanted[item] for item in items], rtol=1e-5)
    assert values[:, 0].max() > 1.5 and (values[:, 4] > 0).sum() > 5  # some are clicked more than their places


@pytest.mark.parametrize("name", ["causal", "safety", "mixed", "creators"])
def test_an_example_catalogue_is_one(binary, name):
    done = run_cli(binary, "check", "--config", CATALOGUES / f"{name}.yaml")
    assert done.returncode == 0, done.stderr
    oracle.Oracle(yaml.safe_load((CATALOGUES / f"{name}.yaml").read_text()))


# ---- The simulator's truth ----

SAFETY = yaml.safe_load((CATALOGUES / "safety.yaml").read_text())
STEP_MS, BURST, BOT = 20_000, 8, 0.05
PACE = 0.05  # of the time passed: how far the truth's moments may be from events' own


def simulated(binary, directory, seconds, rate, seed):
    truth = directory / "truth.jsonl"
    asked = ("--rate", rate, "--seconds", seconds, "--seed", seed, "--fast", "--users", 3000, "--start", 1_700_000_000_000)
    done = run_cli(binary, "simulate", *asked, "--truth", truth, timeout_s=300)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines() if '"IMPRESSION"' not in line and '"WATCH"' not in line]
    events.sort(key=lambda event: int(event["tsMs"]))
    return events, [json.loads(line) for line in truth.read_text().splitlines()]


def alarms_of(node, events, rooms):
    """{room: [moments at which it is in a burst]}, asked every STEP_MS while events come."""
    alarms, sent, at = {room: [] for room in rooms}, 0, int(events[0]["tsMs"]) // STEP_MS * STEP_MS
    while sent < len(events):
        at, first = at + STEP_MS, sent
        while sent < len(events) and int(events[sent]["tsMs"]) < at:
            sent += 1
        batch = [{**event, "attributes": {}} for event in events[first:sent]]
        made = [event_pb2.Event(**{oracle_name(k): v for k, v in typed(event).items()}) for event in batch]
        kafka.produce(node.brokers, "freshet.events", ((str(one.user_id).encode(), one.SerializeToString()) for one in made))
        node.wait_applied(sent)
        for room in rooms if sent > first else ():
            value = node.get_features(item_ids=[1], room_id=room, features=["room_burst"]).item_values[0]
            if value > BURST:
                alarms[room].append(at)
    return alarms


def typed(event):
    return {k: int(v) if isinstance(v, str) and v.isdigit() and k != "text" else v for k, v in event.items()}


def oracle_name(camel):
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in camel)


def episodes(moments):
    """Runs of moments not more than three steps apart: (first, last)."""
    found = []
    for at in moments:
        if found and at - found[-1][1] <= 3 * STEP_MS:
            found[-1][1] = at
        else:
            found.append([at, at])
    return found


@pytest.mark.long
def test_planted_bursts_and_bots_are_found(binary, make_node, tmp_path):
    events, truth = simulated(binary, tmp_path, 5400, 150, 7)
    start = int(events[0]["tsMs"])
    node = make_node(settings.configuration("embedded", catalogue=SAFETY, lanes=1)).start()
    rooms = sorted({int(event["roomId"]) for event in events} - {0})
    alarms = [(room, *one) for room, moments in alarms_of(node, events, rooms).items() for one in episodes(moments)]
    bursts = [(int(one["roomId"]), int(one["fromMs"]), int(one["untilMs"])) for one in truth if one["truth"] == "burst"]
    bursts = [one for one in bursts if one[1] > start + 600_000]  # before, nobody knows what is usual

    def meets(alarm, burst):
        slack = PACE * (burst[1] - start) + 60_000
        return alarm[0] == burst[0] and alarm[1] <= burst[2] + slack and alarm[2] >= burst[1] - slack

    true = sum(any(meets(alarm, burst) for burst in bursts) for alarm in alarms)
    found = sum(any(meets(alarm, burst) for alarm in alarms) for burst in bursts)
    print(f"bursts: {found} of {len(bursts)} found, {true} of {len(alarms)} alarms true")
    assert len(bursts) >= 4 and found >= 0.75 * len(bursts) and true >= 0.75 * len(alarms)

    acts = [event for event in events if event["action"] in ("LIKE", "CLICK", "COMMENT")]
    many = {}
    for event in acts:
        many[int(event["userId"])] = many.get(int(event["userId"]), 0) + 1
    users = [user for user, count in many.items() if count >= 20]
    bots = {int(one["userId"]) for one in truth if one["truth"] == "user" and one["isBot"]} & set(users)
    scores = {user: node.get_features(user_id=user, features=["actor"]).user_values[0] for user in users}
    named = {user for user, score in scores.items() if score > BOT}
    print(f"bots: {len(named & bots)} of {len(bots)} found, {len(named & bots)} of {len(named)} named are bots, of {len(users)} users")
    assert len(named & bots) >= 0.75 * len(bots) and len(named & bots) >= 0.8 * len(named)


# ---- Clicks that may be a machine's ----

CLICKS_MAP = "click_time:iso=ts_ms,ip=user_id,app=item_id,channel=creator_id,'click'=action,is_attributed=value"


def test_suspicious_actors_of_an_advertisers_log_are_the_oracles(binary, make_node, data):
    """Every address with 20 clicks; too few of their clicks became downloads to judge by those."""
    node = make_node(settings.configuration("embedded", catalogue=SAFETY)).start()
    file = data / "talkingdata_adtracking_100k/clicks.csv.gz"
    done = run_cli(
        binary, "produce", "--brokers", node.brokers, "--topic", "freshet.events", "--format", "csv", "--map", CLICKS_MAP, file
    )
    assert done.returncode == 0, done.stderr
    events = [event_pb2.Event.FromString(message.value()) for message in kafka.consume_all(node.brokers, "freshet.events")]
    node.wait_applied(len(events))
    of_user = {}
    for event in events:
        made = oracle.normal({field: getattr(event, field) for field in ("event_id", "ts_ms", "user_id", "item_id", "action", "value")})
        of_user.setdefault(event.user_id, []).append({**made, "creator_id": event.creator_id})
    judge = oracle.Oracle({**SAFETY, "node": {}})
    busy = sorted(user for user, clicks in of_user.items() if len(clicks) >= 20)
    fastest = {}
    for user in busy:
        values = node.get_features(user_id=user, features=["actor", "actor_rate", "actor_same", "actor_even"]).user_values
        records = sorted(of_user[user], key=oracle.order, reverse=True)[:50]
        for name, value in zip(("actor", "actor_rate", "actor_same", "actor_even"), values):
            assert causal.actor(judge.features[name], records) == value, (user, name)
        fastest[user] = values[1]
    named = set(sorted(busy, key=fastest.get)[-max(len(busy) // 5, 1) :])
    clicks = [sum(len(of_user[user]) for user in some) for some in (named, set(busy) - named)]
    downloads = [sum(click["value"] for user in some for click in of_user[user]) for some in (named, set(busy) - named)]
    print(f"the fastest {len(named)} of {len(busy)} busy addresses: {downloads[0]} downloads of {clicks[0]} clicks; the others: {downloads[1]} of {clicks[1]}")
    assert len(busy) > 100 and min(fastest[user] for user in named) > 2 * min(fastest.values())
