"""Features of a node that runs, beside the CSV that its events came from, cell by cell (open it as a notebook, or run it):

    python features_from_staging.py my.csv        # FRESHET_API: the node, 127.0.0.1:7070

docs/first-steps.md has the steps before it. Wants the client: pip install ./clients/python
"""

# %% The CSV, with columns of its own: when, member, product, shelf, what, secs. What they are to Freshet the map said.
import csv
import os
import pathlib
import sys
import time

import numpy as np

import freshet

with open(pathlib.Path(sys.argv[1]), newline="") as lines:
    rows = list(csv.DictReader(lines))
members = sorted({int(row["member"]) for row in rows})
products = sorted({int(row["product"]) for row in rows})
print(f"{len(rows)} rows of {len(members)} members and {len(products)} products, such as {rows[0]}")

# %% The node, once nothing waits in its topic.
client = freshet.Client(os.environ.get("FRESHET_API", "127.0.0.1:7070"))
while client.status().lag_events != 0:
    time.sleep(0.1)
print(f"the node has {client.status().applied_events} events")

# %% One member and three candidates: a matrix, a row a product. The columns are those of the set `fine_rank`.
features = client.get_features(members[0], products[:3], feature_set="fine_rank")
shown = [features.item_columns.index(name) for name in ("item_watches.1h", "item_watch_time.24h", "item_likes.24h")]
print(" ".join(f"{name:>20}" for name in ("product", *(features.item_columns[i] for i in shown))))
for product, row in zip(products, features.items):
    print(" ".join(f"{value:>20.6g}" for value in (product, *row[shown])))
recent = features.sequences[0]
print(f"member {members[0]} last: {[int(item) for item in recent['item_id'][:5]]}")

# %% All members with all products, to train on: members × products × columns.
cube = np.stack([client.get_features(member, products, feature_set="fine_rank").items for member in members])
print(f"{cube.shape[0]} members × {cube.shape[1]} products × {cube.shape[2]} columns")

# %% The CSV's own answer beside the node's, product by product: views of 3 s and more, the seconds of all, likes.
wrong = 0
for at, product in enumerate(products):
    own = [row for row in rows if int(row["product"]) == product]
    seen = [float(row["secs"]) for row in own if row["what"] == "seen"]
    wanted = {
        "item_watches.24h": sum(seconds >= 3 for seconds in seen),
        "item_watch_time.24h": sum(seen),
        "item_likes.24h": sum(row["what"] == "liked" for row in own),
        "item_purchases.24h": sum(row["what"] == "bought" for row in own),
    }
    wrong += sum(abs(cube[0, at, features.item_columns.index(name)] - value) > 1e-3 for name, value in wanted.items())
print(f"{len(products)} products × {len(wanted)} columns beside the CSV: {wrong} differ")
client.close()
sys.exit(1 if wrong else 0)
