#!/usr/bin/env python3
"""
Measures on a real broker what the model needs, into tests/sim/measured.json: about eight minutes, with progress lines. Nothing else
should want the machine meanwhile. Of each load there are several short windows, and the median of them counts.

    tests/kafka/start
    tests/sim/calibrate.py --brokers 127.0.0.1:29092 [--build build/release] [--seconds 5] [--parts alone shared handovers read]
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
import handovers
import model
import real

FILE = pathlib.Path(__file__).with_name("measured.json")
ALONE = [(real.Shape(30_000, 30_000, 500), [10_000, 40_000]), (real.Shape(30_000, 3_000, 1_200), [20_000, 40_000])]
# One by one: instances, the shape, rates of the windows.
SHARED = [
    (1, real.Shape(30_000, 30_000, 500), [5_000, 30_000]),
    (1, real.Shape(50_000, 3_000, 1_200), [20_000, 40_000]),
    (2, real.Shape(10_000, 30_000, 1_000), [10_000, 30_000]),
    (3, real.Shape(5_000, 10_000, 500), [5_000, 20_000]),
]
# Instances between hand-overs, the shape, how many rounds.
HANDOVERS = [(1, real.Shape(5_000, 3_000, 500), 6), (1, real.Shape(30_000, 3_000, 800), 3), (3, real.Shape(8_000, 3_000, 500), 5)]
WINDOWS, RATE_OF_HANDOVERS, FIRST_SECONDS = 3, 2_000, 0.003

def say(text):
    print(f"calibrate: {text}", file=sys.stderr, flush=True)


def machine(before):
    """`before`: what is known of it; the busiest moment counts."""
    names = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return {"cpu": names[0] if names else "unknown", "cores": os.cpu_count(), "kernel": os.uname().release, "busy_cores": max(real.busy_cores(), before.get("busy_cores", 0))}


def windows(fleet, rates, seconds):
    """Some seconds of nothing, then each rate: of several windows the one whose CPU is in the middle."""
    found = []
    for rate in (0, *rates):
        some = sorted((fleet.window(rate, seconds) for _ in range(WINDOWS if rate else 1)), key=lambda row: row["cpu"])
        found.append({**some[len(some) // 2], **fleet.shape.told(), "is_cluster": fleet.is_cluster})
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
    raw.update(shared=[])
    for count, shape, rates in SHARED:
        say(f"{count} instances, epochs of {shape.epoch_ms} ms, {shape.users} users")
        with real.Fleet(args, shape) as fleet:
            for _ in range(count):
                fleet.add()
            fleet.fill()
            raw["shared"] += windows(fleet, rates, args.seconds)


def measure_handovers(args, raw):
    raw.update(handovers=[])
    for count, shape, rounds in HANDOVERS:
        say(f"hand-overs, {count} instances, {shape.users} users")
        with real.Fleet(args, shape) as fleet:
            for _ in range(count):
                fleet.add()
            fleet.fill()
            raw["handovers"].append(handovers.rounds(fleet, rounds, RATE_OF_HANDOVERS))
        for what in ("joins", "drains"):
            say(f"  {what} stood still for " + " ".join(f"{row['standstill']:.2f}" for row in raw["handovers"][-1][what]))


def measure_read(args, raw):
    """CPU seconds of a read of 200 items, by freshet bench serve."""
    command = [f"{args.build}/freshet", "bench", "serve", "--pairs", "1", "--seconds", "2", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    raw["read"] = json.loads(done.stdout) if done.returncode == 0 else {}
    say(f"a read: {raw['read'].get('ours')} {raw['read'].get('unit')}")


PARTS = {"alone": measure_alone, "shared": measure_shared, "handovers": measure_handovers, "read": measure_read}


def derive(raw):
    """The model's figures from what was measured."""
    alone, shared = [[dict(row) for row in raw[name]] for name in ("alone", "shared")]
    for row in alone + shared:
        row["life"] = row["seconds"] * row["instances"]
        row.update(parts=row["seconds"] * real.PARTITIONS, busy_parts=row["loaded_seconds"] * real.PARTITIONS)
        row["read_deltas"] = row["deltas"] * row["instances"]  # everybody reads his own, too
    loaded = [row for row in shared if row["transactions"]]
    found = {
        "cpu": {**cpu_of(alone, shared), "read": raw["read"]["ours"] / 1000},
        "bytes": bytes_of(shared),
        "epoch": epoch_of(loaded),
        "records": {
            "copies_per_user": statistics.median(row["copies"] / expected(row, "users") for row in loaded if row["copies"]),
            "deltas_per_entity": statistics.median(row["deltas"] / expected(row, "items") for row in loaded if row["deltas"]),
        },
        "entity": {name: statistics.median(one[name] for one in raw["states"]) for name in ("memory_bytes", "disk_bytes")},
    }  # fmt: skip
    return {**found, "handover": handover_of(raw, found)}


