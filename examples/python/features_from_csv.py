"""From a CSV of your own to features, cell by cell (open it as a notebook, or run it: python features_from_csv.py [events.csv]).

Wants `freshet` in PATH (or FRESHET_BINARY) and the client: pip install ./clients/python
"""

# %% The log: one row an event. Here a shop's; the first rows tell what there is.
import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

import freshet

here = pathlib.Path(__file__).resolve().parent
log = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else here / "events.csv")
with open(log, newline="") as rows:
    events = list(csv.DictReader(rows))
print(f"{len(events)} events, such as {events[0]}")

# %% Columns become fields by a map. user_id, item_id and category_id already have the fields' names.
columns = "timestamp:s=ts_ms,behavior=action(view:watch,like:like,cart:add_to_cart,buy:purchase),seconds=value"

# %% What to keep: a catalogue. Time is that of the log (clock: event), so last year's events are as fresh as they were.
catalogue = """
node: { clock: event }
server: { listen: 127.0.0.1:0, operations: 127.0.0.1:0 }
entities:
  user:          { key: [user_id] }
  item:          { key: [item_id], parent: category }
  category:      { key: [category_id] }
  user_category: { key: [user_id, category_id] }
features:
  item_views:     { entity: item, actions: [watch], aggregate: count, windows: [5m, 1h] }
  item_buys:      { entity: item, actions: [purchase], aggregate: count, windows: [1h] }
  item_buy_rate:  { entity: item, aggregate: ratio, of: [item_buys, item_views], windows: [1h], prior: parent, strength: 20 }
  item_seconds:   { entity: item, actions: [watch], aggregate: mean, of: value, windows: [1h] }
  item_heat:      { entity: item, actions: [watch, like, purchase], weights: { like: 3, purchase: 20 }, aggregate: decayed, half_life: 10m }
  user_views:     { entity: user, actions: [watch], aggregate: count, windows: [1h] }
  user_recent:    { entity: user, actions: [watch, like, add_to_cart, purchase], aggregate: last, limit: 5, fields: [item_id, action, ts_ms] }
  category_views: { entity: user_category, actions: [watch], aggregate: count, windows: [1h] }
lists:
  trending: { of: item, rank: item_heat, scopes: [global, category_id], limit: 20 }
feature_sets:
  ranker: { user: [user_views, user_recent], item: [item_views, item_buy_rate, item_seconds, item_heat], cross: [category_views] }
"""
folder = tempfile.TemporaryDirectory()
configuration = pathlib.Path(folder.name) / "freshet.yaml"
configuration.write_text(catalogue)

# %% A node that reads the log. (Yours reads Kafka: freshet run --config …; freshet produce loads a file into a topic.)
binary = os.environ.get("FRESHET_BINARY", "freshet")
node = subprocess.Popen(
    [binary, "demo", "--json", "--config", configuration, "--events", log, "--map", columns],
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
)
try:
    api = json.loads(node.stdout.readline())["api"]

    with freshet.Client(api) as client:
        applied = 0
        while (now := client.status()).applied_events != applied or applied == 0 or now.lag_events != 0:
            applied = now.applied_events
            time.sleep(0.3)
        print(f"{applied} of {len(events)} rows are applied")  # fewer: values that the map does not have

        # %% Features of one user and three candidates: a matrix, a row an item.
        user, items = int(events[-1]["user_id"]), [1, 2, 3]
        features = client.get_features(user, items, feature_set="ranker")
        print(f"user {user}: {features.user}")
        print(" ".join(f"{name:>22}" for name in ("item", *features.item_columns)))
        for item, row in zip(items, features.items):
            print(" ".join(f"{value:>22.6g}" for value in (item, *row)))
        print("recently:", [int(item) for item in features.sequences[0]["item_id"]])

        # %% All users with all items, to train on: users × items × columns.
        users = sorted({int(event["user_id"]) for event in events})
        candidates = sorted({int(event["item_id"]) for event in events})
        cube = np.stack([client.get_features(each, candidates, feature_set="ranker").items for each in users])
        print(f"{cube.shape[0]} users × {cube.shape[1]} items × {cube.shape[2]} columns")

        # %% The log's own answer, for the most watched item of its last hour: the same number.
        views = features.item_columns.index("item_views.1h")
        print(f"most watched: item {candidates[int(cube[0, :, views].argmax())]}, {int(cube[0, :, views].max())} times in an hour")
finally:
    node.terminate()
    code = node.wait()
sys.exit(code)
