#!/usr/bin/env python3
"""
Runs real instances in configurations that calibrate.py did not, and the simulation of the same; both go into tests/sim/measured.json.
Exit 1 when a figure is off by more than a fifth. About three minutes. Of hand-overs the middle half counts, real and simulated: now and then a
broker or a machine has something else to do.

    tests/sim/validate.py --brokers 127.0.0.1:29092 [--build build/release] [--parts runs handovers] [--keep]

--keep: runs nothing, compares what measured.json has with the simulation of it.
"""
import argparse
import json
import pathlib
import sys

import handovers
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
# Of hand-overs: instances in between, shape, events a second.
HANDOVERS = [(1, real.Shape(15_000, 5_000, 700), 3_000), (2, real.Shape(10_000, 5_000, 400), 3_000), (3, real.Shape(6_000, 5_000, 1_000), 1_500)]
SECONDS, ROUNDS, STARTS = 10, 8, 4
STANDSTILL = {"joins": "one comes: longest stand-still, s", "drains": "one is drained: longest stand-still, s"}


def setting(run):
    return Setting(
        rate=run["rate"], users=run["users"], items=run["items"], creators=run["creators"], partitions=real.PARTITIONS,
        instances=run["instances"], on_one_machine=run["instances"], epoch_seconds=run["epoch_ms"] / 1000, exponent=real.EXPONENT,
        heartbeat_seconds=run.get("heartbeat_ms", real.HEARTBEAT_MS) / 1000, session_seconds=real.SESSION_MS / 1000, initial_records=run.get("copies_before", 0), is_compacted=False,
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


def middle(numbers):
    """The mean of the middle half."""
    cut = len(numbers) // 4
    some = sorted(numbers)[cut : len(numbers) - cut]
    return sum(some) / len(some)


def wait_served(cluster, count):
    """Until so many instances serve everything; gives the longest that a partition stood still meanwhile."""
    before = len(cluster.stills)
    while not all(cluster.owner) or len(set(cluster.owner)) != count or len(cluster.stills) - before < cluster.setting.partitions:
        cluster.run(0.01)
    return max(end - begin for _, begin, end in cluster.stills[before:])


def simulate_handovers(run, figures):
    """Rounds as handovers.rounds() has them, more of them."""
    made = setting({**run, "copies_before": run["copies"]})
    count, found = run["instances"], {what: [] for what in STANDSTILL}
    for start in range(STARTS):  # the changelog grows with rounds: no more of them than there really were
        made.seed = start
        cluster = Cluster(made, figures).run(2)
        for number in range(len(run["joins"])):
            cluster.add(f"i{count + number:04}")
            found["joins"].append(wait_served(cluster, count + 1))
            cluster.run(0.2 + made.epoch_seconds + handovers.CHECK_SECONDS * cluster.kernel.dice.random())
            cluster.instances.pop(min(cluster.instances)).stop(is_drained=True)
            found["drains"].append(wait_served(cluster, count))
            cluster.run(handovers.CHECK_SECONDS)
    return {what: middle(found[name]) for name, what in STANDSTILL.items()}


def fleet_of(args, count, shape):
    fleet = real.Fleet(args, shape)
    for _ in range(count):
        fleet.add()
    fleet.fill()
    return fleet


def measure(args):
    runs = []
    for count, shape, rate in RUNS:
        print(f"validate: {count} instances, {rate} events/s", file=sys.stderr, flush=True)
        with fleet_of(args, count, shape) as fleet:
            runs.append({**fleet.window(rate, SECONDS), **shape.told()})
    return runs


def measure_handovers(args):
    runs = []
    for count, shape, rate in HANDOVERS:
        print(f"validate: hand-overs, {count} instances", file=sys.stderr, flush=True)
        with fleet_of(args, count, shape) as fleet:
            runs.append(handovers.rounds(fleet, ROUNDS, rate))
    return runs


PARTS = {"runs": measure, "handovers": measure_handovers}


def compare(validation, figures):
    """(instances, what, measured, simulated) of everything."""
    rows = []
    for run in validation["runs"]:
        ours = simulate(run, figures)
        rows += [(run["instances"], what, number, ours[what]) for what, number in per_unit(run, run["events"]).items()]
    for run in validation["handovers"]:
        ours = simulate_handovers(run, figures)
        rows += [(run["instances"], what, middle([row["standstill"] for row in run[name]]), ours[what]) for name, what in STANDSTILL.items()]
    return sorted(rows, key=lambda row: row[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers")
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS), help="what is run anew")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--file", type=pathlib.Path, default=FILE, help="in place of measured.json")
    args = parser.parse_args()
    measured = json.loads(args.file.read_text())
    if not args.keep:
        if not args.brokers:
            parser.error("--brokers names the brokers that it measures with; tests/kafka/start boots one")
        busy = [real.busy_cores()] + ([] if set(args.parts) == set(PARTS) else [measured.get("validation", {}).get("busy_cores", 0.0)])
        kept = {name: part for name, part in measured.get("validation", {}).items() if name in PARTS}
        measured["validation"] = {"busy_cores": max(busy), **kept, **{name: PARTS[name](args) for name in args.parts}}
    rows = compare(measured["validation"], measured["figures"])
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
