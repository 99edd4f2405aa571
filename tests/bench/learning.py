#!/usr/bin/env python3
"""What the learning loop shows, as figures (FILE.svg) and numbers (learning.json) in a folder: what a label policy's delay
costs, how a change of behaviour is learned, and how a ranker by Score fares among simulated users.

    tests/bench/learning.py --build build/release --out DIR [--ranker DIR]

Needs numpy. The first two run the unit tests of the learner (seconds). The third draws what the long test left behind:
FRESHET_FIGURES=DIR tests/flow/run --all tests/flow/test_ranker.py -s
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np

import plot

POLICIES = {"wait": "orange", "fnw": "blue", "first_only": "green", "sliver": "purple"}
WHO = {
    "live": ("the node's learner", "blue", False),
    "frozen": ("frozen at the change", "orange", False),
    "offline": ("FTRL offline", "grey", True),
    "anew": ("FTRL begun anew", "green", True),
    "truth": ("truth", "purple", True),
}
BLOCK, BATCH, CHANGE, ALPHA = 2000, 500, 40000, 0.5


def unit_test(args, noun, figures):
    command = [f"{args.build}/tests/unit/learner/test_learner_{noun}"]
    environment = {**os.environ, "FRESHET_FIGURES": str(figures)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


# ---- Delayed feedback ----


def delayed(args, figures):
    told = unit_test(args, "delayed", figures)
    way = [one for one in told if one["figure"] == "way" and one["sinceS"] <= 3000]
    ways = {policy: [(one["sinceS"], one["way"]) for one in way if one["policy"] == policy] for policy in POLICIES}
    ages = {one["policy"]: one["ageS"] for one in told if one["figure"] == "age"}
    # Slivers without exits are first_only with other numbers: one line says both.
    drawn = {"wait": "wait", "fnw": "fnw", "first_only": "first_only, sliver"}
    series = [(f"{name} ({ages[policy]:.0f} s old)", POLICIES[policy], False, ways[policy]) for policy, name in drawn.items()]
    svg = plot.lines(
        "What a label policy's delay costs",
        "At 0 the chance of a purchase doubles or halves. Purchases come 120 s later (mean); the window is 10 min. Mean of 5.",
        series, "seconds since the change", "how far the model has come (1: all the way)", (-0.2, 1.2),
        [(600, "the window is over")],
    )  # fmt: skip
    numbers = {"calibration": [one for one in told if one["figure"] == "calibration"], "age_s": ages}
    return svg, numbers


# ---- Drift ----


def ftrl(coordinates, labels, size, begin):
    """McMahan's closed form in numpy, judged batch by batch before it learns: the oracle of the oracle."""
    z, n = np.zeros(size), np.zeros(size)
    said = np.full(len(labels), np.nan)

    def weights(of):
        return -z[of] * ALPHA / (1 + np.sqrt(n[of]))

    for at in range(begin, len(labels), BATCH):
        some = slice(at, at + BATCH)
        said[some] = 1 / (1 + np.exp(-weights(coordinates[some]).sum(1)))
        for of, label in zip(coordinates[some], labels[some]):
            w = weights(of)
            g = 1 / (1 + np.exp(-w.sum())) - label
            z[of] += g - (np.sqrt(n[of] + g * g) - np.sqrt(n[of])) / ALPHA * w
            n[of] += g * g
    return said


def entropies(said, labels):
    loss = -(labels * np.log(said) + (1 - labels) * np.log(1 - said)).reshape(-1, BLOCK).mean(1)
    mean = labels.reshape(-1, BLOCK).mean(1)
    return loss / -(mean * np.log(mean) + (1 - mean) * np.log(1 - mean))


def drift(args, figures):
    unit_test(args, "drift", figures)
    rows = np.genfromtxt(figures / "drift.csv", delimiter=",", names=True)
    users, items = rows["user"].astype(int), rows["item"].astype(int)
    kinds = items % 6
    coordinates = np.stack([np.zeros_like(users), 1 + users, 1 + 40 + items, 1 + 40 + 60 + users * 6 + kinds], 1)
    size = 1 + 40 + 60 + 40 * 6
    mine = {"offline": ftrl(coordinates, rows["label"], size, 0), "anew": ftrl(coordinates, rows["label"], size, CHANGE)}
    for who, said in mine.items():
        known = ~np.isnan(said)
        assert np.allclose(said[known], rows[who][known], atol=2e-6), f"numpy and the unit test disagree on {who}"
    curves = {who: entropies(rows[who] if who not in mine else mine[who], rows["label"]) for who in WHO}
    middles = np.arange(len(curves["live"])) * BLOCK + BLOCK / 2
    series = [
        (name, colour, is_dashed, [(x, y) for x, y in zip(middles, curves[who]) if np.isfinite(y)])
        for who, (name, colour, is_dashed) in WHO.items()
    ]
    svg = plot.lines(
        "Click behaviour changes",
        "What people like is drawn anew at example 40,000. Each 2,000 examples are judged before they are learned.",
        series, "examples", "normalized entropy (lower is better)", (0.65, 1.4), [(CHANGE, "the change")],
    )  # fmt: skip

    def needed(who, share):
        """Examples after the change until it stays within a share of the truth."""
        far = np.flatnonzero(curves[who][CHANGE // BLOCK :] > curves["truth"][CHANGE // BLOCK :] * (1 + share))
        return int((far[-1] + 1) * BLOCK) if len(far) else 0

    numbers = {
        "most_off_ftrl_offline": float(np.abs(curves["live"] / curves["offline"] - 1).max()),
        "examples_until_within_5_percent_of_truth": {who: needed(who, 0.05) for who in ("live", "offline", "anew")},
        "last_block": {who: round(float(curve[-1]), 4) for who, curve in curves.items()},
    }
    return svg, numbers


# ---- The ranker ----


def ranker(args):
    runs = [json.loads(path.read_text()) for path in sorted(pathlib.Path(args.ranker).glob("ranker-*.json"))]
    colours = {"Score": ("blue", 0), "clicked most": ("orange", 0), "earned most": ("green", 0), "chance": ("grey", 1)}
    series = []
    for arm, (colour, is_dashed) in colours.items():
        rows = np.array([row for run in runs for row in run["arms"][arm]])
        clicks = [rows[rows[:, 0] == number, 2].mean() / runs[0]["judges"] for number in np.unique(rows[:, 0])]
        series.append((arm, colour, is_dashed, list(enumerate(clicks))))
    highest = max(y for *_, some in series for _, y in some)
    svg = plot.lines(
        "Rankers among simulated users",
        f"8 of 40 candidates are shown; {len(runs)} worlds of 200 users and 600 items. Score learns from what it showed.",
        series, "rounds", "clicks a slate", (0, highest * 1.1), [(runs[0]["chance_rounds"], "until here shown by chance")],
    )  # fmt: skip
    return svg, [run["lifts"] for run in runs]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--ranker", help="where the long test of the ranker left its figures")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    numbers = {}
    with tempfile.TemporaryDirectory() as folder:
        makers = {"delayed": delayed, "drift": drift}
        drawn = {name: make(args, pathlib.Path(folder)) for name, make in makers.items()}
    if args.ranker:
        drawn["ranker"] = ranker(args)
    for name, (svg, found) in drawn.items():
        (args.out / f"{name}.svg").write_text(svg)
        numbers[name] = found
    (args.out / "learning.json").write_text(json.dumps(numbers, indent=1) + "\n")
    print(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()