def cpu_of(alone, shared):
    """
    One node and instances fitted together: to read and apply an event costs both the same, and so does a partition that has some, whose records
    come in many small batches.
    """
    idle = [statistics.median(row["cpu"] / row["life"] for row in rows if not row["rate"]) for rows in (alone, shared)]
    busy = []
    for rows, rest in zip((alone, shared), idle):
        for row in rows:
            row["work"] = max(row["cpu"] - rest * row["life"], row["cpu"] / 10)
            row["written"] = written(row) if rows is alone and row["rate"] else 0.0
            busy += [row] if row["rate"] else []
    costs = fit.nonnegative(busy, ["busy_parts", "events", "written", "copies", "deltas", "merged"], "work")
    return {
        "idle_alone": idle[0], "written_alone": costs["written"], "idle": idle[1], "busy_part": costs["busy_parts"], "event": costs["events"],
        "copy": costs["copies"], "delta": costs["deltas"], "merge": costs["merged"],
    }  # fmt: skip


def bytes_of(shared):
    """Over the connections. What names each partition, as answers to fetches do, goes by partitions and not by instances."""
    sent = fit.nonnegative(shared, ["life", "parts", "busy_parts", "copies", "deltas", "transactions"], "sent")
    received = fit.nonnegative(shared, ["life", "parts", "busy_parts", "events", "read_deltas"], "received")
    return {
        "event": received["events"], "delta_read": received["read_deltas"], "idle_read": received["life"], "part_read": received["parts"],
        "busy_read": received["busy_parts"], "copy": sent["copies"], "delta": sent["deltas"], "transaction": sent["transactions"],
        "idle_sent": sent["life"], "part_sent": sent["parts"], "busy_sent": sent["busy_parts"],
    }  # fmt: skip


def epoch_of(loaded):
    """Of each transaction."""
    for row in loaded:
        row.update(took=row["epoch_seconds"] / row["transactions"], one=1.0, copies_each=row["copies"] / row["transactions"], deltas_each=row["deltas"] / row["transactions"])
    took = fit.nonnegative(loaded, ["one", "copies_each", "deltas_each"], "took")
    return {"seconds": took["one"], "seconds_per_copy": took["copies_each"], "seconds_per_delta": took["deltas_each"]}


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


def handover_of(raw, found):
    """
    What one takes after the last stood still, without the epoch that he ends with, which the model has, and who comes without reading that:
    (who was there, who came, how many shared the machine) of each join. From drains, what a record takes that is restored, and what restoring takes beside that.
    """
    takes, drains = [], []
    for some in raw["handovers"]:
        count, setting = some["instances"], model.Setting(**{name: some[name] for name in ("rate", "users", "items", "creators")}, partitions=real.PARTITIONS)
        costs, events = model.Costs({**found, "handover": {}}, setting), some["rate"] * some["epoch_ms"] / 2000 / count
        copies = costs.copies(events, real.PARTITIONS / count)
        ended = costs.duration(copies, costs.deltas(events))
        joins = [(row["old"] - ended, row["new"] - ended, count * copies / (count + 1), count) for row in some["joins"]]
        drains += [(row["restored"], row["old"] - ended - statistics.median(join[0] for join in joins)) for row in some["drains"]]
        takes += joins
    slope, more = fit.line(drains)
    takes = [[*(round(max(seconds, FIRST_SECONDS), 4) for seconds in (stayed, came - slope * last)), count] for stayed, came, last, count in takes]
    old, new, _ = (statistics.median(numbers) for numbers in zip(*takes))
    return {
        "takes": takes, "old_seconds": old, "new_seconds": new, "far_seconds": more, "seconds_per_record": slope,
        "heartbeat_ms": raw["handovers"][0]["heartbeat_ms"], "session_ms": real.SESSION_MS,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers")
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--seconds", type=float, default=5, help="of each window")
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
