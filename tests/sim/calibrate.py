#!/usr/bin/env python3
"""
Measures on a real broker what the model needs, into tests/sim/measured.json: about five minutes, with progress lines. Nothing else
should want the machine meanwhile.

    tests/kafka/start
    tests/sim/calibrate.py --brokers 127.0.0.1:29092 [--build build/release] [--seconds 8] [--parts alone shared read]
    tests/sim/validate.py --brokers 127.0.0.1:29092
    tests/sim/report.py
"""
import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import draws
import fit
import real

FILE = pathlib.Path(__file__).with_name("measured.json")
ALONE = [(real.Shape(30_000, 30_000, 500), [10_000, 40_000]), (real.Shape(30_000, 3_000, 2_000), [20_000, 40_000])]
# One by one: how many instances begin, the shape, rates of the windows, joins after them.
SHARED = [
    (1, real.Shape(30_000, 30_000, 500), [5_000, 30_000], 0),
    (1, real.Shape(60_000, 3_000, 2_000), [20_000, 40_000], 2),
    (2, real.Shape(10_000, 30_000, 1_000), [10_000, 30_000], 1),
    (3, real.Shape(5_000, 10_000, 500), [5_000, 20_000], 1),
]


def say(text):
    print(f"calibrate: {text}", file=sys.stderr, flush=True)


def machine(before):
    """`before`: what is known of it; the busiest moment counts."""
    names = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return {"cpu": names[0] if names else "unknown", "cores": os.cpu_count(), "kernel": os.uname().release, "busy_cores": max(real.busy_cores(), before.get("busy_cores", 0))}


def windows(fleet, rates, seconds):
    """Some seconds of nothing, then each rate."""
    found = []
    for rate in (0, *rates):
        found.append({**fleet.window(rate, seconds), **fleet.shape.told(), "is_cluster": fleet.is_cluster})
        say(f"  {len(fleet.nodes)} instances, {rate}/s: CPU {found[-1]['cpu']:.2f} s, {found[-1]['copies']:.0f} copies, {found[-1]['deltas']:.0f} deltas")
    return found


def state(fleet):
    """Bytes an entity takes, in memory and on disk, of everything this catalogue makes."""
    for node in fleet.nodes:
        node.call("AdminService/Checkpoint", {})
    told = fleet.sample()
    size = sum(path.stat().st_size for path in fleet.directory.rglob("*.sst"))
    return {"memory_bytes": told["memory"] / told["entities"], "disk_bytes": size / told["entities"], "entities": told["entities"]}


def measure_alone(args, raw):
    raw.update(alone=[], states=[])
    for shape, rates in ALONE:
        say(f"one node that stands alone, epochs of {shape.epoch_ms} ms")
        with real.Fleet(args, shape, is_cluster=False) as fleet:
            fleet.add()
            fleet.fill()
            raw["alone"] += windows(fleet, rates, args.seconds)
            raw["states"].append(state(fleet))


def measure_shared(args, raw):
    raw.update(shared=[], joins=[], restarts=[])
    for count, shape, rates, more in SHARED:
        say(f"{count} instances, epochs of {shape.epoch_ms} ms, {shape.users} users")
        with real.Fleet(args, shape) as fleet:
            for _ in range(count):
                fleet.add()
            fleet.fill()
            raw["shared"] += windows(fleet, rates, args.seconds)
            for _ in range(more):
                raw["joins"].append({**fleet.join(), **shape.told()})
                say(f"  one more: stood still {raw['joins'][-1]['standstill']} s, {raw['joins'][-1]['restored']:.0f} records restored")
            raw["restarts"].append(fleet.restart())


