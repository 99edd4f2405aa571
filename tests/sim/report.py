#!/usr/bin/env python3
"""
Writes what docs/scaling.md has from tests/sim/measured.json: its tables, between the marks, and docs/scaling/*.svg.

    tests/sim/report.py            # after calibrate.py and validate.py
    tests/sim/report.py --check    # changes nothing; exit 1 when docs/scaling.md is behind. In a second: what is simulated for hours is
                                   # not simulated again, but what it was made from may not have changed since (measured.json has sums)
"""
import hashlib
import json
import sys

import real  # finds tests/bench
import capacity
import plot
import scenarios
import validate
from model import FILE

HERE = real.TOP / "tests" / "sim"
SOURCES = [HERE / name for name in ("draws.py", "group.py", "kernel.py", "model.py", "scenarios.py", "simulated.py", "report.py")] + [HERE.parent / "bench" / "plot.py"]
PAGE, PICTURES = real.TOP / "docs" / "scaling.md", real.TOP / "docs" / "scaling"


def table(rows):
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def costs(found):
    """Each figure, with the unit that people think in."""
    cpu, size, hand = found["cpu"], found["bytes"], found["handover"]
    told = [
        ("an event, read and applied", f"{cpu['event'] * 1e6:.2f} µs", f"{size['event']:.0f} bytes from the brokers"),
        ("a user's record in the changelog", f"{cpu['copy'] * 1e6:.2f} µs", f"{size['copy']:.0f} bytes to them; {found['records']['copies_per_user']:.2f} records a user and epoch"),
        ("a delta for the others", f"{cpu['delta'] * 1e6:.2f} µs", f"{size['delta']:.0f} bytes to them; {found['records']['deltas_per_entity']:.2f} an item or creator and epoch"),
        ("a delta of another, merged", f"{cpu['merge'] * 1e6:.2f} µs", f"{size['delta_read']:.0f} bytes from them"),
        ("an instance that has nothing to do", f"{cpu['idle'] * 1e3:.0f} ms a second", f"{(size['idle_sent'] + size['idle_read']) / 1e3:.0f} kB a second, and {(size['part_sent'] + size['part_read']) / 1e3:.1f} a partition"),
        ("a partition that has events", f"{cpu['busy_part'] * 1e3:.0f} ms a second", f"{size['busy_read'] / 1e3:.0f} kB a second from the brokers, {size['busy_sent'] / 1e3:.0f} to them"),
        ("a read of 200 items", f"{cpu['read'] * 1e6:.0f} µs", ""),
        ("a record restored", f"{hand['seconds_per_record'] * 1e6:.1f} µs on the clock", f"{size['copy'] / hand['seconds_per_record'] / 1e6:.0f} MB a second"),
        ("a hand-over, beside its epoch and that", f"{hand['old_seconds'] * 1e3:.0f} ms; {hand['new_seconds'] * 1e3:.0f} ms who comes", "from when the last stood still until events are applied"),
        ("an entity", f"{found['entity']['memory_bytes']:.0f} bytes in memory", f"{found['entity']['disk_bytes']:.0f} on disk"),
        ("an epoch's transaction", f"{found['epoch']['seconds'] * 1e3:.0f} ms", f"and {found['epoch']['seconds_per_copy'] * 1e6:.1f} µs a copy, {found['epoch']['seconds_per_delta'] * 1e6:.1f} a delta"),
    ]  # fmt: skip
    return table([{"what": a, "CPU or time": b, "bytes and more": c} for a, b, c in told])


def compared(measured):
    rows = validate.compare(measured["validation"], measured["figures"])
    return table([
        {"instances": str(count), "what": what, "measured": f"{number:,.2f}", "simulated": f"{ours:,.2f}", "ratio": f"{ours / number:.2f}"}
        for count, what, number, ours in rows
    ])  # fmt: skip


def still(cluster, until, step=2):
    """(second, partitions of a hundred that nobody serves)."""
    return [(at, 100 * sum(begin <= at < end for _, begin, end in cluster.stills) / cluster.setting.partitions) for at in range(0, until, step)]


def traffic(cluster, until, step=2):
    """(second, MB a second restored)."""
    points, history, at = [], [(0.0, 0.0), *cluster.restoring.history], 0
    for second in range(0, until, step):
        while at + 1 < len(history) and history[at + 1][0] <= second:
            at += 1
        points.append((second, history[at][1] / 1e6))
    return points


