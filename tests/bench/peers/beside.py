"""What the scripts here share: peers fetched and started, what the kernel says of them, and how a comparison is told."""
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent.parent
STALLED_S = 60  # a peer that says the same number for so long has nothing to read
sys.path.insert(0, str(HERE.parent))

from node import Node, read_varint  # noqa: E402, F401


def install(what):
    """What `install` says of a peer: a class path, an interpreter, a binary."""
    return subprocess.run([HERE / "install", what], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def within(environment):
    """Goes on in the interpreter of one of the environments that `install` makes; returns there."""
    python = install(environment)
    if os.path.realpath(sys.prefix) != os.path.realpath(pathlib.Path(python).parent.parent):
        os.execv(python, [python, *sys.argv])


def package_version(python, package):
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def version_of(class_path, jar):
    """A jar's, by its file."""
    found = next(pathlib.Path(class_path.split(":")[1][:-2]).glob(f"{jar}-[0-9]*.jar"))
    return found.stem[len(jar) + 1 :]


def children():
    """CPU seconds of the children that have ended, and of theirs."""
    times = os.times()
    return times.children_user + times.children_system


def tree_cpu(pid):
    """CPU seconds of a process and of all below it, so far."""
    parents, used = {}, {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it ended meanwhile
        parents[int(entry.name)] = int(fields[1])
        used[int(entry.name)] = sum(int(field) for field in fields[11:15])  # its own, and of children that ended
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(used.get(one, 0) for one in family) / os.sysconf("SC_CLK_TCK")


def memory(pid, name="VmRSS"):
    """Bytes; VmHWM: the most so far."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name + ":"))


def size(directory):
    return sum(path.stat().st_size for path in pathlib.Path(directory).rglob("*") if path.is_file())


class Jvm:
    """A peer that says one JSON object a line, and answers lines."""

    def __init__(self, class_path, *arguments, heap="2g", collector="-XX:+UseParallelGC"):
        self.process = subprocess.Popen(
            ["java", f"-Xmx{heap}", collector, "-cp", class_path, "Main", *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # fmt: skip

    def line(self, key):
        """The next that has it."""
        while True:
            text = self.process.stdout.readline()
            assert text, "the peer died"
            found = json.loads(text)
            if key in found:
                return found[key]

    def wait(self, events):
        """Yields how many it has processed, until these are; ends the script when none come any more."""
        moved, moved_s = -1, time.monotonic()
        while (processed := self.line("processed")) < events:
            print(f"\r  {processed:,} of {events:,}", end="", file=sys.stderr) if sys.stderr.isatty() else None
            if processed != moved:
                moved, moved_s = processed, time.monotonic()
            elif time.monotonic() - moved_s > STALLED_S:
                sys.exit(f"of {events:,} events {processed:,} came and no more for {STALLED_S} s: fill the topic by `freshet bench ingest --events {events}`")
            yield processed
        yield processed

    def drink(self):
        """Nobody listens from now on: what it says is thrown away, so that it never waits to say it."""
        threading.Thread(target=lambda: all(iter(self.process.stdout.readline, "")), daemon=True).start()

    def ask(self, text, key):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return self.line(key)

    def stop(self):
        """It makes durable what it has, and ends."""
        self.process.stdin.close()
        while self.process.stdout.readline():
            pass
        self.process.wait(120)


def spread(values):
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def machine():
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")
    return {"cpu": model, "cores": os.cpu_count(), "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE"),
            "load": round(os.getloadavg()[0], 2), "kernel": platform.release(), "python": platform.python_version()}  # fmt: skip


def freshet_version(binary):
    return subprocess.run([binary, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1]


def java_version():
    return subprocess.run(["java", "-version"], stderr=subprocess.PIPE, text=True, check=True).stderr.splitlines()[0]


def compared(runs, figure):
    """Ours, theirs, and ours / theirs pair by pair."""
    values = {who: [run[figure] for run in those] for who, those in runs.items() if those}
    ours = values.pop("freshet")
    ratios = {who: spread([a / b for a, b in zip(ours, theirs)]) for who, theirs in values.items()}
    return {
        "ours": statistics.median(ours), "peers": {who: statistics.median(theirs) for who, theirs in values.items()},
        "ratio": {who: ratio["median"] for who, ratio in ratios.items()}, "pairs": len(ours),
        "spread": {"ours": spread(ours), **{who: spread(theirs) for who, theirs in values.items()}}, "ratio_spread": ratios,
    }  # fmt: skip


def tell(name, unit, runs, figure, versions, also=(), **more):
    """One JSON object from runs: name -> a list of figures, one a pair, "freshet" among them. `figure` is what is compared; `also`: others."""
    print(json.dumps({"name": name, "unit": unit, **compared(runs, figure), **{other: compared(runs, other) for other in also},
                      "machine": machine(), "versions": versions, **more, "runs": runs}), flush=True)  # fmt: skip
