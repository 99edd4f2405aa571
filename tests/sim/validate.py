#!/usr/bin/env python3
"""
Runs real instances in configurations that calibrate.py did not, and the simulation of the same; both go into tests/sim/measured.json.
Exit 1 when a figure is off by more than a fifth. About two minutes.

    tests/sim/validate.py --brokers 127.0.0.1:29092 [--build build/release] [--keep]

--keep: runs nothing, compares what measured.json has with the simulation of it.
"""
import argparse
import json
import pathlib
import sys

import real
from model import FILE, Setting
from simulated import Cluster

OFF_MOST = 0.2
# Instances, shape, events a second.
RUNS = [
    (1, real.Shape(20_000, 10_000, 1_000), 15_000),
    (2, real.Shape(40_000, 20_000, 700), 20_000),
    (3, real.Shape(20_000, 5_000, 1_500), 12_000),
]
SECONDS, RATE_OF_JOINS = 12, 2000


def setting(run):
    return Setting(
        rate=run["rate"], users=run["users"], items=run["items"], creators=run["creators"], partitions=real.PARTITIONS,
        instances=run["instances"], epoch_seconds=run["epoch_ms"] / 1000, exponent=real.EXPONENT,
        heartbeat_seconds=real.HEARTBEAT_MS / 1000, session_seconds=real.SESSION_MS / 1000, initial_records=0,
    )  # fmt: skip


def per_unit(count, events):
    """What is compared."""
    return {
        "CPU s per million events": count["cpu"] * 1e6 / events,
        "copies per epoch": count["copies"] / count["transactions"],
        "deltas per epoch": count["deltas"] / count["transactions"],
        "bytes to the brokers per event": count["sent"] / events,
        "bytes from the brokers per event": count["received"] / events,
    }


def simulate(run, figures):
    """The same window: load for as long, and nothing until the last merge was through."""
    cluster = Cluster(setting(run), figures)
    cluster.load_from, cluster.load_until = 10.0, 10.0 + run["loaded_seconds"]
    cluster.run(10)
    before = dict(cluster.count)
    cluster.run(run["seconds"])
    count = {name: cluster.count[name] - before[name] for name in before}
    return per_unit({**count, "transactions": count["epochs"]}, count["events"])


def simulate_join(run, figures):
    """One more comes: medians over seeds of the longest that a partition stood still."""
    found = []
    for seed in range(9):
        made = setting({**run, "rate": RATE_OF_JOINS})
        made.seed, made.initial_records, made.warm_join = seed, run["changelog"], True
        cluster = Cluster(made, figures).run(5)
        cluster.stills.clear()
        cluster.add(f"i{run['instances']:04}")
        cluster.run(120)
        longest = {}
        for partition, begin, end in cluster.stills:
            longest[partition] = max(longest.get(partition, 0.0), end - begin)
        found.append(max(longest.values()))
    return {"hand-over, longest stand-still, s": sorted(found)[len(found) // 2]}


def measure(args):
    runs = []
    for count, shape, rate in RUNS:
        print(f"validate: {count} instances, {rate} events/s", file=sys.stderr, flush=True)
        with real.Fleet(args, shape) as fleet:
            for _ in range(count):
                fleet.add()
            fleet.fill()
            run = {**fleet.window(rate, SECONDS), **shape.told(), "changelog": fleet.sample()["copies"]}
            run["join"] = fleet.join()
            runs.append(run)
    return runs


def compare(runs, figures):
    """(instances, what, measured, simulated) of everything."""
    rows = []
    for run in runs:
        real_ones = {**per_unit(run, run["events"]), "hand-over, longest stand-still, s": run["join"]["standstill"]}
        ours = {**simulate(run, figures), **simulate_join(run, figures)}
        rows += [(run["instances"], what, number, ours[what]) for what, number in real_ones.items()]
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers")
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--file", type=pathlib.Path, default=FILE, help="in place of measured.json")
    args = parser.parse_args()
    measured = json.loads(args.file.read_text())
    if not args.keep:
        if not args.brokers:
            parser.error("--brokers names the brokers that it measures with; tests/kafka/start boots one")
        measured["validation"] = {"busy_cores": real.busy_cores(), "runs": measure(args)}
    rows = compare(measured["validation"]["runs"], measured["figures"])
    measured["validation"]["rows"] = rows
    args.file.write_text(json.dumps(measured, indent=1) + "\n")
    bad = 0
    for instances, what, number, ours in rows:
        is_off = abs(ours / number - 1) > OFF_MOST
        bad += is_off
        print(f"{instances} instances  {what:36} measured {number:10.3f}  simulated {ours:10.3f}  {ours / number:5.2f}{'  OFF' if is_off else ''}")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
