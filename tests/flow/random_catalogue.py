"""Random catalogues and event streams: each seed makes one valid configuration and events that are difficult for it.

`catalogue(dice, aggregates)` uses nothing that is not in `aggregates`, so that a node of an earlier version can be tested too.
`stream(dice, count)` is late, shuffled, tied, repeated, on the edges of panes, with clock jumps, idle keys and changing attributes.
`shrunk()` makes a failing pair small.
"""

import oracle

COMPANIONS = "emit"  # the key itself: n, sd, age
BOUNDS = "bounds"  # of ratios
ALL = (
    "count", "sum", "last", "match", "mean", "min", "max", "decayed", "distinct", "quantile", "ratio", "gauge", "series", "covisit",
    "coec", "watch_rank", "ips", "capped", "burst", "actor", "share", "gini", "quota", "returning", "budget",
    "lists", COMPANIONS, BOUNDS,
)  # fmt: skip
ENTITIES = {
    "user": ["user_id"], "item": ["item_id"], "creator": ["creator_id"], "room": ["room_id"], "category": ["category_id"],
    "user_category": ["user_id", "category_id"], "user_creator": ["user_id", "creator_id"], "user_item": ["user_id", "item_id"],
    "user_room": ["room_id", "user_id"],
}  # fmt: skip
PARENTS = {
    "item": ["creator", "category", "room"], "room": ["creator"], "user_category": ["category"], "user_creator": ["creator"],
    "user_item": ["item", "user"],
}  # fmt: skip
ACTIONS = [name for name in oracle.ACTIONS[1:] if name not in ("room_start", "room_end", "item_on", "item_off")]
SCENES = oracle.SCENES[1:]
WINDOWS = ("24s", "1m", "90s", "4m", "5m", "10m", "24m", "1h", "100m", "2h", "6h", "24h", "36h", "7d", "30d")
ID_FIELDS = ("item_id", "creator_id", "room_id", "category_id", "region", "request_id", "event_id", "user_id")
FIELDS = (*ID_FIELDS, "action", "scene", "ts_ms", "position", "value", "duration_s")
SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000
START_MS = 1_699_999_980_000


def some(dice, choices, least=1, most=4):
    """A few different ones, in any order."""
    return dice.sample(list(choices), dice.randint(least, min(most, len(choices))))


# ---- Conditions ----


def comparison(dice):
    sign = dice.choice(("==", "=", "!=", "<>", "<", "<=", ">", ">="))
    number = dice.choice((0, 1, 3, 2.5, -1, 10, 30, 59.9, 1e3))
    field = dice.choice(("value", "duration_s", "position", "item_id", "region", "category_id"))
    match dice.randrange(9):
        case 0:
            return f"action {dice.choice(('==', '!='))} {dice.choice(ACTIONS)}"
        case 1:
            return f"action {dice.choice(('', 'not '))}in ({', '.join(some(dice, ACTIONS))})"
        case 2:
            return f"scene {dice.choice(('==', '!='))} {dice.choice(SCENES)}"
        case 3:
            return f"{field} {dice.choice(('', 'not '))}in [{', '.join(map(str, some(dice, range(10))))}]"
        case 4:
            return f"attributes.brand {dice.choice(('=', '!='))} '{dice.choice(('acme', 'zenith'))}'"
        case 5:
            return f"attributes.price {sign} {dice.randint(1, 20)}"
        case 6:
            return f"value {dice.choice('+-*/')} duration_s {sign} {number}"
        case 7:
            return f"-({field} - {number}) * 2 {sign} {dice.choice((0, 5, -7.5))}"
    return f"{field} {sign} {number}"


def condition(dice, depth=2):
    if depth == 0 or dice.random() < 0.4:
        return comparison(dice)
    if dice.random() < 0.2:
        return f"not ({condition(dice, depth - 1)})"
    return f"({condition(dice, depth - 1)}) {dice.choice(('and', 'or'))} ({condition(dice, depth - 1)})"


# ---- Catalogues ----


