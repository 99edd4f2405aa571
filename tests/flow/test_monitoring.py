"""Alerts, dashboards and the canary: every rule is tested, every query has data of a live node, the canary changes nothing."""

import re
import subprocess
import time

import pytest
import yaml

import kafka
import prometheus
import settings
from conftest import missing
from node import CallError, wait_for
from test_page import CATALOGUE, event

# No certificate here, no node exporter, no cluster.
WITHOUT_DATA = {"FreshetCertificateEnds", "FreshetSkew", "FreshetSkewUnchecked", "FreshetPartitionUnowned", "FreshetDeltasLag", "FreshetCheckpointsOld"}
TOP = prometheus.OPS.parent


@pytest.fixture
def needs_prometheus():
    if not prometheus.is_here():
        missing("no prometheus and promtool here; ops/install --tests installs them")


def canaries(node, result="ok"):
    found = re.search(rf'freshet_canary_total{{result="{result}"}} (\d+)', node.page("/metrics")[2].decode())
    return int(found[1])


def outcomes_of(node):
    return {one["outcome"]: int(one["events"]) for one in node.status()["outcomes"]}


# ---- Rules ----


def test_each_alert_fires_when_it_should_and_not_before(needs_prometheus):
    file = TOP / "tests/monitoring/alerts_test.yml"
    for arguments in (["check", "rules", str(prometheus.RULES)], ["test", "rules", str(file)]):
        done = subprocess.run(["promtool", *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    quiet, firing = (test["alert_rule_test"] for test in yaml.safe_load(file.read_text())["tests"])
    names = {rule["alert"] for rule in prometheus.rules()}
    assert {one["alertname"] for one in quiet if not one.get("exp_alerts")} == names
    assert {one["alertname"] for one in firing if one["exp_alerts"]} == names


def test_each_alert_has_its_page_in_the_runbook():
    text = (TOP / "ops/RUNBOOK.md").read_text()
    sections = re.split(r"^## ", text, flags=re.M)[1:]
    told = {section.splitlines()[0]: section for section in sections}
    assert list(told) == [rule["alert"] for rule in prometheus.rules()], "the runbook has the alerts in their order"
    for rule in prometheus.rules():
        name, severity = rule["alert"], rule["labels"]["severity"]
        assert rule["annotations"]["runbook_url"] == f"ops/RUNBOOK.md#{name.lower()}"
        assert f"*{severity}.*" in told[name], (name, "is told with another severity than it has")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        whole = (TOP / "ops" / path).read_text() if path else text
        anchors = {
            re.sub(r"[^\w\- ]", "", line).strip().lower().replace(" ", "-")
            for line in re.findall(r"^#+ (.*)", whole, flags=re.M)
        }
        assert not anchor or anchor in anchors, f"{target} leads nowhere"


# ---- Queries ----


def test_every_query_has_data(needs_prometheus, make_node, tmp_path):
    """Of a node with a model, a canary and a list of who is blocked: each panel, and each alert with its comparisons made values."""
    catalogue = {**CATALOGUE, "tables": {"banned": {"topic": "banned", "blocks": True}}}
    node = make_node(
        settings.configuration("embedded", format="json", clock="wall", catalogue=catalogue, canary="200ms")
    ).start()
    asks = prometheus.Prometheus(tmp_path, node.operations)
    wanted = dict(prometheus.panels())
    titles = {expression: title for title, expression in prometheus.panels()}
    for rule in prometheus.rules():
        if rule["alert"] not in WITHOUT_DATA:
            titles[re.sub(r" (<|>|==) (?!bool)", r" \1 bool ", rule["expr"])] = rule["alert"]
    sent = 0

    def live():
        """Some of everything: events, calls that are answered and one that is not, examples that are learned."""
        nonlocal sent
        kafka.produce(node.brokers, "freshet.events", [event(sent + i, int(time.time() * 1000)) for i in range(20)])
        sent += 20
        node.get_features(user_id=1, item_ids=[1, 2], feature_set="rank")
        with pytest.raises(CallError):
            node.call_json("FeatureService/GetFeatures", {"features": ["nothing"]})
        return all(asks.query(expression) for expression in titles)

    try:
        assert len(wanted) > 30
        wait_for(
            live, lambda: [f"{title}: {expression}" for expression, title in titles.items() if not asks.query(expression)], 60
        )
        groups = asks.get("/api/v1/rules")["groups"]
        assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
        assert not [alert for alert in asks.get("/api/v1/alerts")["alerts"] if alert["state"] == "firing"]
    finally:
        asks.stop()


# ---- The canary ----


def test_the_canary_changes_nothing_but_its_own_figures(make_node, real_kafka):
    """Two nodes with one and one without, on the same topic: the same state, while canaries sing."""
    topic = kafka.new_topic(real_kafka)
    shared = {"topic": topic, "format": "json", "clock": "wall", "catalogue": settings.TINY}
    singers = [make_node(settings.configuration(real_kafka, canary="100ms", **shared), f"singer{i}").start() for i in range(2)]
    quiet = make_node(settings.configuration(real_kafka, **shared), "quiet").start()
    nodes = (*singers, quiet)
    now_ms = int(time.time() * 1000)
    kafka.produce(real_kafka, topic, [event(number, now_ms) for number in range(200)])
    for node in singers:
        wait_for(lambda: canaries(node) >= 3, lambda: f"three canaries: {node.log()[-2000:]}")
        assert 'freshet_canary_seconds_bucket{le="2"} 0\n' not in node.page("/metrics")[2].decode()
    for node in nodes:
        wait_for(lambda: outcomes_of(node)["applied"] == 200, "all events are applied")
    assert len({node.digest() for node in nodes}) == 1
    assert len({node.status()["entities"] for node in nodes}) == 1
    assert "freshet_canary" not in quiet.page("/metrics")[2].decode()
    assert outcomes_of(quiet)["canary"] >= 6 and outcomes_of(quiet)["unknown_action"] == 0
    assert {int(node.status()["appliedEvents"]) for node in nodes} == {200}, "canaries are no events, of this node or another"


def test_a_broker_that_is_gone_is_a_canary_that_fails(make_node):
    with kafka.other_cluster("events") as brokers:
        node = make_node(
            settings.configuration(
                brokers, topic="events", format="json", clock="wall", catalogue=settings.TINY, canary="100ms"
            )
        ).start()
        wait_for(lambda: canaries(node) >= 2, "two canaries")
        assert canaries(node, "unproduced") == 0
    wait_for(lambda: canaries(node, "unproduced") >= 1, "a canary that fails")
    assert "the canary cannot be produced" in node.log()
    began_s = time.monotonic()
    assert node.stop() == 0 and time.monotonic() - began_s < 5
