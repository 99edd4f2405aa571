"""Sessions by a gap, pairs and frequencies of their items: each record against an oracle, in any order, after kills, within bounds."""

import json
import os
import pathlib
import random
import subprocess
import sys
import time
import uuid

import confluent_kafka
import numpy as np
import pytest
import yaml
from google.protobuf import json_format

import kafka
import logs
import sessions
import settings
from freshet.v1 import event_pb2, session_pb2
from node import run_cli, wait_for

TOP = pathlib.Path(__file__).resolve().parents[2]
EXAMPLE = {
    key: value
    for key, value in yaml.safe_load((TOP / "examples/catalogues/sequences.yaml").read_text()).items()
    if key not in ("node", "kafka")
}
START_MS = 1_700_000_000_000
WATCH, LIKE, PURCHASE = 3, 4, 13
RULES = sessions.Rules(gap_ms=60_000, tokens=12, duration_ms=240_000, positive=(WATCH, PURCHASE), least=3.0, within=4, slots=1024, rate=0.05)


def configuration(brokers, topic, rules=RULES, lanes=2, **more):
    made = settings.configuration(brokers, topic, catalogue=settings.TINY, lanes=lanes)
    made["store"]["epoch"] = "100ms"
    pairs = {"actions": ["watch", "purchase"], "least": rules.least, "within": rules.within, "slots": rules.slots, "rate": rules.rate}
    made["sessions"] = {
        "topic": f"{topic}.sessions", "gap": f"{rules.gap_ms}ms", "tokens": rules.tokens, "duration": f"{rules.duration_ms}ms",
        **({"pairs": pairs} if rules.positive else {}), **more,
    }  # fmt: skip
    return made


def event(ts_ms, user, action=WATCH, item=1, **fields):
    return {"event_id": uuid.uuid4().int & (1 << 63) - 1, "ts_ms": ts_ms, "user_id": user, "action": action, "item_id": item, **fields}


def story(seed, users=30, visits=12, steps=(0, 1, 500, 9_000, 59_999, 60_000)):
    """Users who come and go, some of whom cannot stop; a few events twice, and what is no token."""
    dice, events = random.Random(seed), []
    for user in range(1, users + 1):
        ms = START_MS + dice.randint(0, 60_000)
        for _ in range(visits):
            for _ in range(dice.choice((1, 3, 8, 40)) if user > 2 else 60):
                events.append(
                    event(
                        ms, user, dice.choice((1, 2, WATCH, WATCH, LIKE, PURCHASE, 15, 16)), dice.choice((0, *range(1, 25))),
                        creator_id=dice.randint(0, 5), category_id=dice.randint(0, 3), scene=dice.randint(0, 5),
                        value=dice.choice((0.0, 1.5, 3.0, 20.25)), request_id=dice.choice((0, user * 1000)), position=dice.randint(0, 9),
                    )
                )  # fmt: skip
                ms += dice.choice(steps)
            ms += dice.choice((60_001, 61_000, 400_000))
    events.append(event(START_MS, 0))
    again = [dict(one) for one in dice.sample(events[:-1], 40)]
    return sorted(events + again, key=lambda one: (one["ts_ms"], one["event_id"]))


def produce(brokers, topic, events):
    records = [(str(one["user_id"]).encode(), event_pb2.Event(**one).SerializeToString()) for one in events]
    return kafka.produce(brokers, topic, records)


def end_of_time(events, later_ms=10_000_000):
    return event(max(one["ts_ms"] for one in events) + later_ms, 10_000)


def sessions_of(brokers, topic):
    """{id: what it says} of all that came; one that came twice says the same."""
    found = {}
    for message in kafka.consume_all(brokers, f"{topic}.sessions"):
        session = session_pb2.Session.FromString(message.value())
        assert message.key() == str(session.user_id).encode()
        assert found.setdefault(session.session_id, session) == session
    return found


def metric(node, name):
    lines = (line.rpartition(" ") for line in node.page("/metrics")[2].decode().splitlines())
    return sum(float(value) for found, _, value in lines if found == name)


def wait_sessions(brokers, node, topic, wanted):
    found = {}

    def are_there():
        assert node.process.poll() is None, node.log()[-2000:]
        if metric(node, "freshet_sessions_sent_total") == 0:
            return False
        try:
            found.update(sessions_of(brokers, topic))
        except confluent_kafka.KafkaException:
            return False  # some of its partitions have no leader yet
        return set(wanted) <= set(found)

    def missing():
        miss, others = [wanted[one] for one in wanted if one not in found], [sessions.told(found[one]) for one in found if one not in wanted]
        tokens = [line for line in node.page("/metrics")[2].decode().splitlines() if line.startswith("freshet_session_tokens_total")]
        return f"{len(miss)} of {len(wanted)} sessions miss, {miss[:1]}, {len(others)} are others, {others[:2]}; {tokens}: {node.log()[-1500:]}"

    wait_for(are_there, missing, 30)
    return found


