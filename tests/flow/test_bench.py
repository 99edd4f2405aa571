"""freshet bench: what it prints is whole and plausible; how fast anything is, a busy machine cannot tell."""

import json
import os
import shutil
import xml.etree.ElementTree

import pytest

import kafka
from node import run_cli

pytestmark = pytest.mark.alone

EVENTS = 20_000
CONTRACT = ("name", "unit", "ours", "peers", "ratio", "pairs", "machine")


def bench(binary, *arguments, code=0):
    done = run_cli(binary, "bench", *arguments, timeout_s=300)
    assert done.returncode == code, done.stderr
    return done


def answer(binary, *arguments):
    lines = bench(binary, *arguments, "--json").stdout.splitlines()
    assert len(lines) == 1
    found = json.loads(lines[0])
    assert tuple(found)[: len(CONTRACT)] == CONTRACT
    assert set(found["ratio"]) == set(found["peers"])
    assert found["machine"]["cores"] == os.cpu_count()
    return found


def check_ingest(found, pairs, broker):
    assert (found["name"], found["unit"]) == ("ingest", "CPU seconds per million events")
    assert (found["pairs"], found["broker"], found["workload"]["events"]) == (pairs, broker, EVENTS)
    assert "librdkafka_glibc" in found["peers"] and len(found["runs"]) == pairs
    for run in found["runs"]:
        for one in run.values():
            assert 0 < one["cpu_seconds"] <= one["total_cpu_seconds"]
            assert one["seconds"] > 0 and one["peak_resident_bytes"] > 2**20
            assert one["events_per_second"] == pytest.approx(EVENTS / one["seconds"], rel=0.05)
    for name, theirs in found["peers"].items():  # which of them is less is no claim: so few events may be a scheduler's tick
        assert 0 < theirs < 100 and found["ratio"][name] > 0, name
        assert pairs > 1 or found["ratio"][name] == pytest.approx(found["ours"] / theirs, rel=1e-3), name
    assert 0 < found["ours"] < 1000
    kinds = found["entity_memory"]
    assert found["entities"] == sum(kind["count"] for kind in kinds.values())
    for name, kind in kinds.items():
        assert 50 < kind["bytes_each"] < 20_000, name


@pytest.fixture
def topic(real_kafka):
    return kafka.new_topic(real_kafka, prefix="bench")


def test_ingest_fills_a_topic_and_measures_pairs(binary, real_kafka, topic, tmp_path):
    plot = tmp_path / "ingest.svg"
    arguments = ("ingest", "--brokers", real_kafka, "--topic", topic, "--events", EVENTS, "--pairs", 2)
    check_ingest(answer(binary, *arguments, "--plot", plot), 2, "kafka")
    assert sum(high - low for low, high in kafka.watermarks(real_kafka, topic)) == EVENTS
    assert xml.etree.ElementTree.parse(plot).getroot().tag.endswith("svg")
    messages = kafka.consume_all(real_kafka, topic)
    keys = {message.key() for message in messages}
    assert all(key.isdigit() for key in keys) and 1000 < len(keys) < EVENTS
    for message in messages[:1000]:
        assert message.partition() == kafka.murmur2_partition(message.key(), kafka.PARTITIONS)


def test_a_full_topic_is_used_again_and_another_is_refused(binary, real_kafka, topic):
    arguments = ("ingest", "--brokers", real_kafka, "--topic", topic, "--pairs", 1)
    check_ingest(answer(binary, *arguments, "--events", EVENTS), 1, "kafka")
    check_ingest(answer(binary, *arguments, "--events", EVENTS), 1, "kafka")
    assert sum(high - low for low, high in kafka.watermarks(real_kafka, topic)) == EVENTS
    done = bench(binary, *arguments, "--events", EVENTS + 1, code=1)
    assert topic in done.stderr and str(EVENTS) in done.stderr and done.stdout == ""


def test_without_brokers_a_smaller_run_on_the_embedded_one(binary):
    check_ingest(answer(binary, "ingest", "--events", EVENTS, "--pairs", 1), 1, "embedded")
    done = bench(binary, "ingest", "--events", 2_000_000, code=1)
    assert "--brokers" in done.stderr and done.stdout == ""


def test_tier_says_whether_the_budget_was_kept(binary, real_kafka, topic):
    found = answer(binary, "tier", "--brokers", real_kafka, "--topic", topic, "--events", EVENTS, "--pairs", 1)
    assert (found["name"], found["unit"], list(found["peers"])) == ("tier", "events per second", ["in_memory"])
    assert found["ours"] > 0 and found["ratio"]["in_memory"] == pytest.approx(found["ours"] / found["peers"]["in_memory"], rel=1e-3)
    assert found["budget_bytes"] >= 16 << 20 and found["state_bytes"] > 2**20
    assert found["is_within_budget"] == (found["memory_bytes"] <= found["budget_bytes"])