class Maker:
    def __init__(self, dice, aggregates):
        self.dice, self.aggregates = dice, set(aggregates)
        self.entities, self.features, self.lists = {}, {}, {}

    def name(self, aggregate):
        return f"f{len(self.features)}_{aggregate}"

    def put(self, aggregate, entity, settings, is_filtered=True):
        """Names a feature and adds what any feature may have."""
        dice = self.dice
        settings = {"entity": entity, "aggregate": aggregate, **settings}
        if is_filtered:
            if "actions" not in settings and dice.random() < 0.6 and aggregate not in ("gauge", "coec"):
                settings["actions"] = some(dice, ACTIONS, 1, 6)
            if dice.random() < 0.3:
                settings["where"] = condition(dice)
            if dice.random() < 0.2:
                settings["scenes"] = some(dice, SCENES, 1, 3)
        bare = ("last", "series", "covisit", "actor", "share", "quota", "budget")
        if COMPANIONS in self.aggregates and aggregate not in bare and dice.random() < 0.5:
            kinds = ["age"] + ["n"] * (aggregate not in ("gauge", "burst")) + ["sd"] * (aggregate in ("ratio", "coec", "watch_rank"))
            kinds += ["lower", "upper"] * (aggregate == "ratio" and BOUNDS in self.aggregates)
            kinds += ["chain"] * ("prior" in settings)
            settings["emit"] = ["value", *some(dice, kinds, 1, 3)]
            dice.shuffle(settings["emit"])
        name = self.name("match" if "match" in settings else aggregate)
        self.features[name] = settings
        return name

    def entity(self, among=None):
        return self.dice.choice(sorted(among or self.entities))

    def windows(self):
        return some(self.dice, WINDOWS, 1, 4)

    def make(self, aggregate):
        getattr(self, f"make_{aggregate}", lambda: self.make_windowed(aggregate))()

    def make_windowed(self, aggregate):
        settings = {"windows": self.windows()}
        if aggregate in ("sum", "mean", "min", "max", "quantile"):
            settings["of"] = self.dice.choice(("value", "value", "duration_s"))
        if aggregate == "sum" and self.dice.random() < 0.3:
            settings["actions"] = some(self.dice, ACTIONS, 2, 6)
            settings["minus"] = some(self.dice, settings["actions"], 1, 2)
        if aggregate == "returning" and self.dice.random() < 0.5:
            settings["visits"] = self.dice.choice((2, 3, 5))
        if aggregate == "quantile":
            settings["q"] = self.dice.choice((0.01, 0.5, 0.9, 0.99))
        if aggregate == "distinct":
            settings["of"] = self.dice.choice(ID_FIELDS)
        self.put(aggregate, self.entity(), settings)

    def make_last(self, entity=None, **settings):
        dice = self.dice
        fields = some(dice, FIELDS, 1, 8)
        limit = dice.choice((1, 3, 10, 20, 65, 130))
        if dice.random() < 0.3:
            settings["seen"], fields = True, sorted({*fields, "item_id"})
        return self.put("last", entity or self.entity(), {"limit": limit, "fields": fields, **settings})

    def user_sequence(self):
        """A `last` of the user, an old one or a new."""
        made = [name for name, one in self.features.items() if one["aggregate"] == "last" and one["entity"] == "user"]
        made = [name for name in made if "match" not in self.features[name]]
        name = self.dice.choice(made) if made and self.dice.random() < 0.7 else self.make_last("user")
        self.features[name]["fields"] = sorted({*self.features[name]["fields"], "item_id", "ts_ms"})
        return name

    def make_match(self):
        settings = {"of": self.user_sequence(), "match": self.dice.choice(("category_id", "creator_id", "room_id"))}
        self.put("last", "user", {**settings, "limit": self.dice.choice((1, 3, 20))}, is_filtered=False)

    def make_decayed(self, entity=None):
        dice, settings = self.dice, {"half_life": self.dice.choice(("30s", "1m", "10m", "1h", "1d"))}
        if dice.random() < 0.7:
            settings["actions"] = some(dice, ACTIONS, 1, 5)
            weights = some(dice, settings["actions"], 1, 3)
            settings["weights"] = {action: dice.choice((0.1, 0.3, 1, 2.5, 20, 10_000)) for action in weights}
        return self.put("decayed", entity or self.entity(), settings)

    def make_ratio(self):
        dice, entity, windows = self.dice, self.entity(), self.windows()
        operands, actions = [], some(dice, ACTIONS, 2, 8)
        for part in (actions[:1], actions):
            aggregate = dice.choice([one for one in ("count", "count", "sum", "ips") if one in self.aggregates])
            of = {"of": "duration_s"} if aggregate == "sum" else {}
            of.update({"actions": part} if dice.random() < 0.7 else {})
            more = [window for window in some(dice, WINDOWS, 1, 2) if window not in windows]
            operands.append(self.put(aggregate, entity, {"windows": windows + more, **of}))
        settings = {"of": operands, "windows": some(dice, windows, 1, 3)}
        if dice.random() < 0.8:
            settings["prior"] = dice.choice(("parent", "global")) if self.entities[entity].get("parent") else "global"
            chain = [parent for parent in PARENTS.get(entity, ()) if parent in self.entities]
            if chain and dice.random() < 0.4:
                settings["prior"] = some(dice, chain, 1, 3) + some(dice, ["global"], 0, 1)
            settings["strength"] = dice.choice((0.5, 1, 20, 50))
        self.put("ratio", entity, settings, is_filtered=False)

    def make_share(self):
        dice, entity, windows = self.dice, self.entity(), self.windows()
        aggregate = dice.choice([one for one in ("count", "count", "sum", "ips") if one in self.aggregates])
        own = self.put(aggregate, entity, {"windows": windows, **({"of": "duration_s"} if aggregate == "sum" else {})})
        settings = {"of": own, "windows": some(dice, windows, 1, 2)}
        parent = self.entities[entity].get("parent")
        if parent and dice.random() < 0.7:
            settings["scope"] = "parent"
        of_scope = self.entities[parent]["key"] if "scope" in settings else []
        if len(set(self.entities[entity]["key"]) - set(of_scope)) == 1 and dice.random() < 0.8:
            settings["targets"] = dice.choice(({1: 0.25, 2: 0.75}, {1: 0.5, 3: 0.25, "new": 0.25}, {2: 1}))
            settings["emit"] = ["deficit", "value"]
        if COMPANIONS in self.aggregates and dice.random() < 0.5:
            settings["emit"] = [*settings.get("emit", ["value"]), "n"]
        self.put("share", entity, settings, is_filtered=False)

    def make_gini(self):
        of = self.dice.choice(("creator_id", "item_id", "room_id", "category_id", "region", "user_id"))
        self.put("gini", self.entity(), {"windows": self.windows(), "of": of})

    def make_quota(self, entity=None):
        dice = self.dice
        newer = dice.choice(("1m", "1h", "24h"))
        known = {"forgotten_after": dice.choice(("2h", "7d"))} if newer != "24h" else {}
        quota = dice.choice((1, 5, 20, 1000))
        return self.put("quota", entity or self.entity(), {"quota": quota, "newer_than": newer, **known})
    def make_budget(self):
        dice, entity, windows = self.dice, self.entity(), self.windows()
        of = [self.put("count", entity, {"windows": windows}) for _ in range(2)]
        settings = {"of": of, "windows": windows, "share": dice.choice((0, 0.05, 1)), "plus": dice.choice((0, 7))}
        self.put("budget", entity, settings, is_filtered=False)

    def make_coec(self):
        dice, ways = self.dice, some(self.dice, ACTIONS, 2, 6)
        settings = {"shown": ways[:1], "clicked": ways[1:]} if dice.random() < 0.5 else {}
        settings.update({"positions": dice.choice((1, 2, 30))} if dice.random() < 0.6 else {})
        settings.update({"curve": dice.choice(("global", "scene")), "strength": dice.choice((0, 0.5, 10))})
        self.put("coec", self.entity(), {"windows": self.windows(), **settings})

    def make_watch_rank(self):
        settings = {"strength": self.dice.choice((1, 20))} if self.dice.random() < 0.5 else {}
        self.put("watch_rank", self.entity(), {"windows": self.windows(), **settings})

    def make_ips(self):
        dice, settings = self.dice, {"windows": self.windows()}
        settings.update({"of": dice.choice(("value", "duration_s"))} if dice.random() < 0.5 else {})
        settings.update({"floor": dice.choice((0.0001, 0.1, 1))} if dice.random() < 0.5 else {})
        if dice.random() < 0.5:
            settings["actions"] = some(dice, ACTIONS, 1, 5)
            settings["weights"] = {action: dice.choice((0.1, 2.5, 10_000)) for action in settings["actions"][:2]}
        self.put("ips", self.entity(), settings)

    def make_capped(self):
        self.put("capped", self.entity(), {"windows": self.windows(), "cap": self.dice.choice((1, 2, 3, 10, 255))})

    def make_burst(self):
        dice = self.dice
        settings = {"bin": dice.choice(("1s", "10s", "1m", "1h")), "bins": dice.choice((10, 20, 60)), "slack": dice.choice((0, 1, 3))}
        self.put("burst", self.entity(), settings)

    def make_actor(self):
        dice, source = self.dice, self.make_last("user")
        settings = {"of": source, "events": dice.choice((2, 20, 256))} if dice.random() < 0.7 else {"of": source}
        settings.update({"field": dice.choice(("item_id", "creator_id"))} if dice.random() < 0.5 else {})
        settings["show"] = dice.choice(("rate", "repetition", "regularity", "score"))
        self.put("actor", "user", settings, is_filtered=False)

    def make_gauge(self):
        ways = some(self.dice, ACTIONS, 2, 8)
        cut = self.dice.randint(1, len(ways) - 1)
        settings = {"up": ways[:cut], "down": ways[cut:], "timeout": self.dice.choice(("24s", "1m", "10m", "1h", "24h"))}
        self.put("gauge", self.entity(), settings)

    def make_series(self):
        settings = {"bin": self.dice.choice(("1s", "10s", "1m", "1h", "1d")), "bins": self.dice.choice((1, 6, 60))}
        self.put("series", self.entity(), {**settings, "actions": some(self.dice, ACTIONS, 1, 5)})

    def make_covisit(self):
        dice = self.dice
        settings = {"from": self.user_sequence(), "within": dice.choice(("1s", "5m", "30m", "1d")), "limit": dice.choice((2, 10, 50))}
        self.put("covisit", "item", {**settings, "half_life": dice.choice(("10m", "1h", "1d"))}, is_filtered=False)

    def make_lists(self):
        dice, of = self.dice, self.entity({"item", "item", "creator", "room", "category"} & set(self.entities))
        scopes = some(dice, ("global", "category_id", "region", "scene", "creator_id", "room_id"), 1, 4)
        limit = dice.choice((3, 10, 200))
        if "quota" in self.aggregates and dice.random() < 0.4:
            of = self.entity({"item", "room"} & set(self.entities))
            self.lists[f"list{len(self.lists)}"] = {"of": of, "rank": self.make_quota(of), "scopes": ["global"], "limit": limit}
            return
        self.lists[f"list{len(self.lists)}"] = {"of": of, "rank": self.make_decayed(of), "scopes": scopes, "limit": limit}