def check(found, wanted):
    assert set(found) == set(wanted)
    for identity, session in found.items():
        assert sessions.is_same(sessions.told(session), wanted[identity]), (sessions.told(session), wanted[identity])


def shuffled(events, dice, late_ms):
    """Each by itself comes up to so much later than it should."""
    return sorted(events, key=lambda one: one["ts_ms"] + dice.randint(0, late_ms))


def tokens_of(session):
    """As the oracle has them, but for event ids."""
    return [
        (ts_ms, 0, action, item, value, 0, 0, 0, request, position)
        for ts_ms, action, item, value, request, position in zip(
            session.ts_ms, session.actions, session.item_ids, session.values, session.request_ids, session.positions
        )
    ]


def test_what_became_of_each_request_is_told(make_node):
    rules = sessions.Rules(gap_ms=60_000, actions=(1, *sessions.Rules().actions))
    events = [
        event(START_MS, 99, 1, 5, request_id=77, position=2), event(START_MS + 1, 99, 1, 4, request_id=77, position=1),
        event(START_MS + 9, 99, 1, 5, request_id=77, position=8), event(START_MS + 10, 99, WATCH, 5, value=4.5),  # without its request
        event(START_MS + 20, 99, WATCH, 5, value=2.0, request_id=77), event(START_MS + 30, 99, LIKE, 5, request_id=77),
        event(START_MS + 40, 99, LIKE, 6, request_id=78), event(START_MS + 50, 99, LIKE, 9),  # never shown here
    ]  # fmt: skip
    node = make_node(configuration("embedded", "events", rules, slates=True)).start()
    produce(node.brokers, "events", [*events, end_of_time(events)])
    wanted = sessions.sessions(events, rules, START_MS * 2)
    (mine,) = wait_sessions(node.brokers, node, "events", wanted).values()
    check({mine.session_id: mine}, wanted)
    assert sessions.told_slates(mine) == {
        77: {
            4: {"position": 1, "shown": START_MS + 1, "acted": 0, "actions": 0, "dwell": 0.0},
            5: {"position": 2, "shown": START_MS, "acted": START_MS + 10, "actions": 1 << WATCH | 1 << LIKE, "dwell": 6.5},
        },
        78: {6: {"position": 0, "shown": 0, "acted": START_MS + 40, "actions": 1 << LIKE, "dwell": 0.0}},
    }


STEPS = (0, 1, 500, 9_000, 59_999, 60_000)
CLOSE_STEPS = (0, 1, 500, 25_000, 30_000)  # and 25 s late: in time for the session that it belongs to, whichever partition is read first


@pytest.mark.parametrize("lanes, late_ms, steps", [(3, 25_000, CLOSE_STEPS), (1, 0, STEPS), pytest.param(2, 0, STEPS, marks=pytest.mark.long)])
def test_sessions_are_those_of_the_oracle_in_any_order(make_node, real_kafka, lanes, late_ms, steps):
    topic = kafka.new_topic(real_kafka)
    events = story(lanes, steps=steps)
    count = produce(real_kafka, topic, shuffled(events, random.Random(5), late_ms))
    count += produce(real_kafka, topic, [end_of_time(events)])
    node = make_node(configuration(real_kafka, topic, lanes=lanes)).start()
    wanted = sessions.sessions(events, RULES, START_MS * 2)
    ends = {one[3] for one in wanted.values()}
    assert ends == {sessions.GAP, sessions.FULL, sessions.LONG} and max(one[4] for one in wanted.values()) > 3
    node.wait_applied(count)
    check(wait_sessions(real_kafka, node, topic, wanted), wanted)
    assert metric(node, 'freshet_session_tokens_total{what="late"}') == 0
    assert metric(node, 'freshet_sessions_total{end="full"}') == sum(one[3] == sessions.FULL for one in wanted.values())


def simulated(binary, *more):
    """What the simulated world does, as events."""
    done = run_cli(binary, "simulate", "--fast", "--start", START_MS, "--seed", 3, "--users", 200, *more, timeout_s=120)
    assert done.returncode == 0, done.stderr
    return sorted(map(logs.event_of, map(json_format_of, done.stdout.splitlines())), key=lambda one: one["ts_ms"])


