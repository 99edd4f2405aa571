"""Which system calls a unit's filter refuses. usage: calls.py UNIT FILE…   (files of strace -c). Exit 1 names those that were made."""

import pathlib
import re
import subprocess
import sys


def members(name):
    """All calls of a set of systemd's, those of the sets in it too."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True).stdout
    found = set()
    for word in re.findall(r"^ +([@\w-]+)$", listed, re.MULTILINE):
        found |= members(word) if word.startswith("@") else {word}
    return found


def allowed(unit):
    calls = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        named = set().union(*(members(name) for name in line.removeprefix("~").split()))
        calls = calls - named if line.startswith("~") else calls | named
    return calls


def made(text):
    return set(re.findall(r"^ *\d.* (\w+)$", text, re.MULTILINE)) - {"total", "restart_syscall", "execve"}


unit, *traces = map(pathlib.Path, sys.argv[1:])
seen = set().union(*(made(trace.read_text()) for trace in traces))
refused = seen - allowed(unit.read_text())
print(f"package: {len(seen)} system calls made, refused by the unit: {', '.join(sorted(refused)) or 'none'}")
sys.exit(1 if refused or len(seen) < 40 else 0)