def catalogue(dice, aggregates=ALL, features=12):
    """A valid catalogue of about so many features; every aggregate comes in its turn, from a random one on."""
    maker = Maker(dice, aggregates)
    kept = {"user", "item", *some(dice, ENTITIES, 3, len(ENTITIES))}
    for name in [name for name in ENTITIES if name in kept]:
        settings = {"key": ENTITIES[name]}
        # Of users and items more depends on the retention than what a read shows: their sequences, their first events.
        if dice.random() < 0.5:
            settings["retention"] = dice.choice(("7d", "60d", 0) if name in ("user", "item", "room") else ("24h", "36h", "7d", 0))
        parents = [parent for parent in PARENTS.get(name, ()) if parent in kept]
        if parents and dice.random() < 0.8:
            settings["parent"] = dice.choice(parents)
        maker.entities[name] = settings
    kinds = [one for one in ALL if one in maker.aggregates and one not in (COMPANIONS, BOUNDS)]
    dice.shuffle(kinds)
    while len(maker.features) < features:
        for aggregate in kinds[:features]:
            maker.make(aggregate)
    made = {"entities": maker.entities, "features": maker.features}
    if maker.lists:
        made["lists"] = maker.lists
    return made


# ---- Streams ----


def value_of(dice):
    return dice.choice((0.0, 1.0, -2.5, 0.5e-6, 0.1, 1e9, dice.uniform(0, 60), dice.uniform(0, 60), round(dice.uniform(0, 99), 2)))