def json_format_of(line):
    return json_format.Parse(line, event_pb2.Event())


def padded(sessions, column, length):
    """By session: what a column of it is in a row of so many, zeros before it."""
    return {one.session_id: ([0] * length + list(getattr(one, column)))[-length:] for one in sessions}


def test_sessions_of_the_simulated_world_are_those_of_the_oracle_and_become_arrays(make_node, real_kafka, binary, tmp_path):
    topic = kafka.new_topic(real_kafka)
    events = simulated(binary, "--rate", 20, "--seconds", 300)
    count = produce(real_kafka, topic, [*events, end_of_time(events)])
    made = settings.configuration(real_kafka, topic, catalogue={**EXAMPLE, "sessions": {**EXAMPLE["sessions"], "topic": f"{topic}.sessions"}})
    node = make_node(made).start()
    actions = {name: event_pb2.Action.Value(name.upper()) for name in EXAMPLE["sessions"]["actions"]}
    pairs = EXAMPLE["sessions"]["pairs"]
    rules = sessions.Rules(
        gap_ms=120_000, tokens=200, actions=tuple(actions.values()), positive=tuple(actions[one] for one in pairs["actions"]),
        least=pairs["least"], within=pairs["within"], rate=pairs["rate"],
    )  # fmt: skip
    wanted = sessions.sessions(events, rules, START_MS * 2)
    node.wait_applied(count)
    found = wait_sessions(real_kafka, node, topic, wanted)
    check(found, wanted)
    assert len(found) > 50 and sum(len(session.pair_first) for session in found.values()) > 200
    assert all(sessions.told_slates(session) == sessions.slates(tokens_of(session)) for session in found.values())
    assert sum(len(session.slates) for session in found.values()) > 100

    file, length = tmp_path / "arrays.npz", 20
    arguments = [sys.executable, TOP / "examples/python/sessions_to_arrays.py", real_kafka, f"{topic}.sessions", str(length), file]
    one_thread = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # several turn round each other on a busy machine
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, env=one_thread)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{len(found)} sessions, ") and f"x {length}\n" in done.stdout
    arrays = np.load(file)
    assert set(arrays["session_id"].tolist()) == set(found)
    for name, column in (("item_id", "item_ids"), ("action", "actions"), ("value", "values")):
        rows = padded(found.values(), column, length)
        assert all(row.tolist() == rows[one] for one, row in zip(arrays["session_id"].tolist(), arrays[name])), name
    lengths = {one: min(len(session.ts_ms), length) for one, session in found.items()}
    assert [int(row.sum()) for row in arrays["mask"]] == [lengths[one] for one in arrays["session_id"].tolist()]
    assert arrays["vectors"].shape[0] == len(arrays["items"]) > 50 and np.isfinite(arrays["vectors"]).all()


def check_kills(make_node, brokers, kills):
    topic = kafka.new_topic(brokers)
    events = story(7)
    node = make_node(configuration(brokers, topic))
    dice, sent, size = random.Random(kills), 0, len(events) // kills + 1
    for at in range(0, len(events), size):
        sent += produce(brokers, topic, events[at : at + size])
        node.start(is_ready=False)
        goal = dice.randint(max(sent - size, 1), sent)
        wait_for(lambda goal=goal: node.applied() >= goal, lambda: node.log()[-1000:])
        if dice.random() < 0.5:
            time.sleep(dice.random() * 0.3)  # not a wait: into the epochs, the acknowledgements and the deletes behind them
        node.kill()
    sent += produce(brokers, topic, [end_of_time(events)])
    node.start()
    node.wait_applied(sent)
    wanted = sessions.sessions(events, RULES, START_MS * 2)
    check(wait_sessions(brokers, node, topic, wanted), wanted)


def test_kills_change_no_session(make_node, real_kafka):
    check_kills(make_node, real_kafka, 4)


@pytest.mark.long
def test_sixty_kills_change_no_session(make_node, real_kafka):
    check_kills(make_node, real_kafka, 60)


