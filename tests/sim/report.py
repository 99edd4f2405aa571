#!/usr/bin/env python3
"""
Writes what docs/scaling.md has from tests/sim/measured.json: its tables, between the marks, and docs/scaling/*.svg.

    tests/sim/report.py            # after calibrate.py and validate.py
    tests/sim/report.py --check    # changes nothing; exit 1 when docs/scaling.md is behind
"""
import json
import sys

import real  # finds tests/bench
import capacity
import plot
import scenarios
import validate
from model import FILE

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
        ("an instance that has nothing to do", f"{cpu['idle'] * 1e3:.0f} ms a second", f"{(size['idle_sent'] + size['idle_read']) / 1e3:.0f} kB a second"),
        ("the same, woken by events", f"{(cpu['idle'] + cpu['busy']) * 1e3:.0f} ms a second", ""),
        ("a read of 200 items", f"{cpu['read'] * 1e6:.0f} µs", ""),
        ("a record restored", f"{hand['seconds_per_record'] * 1e6:.1f} µs on the clock", f"{size['copy'] / hand['seconds_per_record'] / 1e6:.0f} MB a second"),
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
    args = capacity.options([])
    machine = measured["machine"]
    return {
        "costs": f"Measured {measured['date']} on {machine['cores']} cores of {machine['cpu']} (others kept {machine['busy_cores']:.1f} of them busy{noted(machine)}):\n\n" + costs(measured["figures"]),
        "validation": f"Others kept {measured['validation']['busy_cores']:.1f} cores busy{noted(measured['validation'])}:\n\n" + compared(measured),
        "capacity": capacity.table(args, capacity.prepare(args)),
        "storms": table([scenarios.row(name, cluster) for name, cluster in scenarios.all_of(measured["figures"])]),
    }


def main():
    measured, text, made = json.loads(FILE.read_text()), PAGE.read_text(), {}
    for name, part in parts(measured).items():
        begin, end = f"<!-- made by tests/sim/report.py: {name} -->\n", "<!-- end -->"
        if begin not in text:
            sys.exit(f"report: {PAGE} has no line '{begin.strip()}'; put it, and '{end}' after it, where the table belongs")
        before, rest = text.split(begin, 1)
        text = f"{before}{begin}\n{part}\n\n{end}{rest.split(end, 1)[1]}"
    made[PAGE] = text
    made.update({PICTURES / f"{name}.svg": picture for name, picture in pictures(measured["figures"]).items()})
    behind = [path for path, wanted in made.items() if not path.exists() or path.read_text() != wanted]
    for path in behind:
        if "--check" in sys.argv:
            print(f"report: {path} is behind tests/sim/measured.json; run tests/sim/report.py")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(made[path])
    return bool(behind) and "--check" in sys.argv


if __name__ == "__main__":
    sys.exit(main())
