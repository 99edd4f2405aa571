"""A simulated shop on a real Kafka: its events, each once, and what is true of its items."""

import json

from confluent_kafka import KafkaException

import kafka
from event import ACTIONS, SCENES
from node import run_cli


def is_known(brokers, topic):
    """A topic just made has no leader yet."""
    try:
        return bool(kafka.watermarks(brokers, topic))
    except KafkaException:
        return False


def simulated(binary, brokers, directory, events_topic, rows_topic):
    """The events of a simulated minute, each once, and the rows of the truth by item."""
    truth = directory / "truth.jsonl"
    made = run_cli(
        binary, "simulate", "--rate", 200, "--seconds", 60, "--fast", "--seed", 11, "--items", 300, "--truth", truth,
        "--brokers", brokers, "--topic", events_topic, "--as", "json", "--table", rows_topic,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    events = {}
    records = [json.loads(message.value()) for message in kafka.consume_all(brokers, events_topic)]
    for event in records:
        events.setdefault((event["userId"], event["eventId"]), event)
    items = [json.loads(line) for line in truth.read_text().splitlines() if '"truth":"item"' in line]
    return len(records), list(events.values()), {item["itemId"]: item for item in items}


def event_of(record):
    """A JSON record as the oracle has events."""
    numbers = ("value", "duration_s", "propensity")
    event = {}
    for name, value in record.items():
        field = "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
        if field == "action":
            event[field] = ACTIONS.index(value.lower())
        elif field == "scene":
            event[field] = SCENES.index(value.lower())
        elif field in ("text", "attributes"):
            event[field] = value
        else:
            event[field] = float(value) if field in numbers else int(value)
    return event