def test_who_never_stops_is_cut_and_what_waits_is_bounded(make_node, real_kafka):
    rules = sessions.Rules(gap_ms=3_600_000, tokens=100)
    topic = kafka.new_topic(real_kafka, 1)
    events = [event(START_MS + number, 7, event_id=number + 1, value=1.0) for number in range(6_000)]  # in six seconds: a program
    node = make_node(configuration(real_kafka, topic, rules)).start()
    count = produce(real_kafka, topic, events)
    node.wait_applied(count)
    assert metric(node, "freshet_sessions_bytes") <= 1_025 * 80 + 160
    assert metric(node, "freshet_sessions_early_total") >= 49
    count += produce(real_kafka, topic, [end_of_time(events), event(START_MS + 3_000, 7)])  # the second is late by hours
    node.wait_applied(count)
    wanted = sessions.sessions(events, rules, START_MS * 2)
    check(wait_sessions(real_kafka, node, topic, wanted), wanted)
    assert [one[3:5] for one in wanted.values()] == [(sessions.FULL if part < 59 else sessions.GAP, part) for part in range(60)]
    assert metric(node, 'freshet_session_tokens_total{what="late"}') == 1


def test_what_waits_of_all_is_bounded_and_the_first_due_leaves(make_node, real_kafka):
    rules = sessions.Rules(gap_ms=3_600_000)
    topic = kafka.new_topic(real_kafka, 1)
    users = 12_000  # 184 bytes and more each: 2 MB of which 1 MiB may wait
    events = [event(START_MS + number, number + 1) for number in range(users)]
    node = make_node(configuration(real_kafka, topic, rules, bytes="1MiB")).start()
    node.wait_applied(produce(real_kafka, topic, events))
    wait_for(lambda: metric(node, "freshet_sessions_bytes") <= 1 << 20, "what is due first leaves")
    cut = [one for one in wait_sessions(real_kafka, node, topic, []).values()]
    assert {session.end for session in cut} <= {session_pb2.ROOM}
    wait_for(lambda: metric(node, 'freshet_sessions_total{end="room"}') >= users - (1 << 20) // 184 - 1, "as many as needed")


def test_what_waits_of_a_forgotten_user_goes(make_node):
    node = make_node(configuration("embedded", "events")).start()
    events = [event(START_MS + number, user) for number in range(3) for user in (7, 8)]
    node.wait_applied(produce(node.brokers, "events", events))
    waiting = metric(node, "freshet_sessions_bytes")
    forgotten = json.loads(node.cli("forget", 7, "--json").stdout)
    assert int(forgotten["entities"]) == 2  # the user, and his tokens
    wait_for(lambda: metric(node, "freshet_sessions_bytes") == waiting / 2, "his half of what waits gone; time tells it as it passes")
    produce(node.brokers, "events", [end_of_time(events)])
    wanted = sessions.sessions([one for one in events if one["user_id"] == 8], RULES, START_MS * 2)
    check(wait_sessions(node.brokers, node, "events", wanted), wanted)


def test_what_waited_of_a_forgotten_user_goes_where_there_are_no_sessions_any_more(make_node, real_kafka):
    topic = kafka.new_topic(real_kafka, 1)
    node = make_node(configuration(real_kafka, topic)).start()
    events = [event(START_MS + number, user) for number in range(3) for user in (7, 8)]
    node.wait_applied(produce(real_kafka, topic, events))
    node.stop()
    whole = node.file.read_text()
    node.file.write_text(yaml.safe_dump({name: section for name, section in node.configuration.items() if name != "sessions"}))
    node.start()
    assert int(json.loads(node.cli("forget", 7, "--json").stdout)["entities"]) == 2  # the user, and his tokens
    node.stop()
    node.file.write_text(whole)
    node.start()
    node.wait_applied(len(events) + produce(real_kafka, topic, [end_of_time(events)]))
    wanted = sessions.sessions([one for one in events if one["user_id"] == 8], RULES, START_MS * 2)
    check(wait_sessions(real_kafka, node, topic, wanted), wanted)


def test_a_configuration_of_sessions_is_checked(make_node):
    mistakes = {
        "sessions.gap=1ms": "gap: '1ms' is out of range", "sessions.tokens=1": "tokens", "sessions.topic=events": "sessions.topic",
        "sessions.actions=[wach]": "did you mean 'watch'", "sessions.pairs={}": "sessions.pairs.actions", "sessions.gaps=1m": "gap",
        "sessions.pairs.slots=3": "use 1024 to 16777216", "sessions.slates=true": "impression is one of",
    }  # fmt: skip
    node = make_node(configuration("embedded", "events", actions=["watch"]))
    for mistake, said in mistakes.items():
        refused = run_cli(node.binary, "check", "--config", node.file, "--set", mistake)
        assert refused.returncode == 1 and said in refused.stderr, (mistake, refused.stderr)
    told = run_cli(node.binary, "check", "--config", node.file)
    assert "sessions: 112 + 80 B a token of each user" in told.stdout and "16384 B of frequencies" in told.stdout, told.stdout
