"""Events, and what they must come to: sums a reader can redo, for every window is longer than the test.

Event times are within the last minute and columns have windows of an hour and more, so all of it counts whenever it is read.
Values are quarters: their sums are exact in float32. A user has fewer events than `node.dedupe.ids`: duplicates find their id.
"""

import collections
import json
import random
import time

USERS, ITEMS, CREATORS = 500, 60, 12
FIRST_ID = 1 << 40  # far from those of `freshet simulate`
RECENT = 50
ACTIONS = {"watch": 3, "like": 4, "gift": 10, "purchase": 13}
FEATURES = (
    "item_watches.1h", "item_watches.24h", "item_watch_time.1h", "item_watch_time.24h", "item_likes.1h", "item_purchases.24h",
    "creator_gifts.1h", "user_recent",
)  # fmt: skip


class Traffic:
    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.records = 0  # produced, duplicates too
        self.ids = 0
        self.sums = collections.Counter()  # (column, item or creator) → value
        self.recent = collections.defaultdict(list)  # user → [(ts_ms, event_id, item, action, value)]

    def lines(self, count):
        """So many records, one of them in twenty a duplicate."""
        made = []
        while len(made) < count:
            line = json.dumps(self.event())
            made += [line] * (2 if self.dice.random() < 0.05 and len(made) + 1 < count else 1)
        self.records += count
        return made

    def event(self):
        self.ids += 1
        user, item = FIRST_ID + self.ids % USERS, FIRST_ID + self.dice.randrange(ITEMS)
        event = {
            "eventId": str(FIRST_ID + self.ids),
            "tsMs": str(int(time.time() * 1000) - self.dice.randrange(60_000)),
            "userId": str(user),
            "itemId": str(item),
            "creatorId": str(self.creator(item)),
            "action": self.dice.choices(list(ACTIONS), (6, 2, 1, 1))[0],
            "value": self.dice.randrange(400) / 4,
            "scene": "live",
        }
        self.expect(event, user, item)
        return event

    @staticmethod
    def creator(item):
        return FIRST_ID + item % CREATORS

    def expect(self, event, user, item):
        action, value = event["action"], event["value"]
        if action == "watch":
            self.sums["item_watches", item] += value >= 3
            self.sums["item_watch_time", item] += value
        elif action == "like":
            self.sums["item_likes", item] += 1
        elif action == "purchase":
            self.sums["item_purchases", item] += 1
        else:
            self.sums["creator_gifts", self.creator(item)] += value
        if action != "gift":
            self.recent[user].append((int(event["tsMs"]), int(event["eventId"]), item, ACTIONS[action], value))

    # ---- What must be read ----

    def requests(self):
        """(user, GetFeatures of the user and of all items)."""
        items = [str(FIRST_ID + i) for i in range(ITEMS)]
        for user in range(FIRST_ID, FIRST_ID + USERS):
            yield user, {"userId": str(user), "itemIds": items, "features": list(FEATURES)}

    def check(self, user, answer):
        """Fails where the answer is not what was produced."""
        self.check_items(answer)
        (recent,) = (one for one in answer["sequences"] if one["name"] == "user_recent")
        fields = {one["name"]: [*one["ids"], *one["ints"], *one["numbers"]] for one in recent["fields"]}
        kinds = {"ts_ms": int, "item_id": int, "action": int, "value": float}
        got = list(zip(*(map(kind, fields[name]) for name, kind in kinds.items())))
        newest = sorted(self.recent[user], reverse=True)[:RECENT]
        wanted = [(ts_ms, item, action, value) for ts_ms, _, item, action, value in newest]
        assert got == wanted, f"user_recent of {user}: {got}, not {wanted}"

    def check_items(self, answer):
        columns, values = answer["itemColumns"], answer["itemValues"]
        assert columns == list(FEATURES[:-1]), columns
        assert len(values) == ITEMS * len(columns), len(values)
        for row in range(ITEMS):
            item = FIRST_ID + row
            for column, got in zip(columns, values[row * len(columns) :]):
                feature = column.split(".")[0]
                wanted = self.sums[feature, self.creator(item) if feature == "creator_gifts" else item]
                assert got == wanted, f"{column} of item {item}: {got}, not {wanted}"