def measure_read(args, raw):
    """CPU seconds of a read of 200 items, by freshet bench serve."""
    command = [f"{args.build}/freshet", "bench", "serve", "--pairs", "1", "--seconds", "2", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    raw["read"] = json.loads(done.stdout) if done.returncode == 0 else {}
    say(f"a read: {raw['read'].get('ours')} {raw['read'].get('unit')}")


PARTS = {"alone": measure_alone, "shared": measure_shared, "read": measure_read}


def derive(raw):
    """The model's figures from what was measured."""
    alone, shared = [[dict(row) for row in raw[name]] for name in ("alone", "shared")]
    for row in alone + shared:
        row["life"] = row["seconds"] * row["instances"]
        row["read_deltas"] = row["deltas"] * row["instances"]  # everybody reads his own, too
        row["written"] = row["epochs"] and written(row)
    idle = {is_alone: statistics.median(row["cpu"] / row["life"] for row in rows if not row["rate"]) for is_alone, rows in ((True, alone), (False, shared))}
    for row in alone + shared:
        row["busy"] = row["loaded_seconds"] * row["instances"]
        row["work"] = row["cpu"] - idle[row in alone] * row["life"]
    single = fit.nonnegative([row for row in alone if row["rate"]], ["busy", "events", "written"], "work")
    busy = [row for row in shared if row["rate"]]
    # A newcomer reads what the others meant for items, and users' copies, and does nothing else: so these two are told apart.
    came = fit.nonnegative([{**join, "one": 1.0} for join in raw["joins"]], ["one", "own_merged", "own_restored"], "own_cpu")
    for row in busy:  # what reading and applying takes anyway is known; what is left is for the others and the changelog
        row["work"] = max(row["work"] - single["events"] * row["events"] - came["own_merged"] * row["merged"], row["work"] / 10)
    costs = fit.nonnegative(busy, ["busy", "copies", "deltas"], "work")
    sent = fit.nonnegative(shared, ["life", "copies", "deltas", "transactions"], "sent")
    received = fit.nonnegative(shared, ["life", "events", "read_deltas"], "received")
    loaded = [row for row in shared if row["transactions"]]
    for row in loaded:  # of each transaction
        row.update(took=row["epoch_seconds"] / row["transactions"], one=1.0, copies_each=row["copies"] / row["transactions"], deltas_each=row["deltas"] / row["transactions"])
    took = fit.nonnegative(loaded, ["one", "copies_each", "deltas_each"], "took")
    parts = statistics.median(row["copies"] / expected(row, "users") for row in loaded if row["copies"])
    kinds = statistics.median(row["deltas"] / expected(row, "items") for row in loaded if row["deltas"])
    return {
        "cpu": {
            "idle_alone": idle[True], "busy_alone": single["busy"], "event_alone": single["events"], "written_alone": single["written"],
            "idle": idle[False], "busy": costs["busy"], "event": single["events"],
            "copy": costs["copies"], "delta": costs["deltas"], "merge": came["own_merged"], "restore": came["own_restored"], "start": came["one"],
            "read": raw["read"]["ours"] / 1000,
        },
        "bytes": {
            "event": received["events"], "delta_read": received["read_deltas"], "idle_read": received["life"],
            "copy": sent["copies"], "delta": sent["deltas"], "transaction": sent["transactions"], "idle_sent": sent["life"],
        },
        "epoch": {"seconds": took["one"], "seconds_per_copy": took["copies_each"], "seconds_per_delta": took["deltas_each"]},
        "records": {"copies_per_user": parts, "deltas_per_entity": kinds},
        "handover": handover(raw),
        "entity": {name: statistics.median(one[name] for one in raw["states"]) for name in ("memory_bytes", "disk_bytes")},
    }  # fmt: skip


def written(row):
    """Entities that one node writes, of all kinds."""
    return expected(row, "users") + expected(row, "items")


def expected(row, what):
    """Entities touched over all epochs of all instances in a window: users, or items and their creators."""
    epochs = row["transactions"] or max(1.0, row["loaded_seconds"] * 1000 / cycle_ms(row)) * row["instances"]
    each = row["events"] / epochs
    if what == "users":
        return epochs / row["instances"] * draws.distinct(row["users"], real.EXPONENT, each * row["instances"])
    return epochs * sum(draws.distinct(row[kind], real.EXPONENT, each) for kind in ("items", "creators"))


def cycle_ms(row):
    """From boundary to boundary: the period, the time that it takes, half a tick of the committer."""
    return row["epoch_ms"] + 1000 * row["epoch_seconds"] / max(row["transactions"] or row["epochs"], 1) + 25


def handover(raw):
    joins = [{**join, "one": 1.0, "most": join["own_restored"]} for join in raw["joins"]]
    came = fit.nonnegative(joins, ["one", "most"], "seconds")  # from its start: it reads its share before it joins
    return {
        "seconds": statistics.median(join["standstill"] for join in joins), "seconds_per_record": came["most"], "restart_seconds": statistics.median(raw["restarts"]),
        "heartbeat_ms": real.HEARTBEAT_MS, "session_ms": real.SESSION_MS,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers")
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--seconds", type=float, default=8, help="of each window")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS), help="what is measured anew; none: what is there is fitted once more")
    parser.add_argument("--file", type=pathlib.Path, default=FILE, help="in place of measured.json")
    args = parser.parse_args()
    measured = json.loads(args.file.read_text()) if args.file.exists() else {"raw": {}}
    if args.parts and not args.brokers:
        parser.error("--brokers names the brokers that it measures with; tests/kafka/start boots one")
    begin, before = time.monotonic(), {} if set(args.parts) == set(PARTS) else measured.get("machine", {})
    for name in args.parts:
        before = machine(before)
        measured.update(machine=before, date=datetime.date.today().isoformat())
        PARTS[name](args, measured["raw"])
        args.file.write_text(json.dumps(measured, indent=1) + "\n")
        say(f"{name} is measured, after {time.monotonic() - begin:.0f} s")
    if set(PARTS) - set(measured["raw"]):
        return
    measured["figures"] = derive(measured["raw"])
    args.file.write_text(json.dumps(measured, indent=1) + "\n")
    print(json.dumps(measured["figures"], indent=1))


if __name__ == "__main__":
    main()