def pictures(figures):
    until = 1800
    how = {"away": scenarios.AWAY_LONG, "is_drained": True, "is_empty": True, "some": slice(40, 60)}
    cold, warm = scenarios.deploy(figures, until, **how), scenarios.deploy(figures, until, True, **how)
    setting = "100 instances, 800 partitions, 10⁸ users, simulated: drained, 60 s away, back with an empty disk, the middle ones, one by one"
    made = {}
    for name, title, y_name, of in (
        ("standstill", "A deploy that moves partitions: who stands still", "partitions that nobody serves, of a hundred", still),
        ("traffic", "A deploy that moves partitions: what is restored", "MB a second from the changelog, all instances", traffic),
    ):
        lines = [("without standbys", "orange", False, of(cold, until)), ("with standbys", "blue", True, of(warm, until))]
        top = 100 if of is still else max(y for *_, some in lines for _, y in some) * 1.1
        made[name] = plot.lines(title, setting, lines, "seconds", y_name, (0, top))
    return made


def noted(one):
    return f"; {one['note']}" if "note" in one else ""


def parts(measured):
    """The tables that take no time."""
    args = capacity.options([])
    machine = measured["machine"]
    return {
        "costs": f"Measured {measured['date']} on {machine['cores']} cores of {machine['cpu']} (others kept {machine['busy_cores']:.1f} of them busy{noted(machine)}):\n\n" + costs(measured["figures"]),
        "validation": f"Others kept {measured['validation']['busy_cores']:.1f} cores busy{noted(measured['validation'])}:\n\n" + compared(measured),
        "capacity": capacity.table(args, capacity.prepare(args)),
    }


def storms(figures):
    return table([scenarios.row(name, cluster) for name, cluster in scenarios.all_of(figures)])


def sum_of(*texts):
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def inputs(measured):
    return sum_of(json.dumps(measured["figures"], sort_keys=True), *(path.read_text() for path in SOURCES))


def split(text, name):
    """(before the part, it, after it)."""
    begin, end = f"<!-- made by tests/sim/report.py: {name} -->\n", "<!-- end -->"
    if begin not in text:
        sys.exit(f"report: {PAGE} has no line '{begin.strip()}'; put it, and '{end}' after it, where the table belongs")
    before, rest = text.split(begin, 1)
    part, after = rest.split(end, 1)
    return before + begin, part.strip(), end + after


def behind():
    """What is not what measured.json gives."""
    measured, text = json.loads(FILE.read_text()), PAGE.read_text()
    made = measured.get("made", {})
    late = [f"table '{name}'" for name, part in parts(measured).items() if split(text, name)[1] != part]
    if made.get("inputs") != inputs(measured) or made.get("storms") != sum_of(split(text, "storms")[1]):
        late.append("table 'storms'")
    return late + [path.name for path in pictures_of() if not path.exists() or made.get(path.name) != sum_of(path.read_text())]


def pictures_of():
    return [PICTURES / "standstill.svg", PICTURES / "traffic.svg"]


def write():
    measured, text = json.loads(FILE.read_text()), PAGE.read_text()
    print("report: tables", file=sys.stderr, flush=True)
    made = {**parts(measured), "storms": storms(measured["figures"])}
    for name, part in made.items():
        before, _, after = split(text, name)
        text = f"{before}\n{part}\n\n{after}"
    PAGE.write_text(text)
    print("report: pictures", file=sys.stderr, flush=True)
    measured["made"] = {"inputs": inputs(measured), "storms": sum_of(made["storms"])}
    PICTURES.mkdir(exist_ok=True)
    for path, picture in zip(pictures_of(), pictures(measured["figures"]).values()):
        path.write_text(picture)
        measured["made"][path.name] = sum_of(picture)
    FILE.write_text(json.dumps(measured, indent=1) + "\n")


def main():
    if "--check" not in sys.argv:
        write()
        return 0
    late = behind()
    for what in late:
        print(f"report: {what} of docs/scaling.md is behind tests/sim/measured.json, or the simulation; run tests/sim/report.py")
    return bool(late)


if __name__ == "__main__":
    sys.exit(main())