def test_recover_brings_back_every_event_beside_the_least_a_restart_can_do(binary, real_kafka, tmp_path):
    plot = tmp_path / "recover.svg"
    found = answer(binary, "recover", "--brokers", real_kafka, "--events", EVENTS, "--pairs", 2, "--plot", plot)
    assert (found["name"], list(found["peers"])) == ("recover", ["reopen_and_consume"])
    assert found["workload"] == {"name": "W1", "events": EVENTS, "tail_events": EVENTS // 10}
    seconds, gb = found["seconds"], found["state_bytes"] / 1e9
    assert found["ours"] == pytest.approx(seconds["ours"] / gb, rel=1e-3)
    assert 0 < seconds["reopen_and_consume"] and 0 < seconds["ours"] < 30
    assert xml.etree.ElementTree.parse(plot).getroot().tag.endswith("svg")


def test_freshness_measures_marked_events_at_half_load(binary, real_kafka):
    found = answer(binary, "freshness", "--brokers", real_kafka, "--pairs", 1, "--seconds", 1)
    assert (found["name"], found["unit"], list(found["peers"])) == ("freshness", "ms, p99", ["bare_consumer"])
    assert found["workload"]["events_per_second"] == found["capacity_events_per_second"] // 2 > 100
    for name in ("ours", "bare_consumer"):
        run = found["latency"][name]
        assert run["events"] > 5 and 0 < run["p50_ms"] <= run["p99_ms"] <= run["p999_ms"] < 30_000, name
    assert found["ours"] == pytest.approx(found["latency"]["ours"]["p99_ms"], rel=1e-3)


def test_flat_has_both_curves(binary, tmp_path):
    plot = tmp_path / "flat.svg"
    found = answer(binary, "flat", "--events", 28 * 512, "--entities", 100_000, "--plot", plot)
    assert (found["name"], list(found["peers"])) == ("flat", ["first_day"])
    hours = [point["hours"] for point in found["curves"]["event_time"]]
    assert hours == list(range(12, 169, 12))
    entities = [point["entities"] for point in found["curves"]["entities"]]
    assert [round(count, -3) for count in entities] == [10_000, 100_000]  # and a few that the node keeps for itself
    for point in found["curves"]["event_time"] + found["curves"]["entities"]:
        assert 0 < point["applying"] < point["cpu_seconds_per_million"] < 10_000
    assert xml.etree.ElementTree.parse(plot).getroot().tag.endswith("svg")


def test_serve_measures_beside_a_static_reply_and_redis(binary, tmp_path):
    plot = tmp_path / "serve.svg"
    found = answer(binary, "serve", "--events", EVENTS, "--pairs", 1, "--seconds", 1, "--plot", plot)
    assert (found["name"], found["unit"]) == ("serve", "CPU seconds per 1,000 requests")
    peers = ["static_reply", "redis_mget"] if shutil.which("redis-server") else ["static_reply"]
    assert list(found["peers"]) == peers
    assert found["skipped"] == [name for name in ("redis_mget",) if name not in peers]
    cases = found["cases"]
    assert [(case["items"], case["is_under_ingest"]) for case in cases] == [(200, False), (500, False), (200, True), (500, True)]
    for case in cases:
        floats = case["items"] * 64 * 4
        for server in ("ours", *peers):
            run = case[server]
            assert floats < run["reply_bytes"] < floats + 8192, server
            assert run["requests_per_second"] > 1 and 0 < run["p50_us"] <= run["p99_us"] <= run["p999_us"], server
    assert found["ours"] == pytest.approx(cases[0]["ours"]["cpu_seconds_per_1000"], rel=0.01)
    assert 0 < found["peers"]["static_reply"] < found["ours"]  # reading costs something
    assert xml.etree.ElementTree.parse(plot).getroot().tag.endswith("svg")


def test_learn_is_as_good_as_plain_ftrl_and_says_who_is_missing(binary, tmp_path):
    plot, file = tmp_path / "learn.svg", tmp_path / "examples"
    found = answer(binary, "learn", "--events", 50_000, "--pairs", 1, "--python", "/nonexistent", "--plot", plot)
    assert (found["name"], found["unit"], list(found["peers"])) == ("learn", "examples per CPU second", ["plain_loop"])
    assert found["ours"] > 0 and found["ours_last"]["log_loss"] == pytest.approx(found["plain_loop_last"]["log_loss"], rel=1e-3)
    assert 0.4 < found["ours_last"]["log_loss"] < 0.5433  # better than the constant predictor
    assert xml.etree.ElementTree.parse(plot).getroot().tag.endswith("svg")
    assert "vowpal_wabbit: skipped" in bench(binary, "learn", "--events", 1000, "--python", "/nonexistent").stdout
    file.write_text("1 | 3 4\n-1 | x\n")
    assert "a label, 1 or -1" in bench(binary, "learn", "--file", file, code=1).stderr


def test_names_are_listed_and_mistaken_ones_corrected(binary):
    listed = bench(binary).stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["ingest", "freshness", "serve", "tier", "learn", "recover", "flat"]
    done = bench(binary, "ingets", code=2)
    assert "ingest" in done.stderr and done.stdout == ""
    assert "--pairs" in bench(binary, "ingest", "--pairs", 0, code=2).stderr
