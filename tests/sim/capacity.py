#!/usr/bin/env python3
"""
How many instances, partitions, and how much of brokers, disks and memory a load needs, from measured.json; and what breaks first.

    tests/sim/capacity.py --events 1e6 --entities 1e8 --reads 50000
    tests/sim/capacity.py --table        # the table of docs/scaling.md

Options have defaults; put your own figures over those that were measured with --set cpu.copy=2e-5.
"""
import argparse
import math
import sys
import types

import model

TABLE = [(1e5, 1e8, 2e4), (1e5, 1e9, 2e4), (1e6, 1e8, 5e4), (1e6, 1e9, 5e4), (1e7, 1e8, 2e5), (1e7, 1e9, 2e5)]
EPOCHS, PARTITIONS_MOST, PARTITIONS_EACH = (5, 10, 30, 60), 1024, 4


def partitions_of(instances):
    return min(PARTITIONS_MOST, 1 << math.ceil(math.log2(PARTITIONS_EACH * instances)))


def load_of(args, figures, instances):
    """Of one instance, a second: what it does, by its terms in CPU seconds and in bytes."""
    users, items = args.entities * (1 - args.item_share), args.entities * args.item_share
    setting = model.Setting(rate=args.events, users=users, items=items * 10 / 11, creators=items / 11, partitions=instances, epoch_seconds=args.epoch, exponent=args.exponent)
    costs = model.Costs(figures, setting)
    events = args.events / instances
    copies = costs.copies(events * args.epoch, 1) / args.epoch
    deltas = costs.deltas(events * args.epoch) / args.epoch
    merged = deltas * (instances - 1)
    cpu, size, entity = figures["cpu"], figures["bytes"], figures["entity"]
    each = partitions_of(instances) / instances
    own = users / instances * (3 if args.standbys else 1)
    terms = {
        "fixed": cpu["idle"] + each * cpu["busy_part"], "events": cpu["event"] * events, "changelog": cpu["copy"] * copies,
        "own deltas": cpu["delta"] * deltas, "others' deltas": cpu["merge"] * merged, "reads": args.read_cpu * args.reads / instances,
    }  # fmt: skip
    records = users * figures["records"]["copies_per_user"]
    hold = (own + items) * args.in_memory * entity["memory_bytes"]
    return types.SimpleNamespace(
        terms=terms, cpu=sum(terms.values()), merging=args.merge_seconds * merged, committing=costs.duration(copies * args.epoch, deltas * args.epoch) / args.epoch, deltas=deltas, merged=merged, copies=copies, memory=hold, disk=(own + items) * entity["disk_bytes"] * 2,
        item_memory=items * args.in_memory * entity["memory_bytes"],
        sent=size["copy"] * copies + size["delta"] * deltas + size["transaction"] / args.epoch + size["idle_sent"] + each * (size["part_sent"] + size["busy_sent"]),
        received=size["event"] * events + size["delta_read"] * (merged + deltas) + size["idle_read"] + each * (size["part_read"] + size["busy_read"]),
        changelog_bytes=records * size["copy"] * setting.changelog_factor * args.replicas,
        restore_seconds=figures["handover"]["old_seconds"] + figures["handover"]["far_seconds"] + records / instances * setting.changelog_factor * figures["handover"]["seconds_per_record"],
    )  # fmt: skip


def plan(args, figures):
    """The shortest epochs, and the fewest instances with them, that do it; or None, and with what least is lacking."""
    best, tries = None, sorted({*range(1, 33), *(round(32 * 1.1**step) for step in range(1, 30))})
    for args.epoch in [args.epoch, *(one for one in EPOCHS if one > args.epoch)]:
        for instances in tries:
            load = load_of(args, figures, instances)
            near = max(nearest(args, load).values())
            if near <= 1:
                return instances, load, instances, args.epoch
            if not best or near < best[0]:
                best = near, load, instances, args.epoch
    return None, *best[1:]


def nearest(args, load):
    """How near each limit is: 1 is at it."""
    return {
        "CPU": load.cpu / (args.cores * args.use),
        "the threads that merge others' deltas": load.merging / args.thread_use,
        "the committer: an epoch takes longer than an epoch": load.committing / args.thread_use,
        "memory: items at every instance": load.item_memory / args.memory,
        "memory: users and items": load.memory / args.memory,
        "disk": load.disk / args.disk,
    }  # fmt: skip


