"""The notebook-style example: a CSV becomes features, and they are what the CSV says."""

import csv
import os
import pathlib
import re
import subprocess
import sys

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples/python"


def test_a_csv_becomes_the_features_that_it_says(binary):
    done = subprocess.run(
        [sys.executable, EXAMPLES / "features_from_csv.py"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "FRESHET_BINARY": str(binary)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    with open(EXAMPLES / "events.csv", newline="") as rows:
        events = list(csv.DictReader(rows))
    assert f"{len(events)} of {len(events)} rows are applied" in done.stdout
    # A window of 1 h has panes of a minute: those after floor(T / 1 min) − 60.
    last = max(int(event["timestamp"]) for event in events)
    counts = {}
    for event in events:
        if event["behavior"] == "view" and int(event["timestamp"]) // 60 > last // 60 - 60:
            counts[event["item_id"]] = counts.get(event["item_id"], 0) + 1
    assert re.search(r"^25 users × \d+ items × \d columns$", done.stdout, re.MULTILINE)
    item, times = re.search(r"^most watched: item (\d+), (\d+) times", done.stdout, re.MULTILINE).groups()
    assert int(times) == counts[item] == max(counts.values()) > 5