class Clock:
    """Event times that go on, jump, come late and fall on edges."""

    def __init__(self, dice):
        self.dice, self.now_ms, self.last_ms = dice, START_MS, START_MS
        self.pace_ms = dice.choice((3, 20, 400, 8_000))
        self.ahead = dice.choice((0, 0, 0.001))  # how many of one producer's events are ahead of all others
        self.end_ms = START_MS + 6 * DAY_MS

    def tick(self):
        dice = self.dice
        self.now_ms += int(dice.expovariate(1 / self.pace_ms))
        if dice.random() < 0.002:
            self.now_ms += dice.choice((MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, 10 * HOUR_MS, DAY_MS))
        self.now_ms = min(self.now_ms, self.end_ms)
        at = self.now_ms
        kind = dice.random()
        if kind < 0.10:
            at = self.last_ms  # a tie
        elif kind < 0.35:
            at -= int(dice.expovariate(1 / dice.choice((SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS))))  # late
        elif kind < 0.35 + self.ahead:
            at += dice.choice((MINUTE_MS, HOUR_MS))
        if dice.random() < 0.2:
            grain = dice.choice((SECOND_MS, 10 * SECOND_MS, MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, DAY_MS))
            at = at // grain * grain + dice.choice((0, 0, -1, 1))
        self.last_ms = max(at, START_MS - DAY_MS)
        return self.last_ms


