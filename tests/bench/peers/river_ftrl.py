#!/usr/bin/env python3
"""FTRL as River has it, on a file of examples as Vowpal Wabbit reads them ("-1 | 12 7 31"): one object with examples a CPU second and the
progressive log loss. Run by tests/bench/learn.py --river; an interpreter that has river (PyPI) is needed.

    peers/river_ftrl.py FILE
"""
import json
import math
import sys
import time

import river
from river import linear_model, optim


def main():
    with open(sys.argv[1]) as file:
        rows = [line.split(" | ") for line in file]
    examples = [(label == "1", {int(name): 1.0 for name in names.split()}) for label, names in rows]
    model = linear_model.LogisticRegression(optimizer=optim.FTRLProximal(alpha=0.1, beta=1.0, l1=0.0, l2=0.0), intercept_lr=0)
    loss, before = 0.0, time.process_time()
    for label, features in examples:
        p = min(max(model.predict_proba_one(features)[True], 1e-15), 1 - 1e-15)
        loss -= math.log(p if label else 1 - p)
        model.learn_one(features, label)
    seconds = time.process_time() - before
    said = {"river": river.__version__, "examples_per_cpu_second": len(examples) / seconds, "log_loss": loss / len(examples)}
    print(json.dumps(said))


main()
