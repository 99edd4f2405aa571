#!/usr/bin/env python3
"""The learner beside Vowpal Wabbit and River on L1 and on public click logs: each log becomes one text file of hashed features that all read,
and `freshet bench learn --file` runs them in pairs. Of each: examples per CPU second, the ratio, progressive log loss, the constant
predictor's. River, which is slow, gets the first examples alone; its log loss stands beside ours of just these.
What cannot run is skipped by name and reason: a log that FRESHET_TEST_DATA lacks, Vowpal Wabbit where --python has none.

    tests/bench/learn.py --build build/release [--logs L1] [--python $(tests/bench/peers/install python)] [--pairs 3] [--river 20000]
"""
import argparse
import csv
import gzip
import itertools
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import zlib

BITS = 22


def open_bandit(directory):
    """ZOZOTOWN: which of the recommended garments was clicked."""
    for name in ("random_all", "bts_all", "random_men", "bts_men"):
        with gzip.open(directory / "open_bandit_zozo" / f"impressions_{name}.csv.gz", "rt") as file:
            for row in csv.DictReader(file):
                user = {f"u{number}": row[f"user_feature_{number}"] for number in range(4)}
                yield int(row["click"]), {"item": f"{name[-3:]}{row['item_id']}", "position": row["position"], **user}


def kuairand(directory):
    """KuaiRand: like against hate of short videos."""
    with gzip.open(directory / "kuairand_27k_like_hate" / "log.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            length = int(math.log2(1 + int(row["duration_ms"])) * 2)
            yield int(row["label"]), {
                "user": row["user_id"], "item": row["video_id"], "hour": row["hourmin"][:-2], "length": length,
                "click": row["is_click"], "long": row["long_view"],
            }  # fmt: skip


def talkingdata(directory):
    """TalkingData: clicks on advertisements that led to a download."""
    with gzip.open(directory / "talkingdata_adtracking_100k" / "clicks.csv.gz", "rt") as file:
        for row in sorted(csv.DictReader(file), key=lambda row: row["click_time"]):
            hour = row["click_time"][11:13]
            yield int(row["is_attributed"]), {name: row[name] for name in ("ip", "app", "device", "os", "channel")} | {"hour": hour}


LOGS = {"open_bandit_zozo": open_bandit, "kuairand_27k_like_hate": kuairand, "talkingdata_adtracking_100k": talkingdata}


def coordinate(text):
    return (zlib.crc32(text.encode()) ^ zlib.crc32(text[::-1].encode()) << 11) % (1 << BITS)


def write(examples, path):
    """Each field, and each cross of two. (examples, mean label)"""
    count = positives = 0
    with open(path, "w") as file:
        for label, fields in examples:
            names = [f"{name}={value}" for name, value in fields.items()]
            names += [f"{one}*{other}" for at, one in enumerate(names) for other in names[at + 1 :]]
            file.write(f"{1 if label else -1} | {' '.join(str(coordinate(name)) for name in names)}\n")
            count, positives = count + 1, positives + label
    return count, positives / count


def bench(args, file, pairs):
    command = [os.path.join(args.build, "freshet"), "bench", "learn", "--json", "--file", file, "--python", args.python, "--pairs", pairs]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def spread(values):
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def beside_river(args, file, work):
    """River on the first examples, and ours on the same, for the log loss: in so few, what our table costs to make is most of our time."""
    first = os.path.join(work, "first")
    with open(file) as whole, open(first, "w") as part:
        part.writelines(itertools.islice(whole, args.river))
    peer = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers/river_ftrl.py")
    runs = [json.loads(subprocess.run([args.python, peer, first], stdout=subprocess.PIPE, check=True).stdout) for _ in range(int(args.pairs))]
    ours = bench(args, first, "1")["ours_last"]
    return {**runs[-1], "examples_per_cpu_second": spread([run["examples_per_cpu_second"] for run in runs]),
            "log_loss_ours": ours["log_loss"], "examples": args.river}  # fmt: skip


def write_l1(args, path):
    """(examples, mean label)"""
    subprocess.run([os.path.join(args.build, "tests", "bench", "l1"), path, str(args.examples)], check=True)
    with open(path) as file:
        labels = [line.startswith("1") for line in file]
    return len(labels), statistics.mean(labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has vowpalwabbit")
    parser.add_argument("--pairs", default="3")
    parser.add_argument("--logs", default=",".join(("L1", *LOGS)), help="which of these")
    parser.add_argument("--examples", type=int, default=1_000_000, help="of L1")
    parser.add_argument("--river", type=int, default=0, metavar="N", help="River, too, on the first N examples of each log")
    args = parser.parse_args()
    data = pathlib.Path(os.environ.get("FRESHET_TEST_DATA", "/nonexistent"))
    with tempfile.TemporaryDirectory() as work:
        for name in args.logs.split(","):
            if name != "L1" and not (data / name).is_dir():
                print(json.dumps({"log": name, "skipped": f"not in FRESHET_TEST_DATA ({data})"}), flush=True)
                continue
            file = os.path.join(work, name)
            count, rate = write_l1(args, file) if name == "L1" else write(LOGS[name](data), file)
            constant = -(rate * math.log(rate) + (1 - rate) * math.log(1 - rate))
            found = bench(args, file, args.pairs)
            vw = found.get("vowpal_wabbit_last")
            row = {
                "log": name, "examples": count, "rate": round(rate, 5), "constant": round(constant, 5), "ours": found["ours"],
                "ratio": found["ratio"], "spread": found["spread"], "machine": found["machine"], "log_loss": found["ours_last"]["log_loss"],
                "log_loss_8_factors": found["ours_8_factors"]["log_loss"],
                "log_loss_vowpal_wabbit": vw["log_loss"] if vw else "skipped: no vowpalwabbit at --python",
            }  # fmt: skip
            if args.river:
                row["river"] = beside_river(args, file, work)
                theirs = row["river"]["examples_per_cpu_second"]
                row["ratio_river"] = spread([found["ours"] / theirs[name] for name in theirs])
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