def breaks(args, load, instances):
    """What gives way first when the load grows, and if it does not fit, why."""
    near = nearest(args, load)
    if instances and instances * PARTITIONS_EACH > PARTITIONS_MOST:
        return f"partitions: {PARTITIONS_MOST} at most"
    return ", ".join(name for name, part in near.items() if part > 1) or max(near, key=near.get)


def row(args, figures):
    wanted = args.epoch
    instances, load, count, epoch = plan(args, figures)
    args.epoch = wanted
    partitions = partitions_of(count)
    return {
        "events/s": f"{args.events:.0e}".replace("e+0", "e"), "entities": f"{args.entities:.0e}".replace("e+0", "e"), "reads/s": f"{args.reads:,.0f}",
        "instances": str(instances) if instances else f"**none** (nearest: {count})",
        "epochs": f"{epoch:g} s", "partitions": str(partitions), "merging": f"{load.merging:.2f}", "CPU each": f"{load.cpu:.1f}", "deltas merged/s each": f"{load.merged:,.0f}",
        "memory each": f"{load.memory / 2**30:.1f} GiB", "disk each": f"{load.disk / 2**30:.1f} GiB",
        "to brokers": f"{load.sent * count / 1e6:,.0f} MB/s", "from brokers": f"{load.received * count / 1e6:,.0f} MB/s",
        "changelog": f"{load.changelog_bytes / 1e9:,.0f} GB", "restoring a share": f"{load.restore_seconds:,.0f} s",
        "what gives way first": breaks(args, load, instances),
    }  # fmt: skip


def table(args, figures):
    lines = []
    for args.events, args.entities, args.reads in TABLE:
        found = row(args, figures)
        lines += [list(found), ["---"] * len(found)] if not lines else []
        lines.append(list(found.values()))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def options(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default, what in (
        ("events", 1e6, "a second, of all"), ("entities", 1e8, "users, items and creators that are kept"),
        ("reads", 5e4, "a second, of 200 items"), ("item-share", 0.05, "of the entities that are items or creators: whole at every instance"),
        ("epoch", 2.0, "seconds"), ("exponent", 1.05, "of the Zipf distribution of users and of items"), ("cores", 16, "of an instance"),
        ("use", 0.5, "of them that may be used: the rest is for catching up"), ("merge-seconds", 1.17e-6, "on the clock, until a delta of another's is read and merged: tests/bench/merge.py, with two lanes; 1.5e-6 with one"), ("thread-use", 0.8, "of each core that merges, and of the one that commits"), ("memory", 64 * 2**30, "bytes for an instance's state"),
        ("disk", 2**40, "bytes for it"), ("in-memory", 0.5, "of the entities that are in memory; the others are on disk only"),
        ("replicas", 3, "of the cluster's topics"), ("read-cpu", None, "CPU seconds of a read; else the one that was measured"),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=float, default=default, help=f"{what}{'' if default is None else f' ({default:g})'}")
    parser.add_argument("--standbys", action="store_true", help="users are held by the owner and by two who would be owners")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="GROUP.NAME=NUMBER", help="a figure of your own")
    return parser.parse_args(arguments)


def prepare(args):
    figures = model.figures()
    for text in args.set:
        (group, name), number = text.split("=")[0].split("."), float(text.split("=")[1])
        if name not in figures.get(group, {}):
            sys.exit(f"capacity: measured.json has no figure {group}.{name}; it has " + ", ".join(f"{a}.{b}" for a in figures for b in figures[a]))
        figures[group][name] = number
    args.read_cpu = args.read_cpu or figures["cpu"]["read"]
    return figures


def main():
    args = options()
    figures = prepare(args)
    if args.table:
        print(table(args, figures))
        return
    for name, value in row(args, figures).items():
        print(f"{name:22} {value}")
    print("\nCPU seconds a second of one instance:")
    for name, number in plan(args, figures)[1].terms.items():
        print(f"  {name:20} {number:.3f}")


if __name__ == "__main__":
    main()
