#!/usr/bin/env python3
"""
How well few labelled comments teach intents: held-out accuracy on public chat logs beside the most common label's and scikit-learn's (TF-IDF of the
same kinds of n-grams, logistic regression), by how many labelled ones there are. Two logs have labels; the third (Chinese, without spaces) is
labelled by a rule over some words, which is to be found again.

usage: FRESHET_TEST_DATA=DIR tests/bench/texts.py [--binary build/release/texts]; scikit-learn is optional.
"""

import argparse
import collections
import csv
import gzip
import os
import pathlib
import random
import re
import subprocess

FEW = (20, 100, 500, 2000, 8000)
LABELLED_BY = {"laugh": "哈哈|233|笑", "praise": "牛|强|帅|厉害|nb|NB", "ask": "吗|什么|为什么|怎么|\\?|？"}


def rows_of(path):
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def danmaku(data):
    found = []
    for number in (1, 2, 3):
        for row in rows_of(data / "bilibili_danmaku_lpl" / f"danmaku_video{number}.csv.gz"):
            labels = [label for label, pattern in LABELLED_BY.items() if re.search(pattern, row["text"])]
            if len(labels) <= 1:
                found.append((labels[0] if labels else "other", row["text"]))
    return found


def logs(data):
    yield "livestream_chat_emotion", [(row["label"], row["text"]) for row in rows_of(data / "livestream_chat_emotion" / "chat_text.csv.gz")]
    yield "twitch_chat_sentiment", [(row["sentiment"], row["message"]) for row in rows_of(data / "twitch_chat_sentiment" / "chat.csv.gz")]
    yield "bilibili_danmaku_lpl", danmaku(data)


def ours(binary, labels, known, judged):
    def lines(rows):
        return "".join(f"{labels.index(label)}\t{' '.join(text.split())}\n" for label, text in rows)

    text = lines(known) + "\n" + lines(judged)
    right, count, learn_s, judge_s = subprocess.run(
        [binary, str(len(labels))], input=text.encode(), capture_output=True, check=True
    ).stdout.split()
    return int(right) / int(count), float(learn_s), float(judge_s)


def theirs(known, judged):
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline, make_union
    except ImportError:
        return float("nan")
    union = make_union(TfidfVectorizer(ngram_range=(1, 2)), TfidfVectorizer(analyzer="char", ngram_range=(2, 4)))
    model = make_pipeline(union, LogisticRegression(max_iter=1000, C=10))
    model.fit([text for _, text in known], [label for label, _ in known])
    return model.score([text for _, text in judged], [label for label, _ in judged])


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", default="build/release/texts")
    arguments.add_argument("--no-peer", action="store_true")
    chosen = arguments.parse_args()
    print(f"{'log':26} {'labelled':>8} {'judged':>6} {'most common':>11} {'ours':>6} {'sklearn':>7} {'learn s':>8} {'us/text':>8}")
    for name, rows in logs(pathlib.Path(os.environ["FRESHET_TEST_DATA"])):
        rows = list({text: (label, text) for label, text in rows if text.strip()}.values())
        random.Random(1).shuffle(rows)
        judged, rest = rows[: len(rows) // 4], rows[len(rows) // 4 :]
        labels = sorted({label for label, _ in rows})
        most = collections.Counter(label for label, _ in rest).most_common(1)[0][0]
        majority = sum(label == most for label, _ in judged) / len(judged)
        for few in sorted({min(few, len(rest)) for few in FEW}):
            accuracy, learn_s, judge_s = ours(chosen.binary, labels, rest[:few], judged)
            peer = float("nan") if chosen.no_peer else theirs(rest[:few], judged)
            print(f"{name:26} {few:8} {len(judged):6} {majority:11.3f} {accuracy:6.3f} {peer:7.3f} {learn_s:8.2f} {judge_s / len(judged) * 1e6:8.1f}")


if __name__ == "__main__":
    main()
