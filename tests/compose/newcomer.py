"""A new user's path, as docs/first-steps.md writes it: staging, events from a CSV with columns of its own, features in Python. Timed.

The lines are taken from the page and run in their order, on the stack that is up; only `pip install` is not: tests/compose/run did that.
"""

import csv
import os
import pathlib
import random
import re
import subprocess
import tempfile
import time

HEADING = "## Staging → own events → features in Python\n"
ROWS = 400
FIRST_ID = 1 << 45  # far from all others' ids


def write_log(path, seed=9):
    """Of the last forty minutes; views, likes and purchases, some views too short to count."""
    dice, now = random.Random(seed), int(time.time())
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("when", "member", "product", "shelf", "what", "secs"))
        for number in range(ROWS):
            product = FIRST_ID + int(20 * dice.random() ** 2)
            what = dice.choices(("seen", "liked", "bought"), (8, 2, 1))[0]
            rows.writerow(
                (now - 2400 + 5 * number, FIRST_ID + dice.randrange(25), product, 1 + product % 5, what, dice.randrange(80) / 4)
            )


def steps(top):
    """[line] of the page's section, continued lines joined."""
    page = pathlib.Path(top, "docs/first-steps.md").read_text()
    section = page.split(HEADING, 1)[1].split("\n## ", 1)[0]
    (block,) = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return block.replace("\\\n", " ").splitlines()


def follow(under_test, client, say):
    lines, took = steps(under_test.top), []
    assert [line.split()[0] for line in lines if "=" not in line.split()[0]] == ["docker-compose", "docker-compose", "pip", "python"]
    with tempfile.TemporaryDirectory() as home:
        write_log(pathlib.Path(home, "mine.csv"))
        environment = {
            **os.environ,
            "HOME": home,
            "PATH": f"{client}/bin:{os.environ['PATH']}",
            "FRESHET_API": under_test.address["api"],
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        before = ""
        for line in lines:
            if "=" in line.split()[0]:
                before += line + "\n"  # a variable, for what follows
            elif not line.startswith("pip "):
                began_s = time.monotonic()
                shown = line.replace("docker-compose", " ".join(under_test.words))
                done = subprocess.run(
                    ["bash", "-ec", before + shown], cwd=under_test.top, env=environment, capture_output=True, text=True, timeout=600
                )
                assert done.returncode == 0, f"{line}: exit {done.returncode}: {done.stderr}{done.stdout}"
                took.append(f"{line.split(' -')[0].split(' --')[0]} {time.monotonic() - began_s:.1f} s")
    assert f"{ROWS} rows of " in done.stdout and " columns beside the CSV: 0 differ" in done.stdout, done.stdout
    say(f"a CSV of one's own through docs/first-steps.md: {'; '.join(took)}: {done.stdout.splitlines()[-1]}")