def stream(dice, count, is_valid=False):
    """Events in the order of arrival; `is_valid`: without such as become dead letters or have no id."""
    clock, sent, profiles = Clock(dice), [], {}
    users, items = dice.choice((1, 8, 40)), dice.choice((3, 30, 200))
    favourites = some(dice, ACTIONS, 3, 8)
    for number in range(count):
        if sent and dice.random() < 0.05:
            sent.append(dice.choice(sent[-dice.choice((1, 30, 1000)) :]))  # again
            continue
        item_id = dice.choice((0, *[min(int(dice.paretovariate(0.7)), items)] * 9))
        if item_id not in profiles or dice.random() < 0.01:  # an attribute changes
            profiles[item_id] = dice.randint(0, 8), dice.randint(0, 5), dice.randint(0, 6)
        creator_id, room_id, category_id = profiles[item_id]
        event = oracle.normal({"ts_ms": clock.tick(), "item_id": item_id, "value": value_of(dice)})
        event["action"] = oracle.ACTIONS.index(dice.choice(ACTIONS if dice.random() < 0.3 else favourites))
        if dice.random() < 0.02:
            event["action"] = oracle.ACTIONS.index(dice.choice(("room_start", "room_end", "item_on", "item_off")))
        event["user_id"] = dice.choice((0, 2**64 - 1, *[dice.randint(1, users)] * 40))
        if number > count // 2 and event["user_id"] % 3 == 1:
            event["user_id"] = 2  # every third user is idle from half of it on
        event["event_id"] = dice.choice((0, *[dice.getrandbits(64)] * 9, dice.randint(1, count)))
        for field, value in (("creator_id", creator_id), ("room_id", room_id), ("category_id", category_id)):
            event[field] = value if dice.random() < 0.8 else 0
        event["region"], event["scene"], event["position"] = dice.randint(0, 3), dice.randint(0, 5), dice.randint(0, 3)
        event["duration_s"] = dice.choice((0.0, 10.0, 59.9))
        event["propensity"] = dice.choice((0.0, 0.0, 0.5, 0.03125, 1.0, 1.5))
        event["request_id"] = dice.choice((0, dice.getrandbits(64), dice.randint(1, 300)))
        if dice.random() < 0.3:
            event["attributes"] = {"brand": dice.choice(("acme", "zenith")), "price": str(dice.randint(1, 20))}
        if is_valid:
            event["event_id"] = event["event_id"] or number + 1
        elif dice.random() < 0.01:
            bad = (("ts_ms", 0), ("ts_ms", oracle.TS_MS_END), ("value", float("nan")), ("value", -1.1e12), ("action", 77))
            field, value = dice.choice(bad)
            event[field] = value
        sent.append(event)
    return sent


# ---- Shrinking ----


def needed(made, names):
    """`names` and the features that they are made of."""
    wanted, more = set(), list(names)
    while more:
        name = more.pop()
        if name not in wanted:
            wanted.add(name)
            settings = made["features"][name]
            of = settings.get("of") if settings["aggregate"] in ("ratio", "share", "actor") or "match" in settings else []
            more += [of] if isinstance(of, str) else of
            more += [settings["from"]] if "from" in settings else []
    return wanted


def reduced(made, names):
    """The catalogue with those features, what they are made of, the lists that rank by them, and all entities."""
    wanted = needed(made, names)
    kept = {**made, "features": {name: settings for name, settings in made["features"].items() if name in wanted}}
    lists = {name: one for name, one in made.get("lists", {}).items() if one["rank"] in wanted}
    kept.pop("lists", None)
    return {**kept, "lists": lists} if lists else kept


def fewer(things, fails, budget):
    """A shorter list that still fails (delta debugging); `budget` is a list of one number, the tries left."""
    parts = 2
    while len(things) > 1 and budget[0] > 0:
        size = -(-len(things) // parts)
        for at in range(0, len(things), size):
            rest = things[:at] + things[at + size :]
            budget[0] -= 1
            if rest and fails(rest):
                things, parts = rest, max(parts - 1, 2)
                break
            if budget[0] <= 0:
                break
        else:
            if size == 1:
                break
            parts = min(parts * 2, len(things))
    return things


def shrunk(made, sent, fails, tries=80):
    """A small catalogue and few events for which `fails(catalogue, events)` still holds."""
    budget = [tries // 3]
    names = fewer(sorted(made["features"]), lambda names: fails(reduced(made, names), sent), budget)
    made, budget = reduced(made, names), [tries]
    return made, fewer(sent, lambda events: fails(made, events), budget)
