"""A feature repository over Redis with S1's rows: fill.py DIRECTORY REDIS. In Feast's environment; values.json is what serve.py wrote."""
import json
import pathlib
import sys
from datetime import datetime, timezone

import pandas
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Array, Float32, Int64


def frame(key, rows):
    """One row an entity, with the columns that Feast wants."""
    data = pandas.DataFrame(rows)
    data["event_timestamp"] = datetime.now(timezone.utc)
    return data.astype({key: "int64"})


def open_store(directory, redis):
    (directory / "feature_store.yaml").write_text(
        "project: s1\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        f"online_store: {{type: redis, connection_string: '{redis}'}}\noffline_store: {{type: file}}\n"
    )
    return FeatureStore(repo_path=str(directory))


def main():
    directory, redis = pathlib.Path(sys.argv[1]), sys.argv[2]
    values = json.loads((directory / "values.json").read_text())
    users = [{"user_id": int(user), **{f"u{i}": value for i, value in enumerate(floats)}, "recent": ids}
             for user, (floats, ids) in values["users"].items()]  # fmt: skip
    items = [{"item_id": int(item), **{f"i{i}": value for i, value in enumerate(floats)}} for item, floats in values["items"].items()]
    store = open_store(directory, redis)
    made = []
    for name, rows, key in (("users", users, "user_id"), ("items", items, "item_id")):
        path = directory / f"{name}.parquet"
        frame(key, rows[:1]).to_parquet(path)
        entity = Entity(name=name, join_keys=[key], value_type=ValueType.INT64)
        schema = [Field(name=key, dtype=Int64)]
        schema += [Field(name=one, dtype=Array(Int64) if one == "recent" else Float32) for one in rows[0] if one != key]
        view = FeatureView(name=f"{name}_view", entities=[entity], schema=schema, online=True,
                           source=FileSource(path=str(path), timestamp_field="event_timestamp"))  # fmt: skip
        made += [entity, view, FeatureService(name=name, features=[view])]
    store.apply(made)
    store.write_to_online_store("users_view", frame("user_id", users))
    for at in range(0, len(items), 1000):
        store.write_to_online_store("items_view", frame("item_id", items[at : at + 1000]))
    print(f"feast: {len(users)} users, {len(items)} items")


main()
