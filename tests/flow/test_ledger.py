"""The exposure ledger on the simulated world: shares, deficits, Ginis, quotas and pools are what its events and its truth say."""

import collections
import pathlib
import re

import pytest
import yaml

import ledger
import world
from freshet.v1 import admin_pb2, feature_pb2, recall_pb2
from node import run_cli
from number import within
from tables import text_id

LEDGER = yaml.safe_load((pathlib.Path(__file__).parents[2] / "examples/catalogues/ledger.yaml").read_text())
TARGETS = LEDGER["features"]["tier_share"]["targets"]
QUOTA, ITEM_QUOTA = LEDGER["features"]["new_left"]["quota"], LEDGER["features"]["item_left"]["quota"]
NEWER = LEDGER["features"]["new_left"]["newer_than"]


@pytest.fixture(scope="module")
def simulated(binary, tmp_path_factory):
    """Twenty minutes of which the last ten are new."""
    return world.World(binary, tmp_path_factory.mktemp("world"), rate=8, seconds=1200, seed=5, items=4000, users=300)


def over(number, whole):
    return within(number / whole if whole else 0.0, 1e-9)


class Wanted:
    """What each item's row must show."""

    def __init__(self, simulated):
        self.world, shown = simulated, ("impression",)
        day = simulated.within("24h")
        self.day = {
            key: world.count(day, of, *shown)
            for key, of in {
                "creator, category": lambda e: (e.creator_id, e.category_id),
                "creator in category": lambda e: e.category_id if e.creator_id else 0,
                "creator, region": lambda e: (e.creator_id, self.region(e.creator_id)),
                "creator in region": lambda e: self.region(e.creator_id),
                "item": lambda e: e.item_id,
                "item in category": lambda e: e.category_id if e.item_id else 0,
                "tier": lambda e: self.tier(e.creator_id),
                "tier in all": lambda e: self.tier(e.creator_id) and "all",
                "tier, category": lambda e: (self.tier(e.creator_id), e.category_id),
                "tier in category": lambda e: self.tier(e.creator_id) and e.category_id,
            }.items()
        }
        self.new = simulated.within(NEWER)
        self.known = {"creator": self.first_panes("creator_id"), "item": self.first_panes("item_id")}
        self.recent = {"creator": world.count(self.new, lambda e: e.creator_id, *shown), "item": world.count(self.new, lambda e: e.item_id, *shown)}
        self.uneven, self.in_tier = collections.defaultdict(list), collections.defaultdict(list)
        for event in filter(world.is_of(*shown), simulated.sketched("24h")):
            self.uneven[event.category_id].append(event.creator_id)
            self.in_tier[self.tier(event.creator_id)].append(event.creator_id)

    def first_panes(self, field):
        """Who has an event that is older than new."""
        new = {event.event_id for event in self.new}
        return {getattr(event, field) for event in self.world.events if event.event_id not in new} - {0}

    def maker(self, creator, field):
        return self.world.makers[creator][field] if creator in self.world.makers else ""

    def tier(self, creator):
        return self.maker(creator, "tier")

    def region(self, creator):
        return self.maker(creator, "region")

    def left(self, kind, one, quota):
        return 0.0 if one in self.known[kind] else float(max(quota - self.recent[kind][one], 0))

    def row(self, item):
        """An item that somebody was shown: it remembers who made it and its category."""
        creator, category = (int(self.world.items[item][field]) for field in ("creatorId", "categoryId"))
        tier, region, day = self.tier(creator), self.region(creator), self.day
        tier_share = day["tier"][tier] / day["tier in all"]["all"]
        in_category = over(day["tier, category"][tier, category], day["tier in category"][category])
        return {
            "creator_share.24h": over(day["creator, category"][creator, category], day["creator in category"][category]),
            "region_share.24h": over(day["creator, region"][creator, region], day["creator in region"][region]),
            "item_share.24h": over(day["item"][item], day["item in category"][category]),
            "tier_share.24h": within(tier_share, 1e-9),
            "tier_share.24h.n": float(day["tier in all"]["all"]),
            "tier_share.24h.deficit": within(TARGETS[tier] - tier_share, 1e-7),
            "tier_in_category.24h": in_category,
            "tier_in_category.24h.deficit": within(TARGETS[tier] - float(in_category), 1e-7),
            "uneven.24h": ledger.gini(self.uneven[category]),
            "uneven_in_tier.24h": ledger.gini(self.in_tier[tier]),
            "new_left": self.left("creator", creator, QUOTA),
            "item_left": self.left("item", item, ITEM_QUOTA),
        }


def trending(node, name, **fields):
    return node.call("RecallService/Trending", recall_pb2.TrendingRequest(list=name, **fields), recall_pb2.Candidates)


def explained(node, entity, key, column):
    request = admin_pb2.ExplainRequest(entity=feature_pb2.EntityKey(entity=entity, key=key), feature=column)
    return node.call("AdminService/Explain", request, admin_pb2.ExplainResponse)


@pytest.fixture(scope="module")
def run(simulated, module_node):
    return simulated.run(module_node, LEDGER), Wanted(simulated)


def test_every_item_shows_the_shares_deficits_and_quotas_of_those_behind_it(run):
    node, wanted = run
    shown = sorted(item for (item,) in {(event.item_id,) for event in wanted.world.events} if item)
    names = list(wanted.row(shown[0]))
    found = world.columns(node, shown, [name for name in names if not name.endswith((".n", ".deficit"))])
    for item, row in zip(shown, found):
        assert row == wanted.row(item), f"item {item}"
    rows = [wanted.row(item) for item in shown]
    assert {row["tier_share.24h.deficit"] > 0 for row in found} == {True, False} and len(shown) > 300
    assert len({row["new_left"] for row in found}) > 3 and max(float(row["uneven.24h"]) for row in rows) > 0.2


def test_the_shares_of_a_scope_add_up_to_1_and_its_deficits_to_0(run):
    node, wanted = run
    found = {}
    for tier in TARGETS:
        reply = explained(node, "tier", [text_id(tier)], "tier_share.24h")
        found[tier] = dict(zip(reply.columns, reply.values))
        assert {(one.of, one.side) for one in reply.operands} == {("own", "numerator"), ("all", "denominator")}
    assert sum(one["tier_share.24h"] for one in found.values()) == pytest.approx(1, abs=1e-6)
    assert sum(one["tier_share.24h.deficit"] for one in found.values()) == pytest.approx(0, abs=1e-6)
    viewers = world.count(wanted.world.within("24h"), lambda e: (e.creator_id, e.region), "impression")
    in_region = world.count(wanted.world.within("24h"), lambda e: e.creator_id and e.region, "impression")
    for creator, region in sorted(viewers)[::150]:
        reply = explained(node, "creator_audience", [creator, region], "audience_share.24h")
        assert over(viewers[creator, region], in_region[region]) == reply.values[0]


def test_a_row_without_a_tier_has_no_share_and_no_deficit(run):
    node, wanted = run
    (row,) = world.columns(node, [77], ["tier_share.24h", "creator_share.24h", "new_left", "uneven.24h"])
    whole = float(wanted.day["tier in all"]["all"])
    assert row == {
        "tier_share.24h": 0, "tier_share.24h.n": whole, "tier_share.24h.deficit": 0, "creator_share.24h": 0, "new_left": QUOTA, "uneven.24h": 0,
    }  # fmt: skip


def test_pools_have_what_is_new_with_what_is_left_of_its_quota(run):
    node, wanted = run
    for name, kind, field, quota in (("new_creators", "creator", "creator_id", QUOTA), ("new_items", "item", "item_id", ITEM_QUOTA)):
        seen = {getattr(event, field) for event in wanted.world.events} - {0}
        left = {one: wanted.left(kind, one, quota) for one in seen}
        firsts = {}
        for event in wanted.world.events:
            firsts[getattr(event, field)] = min(firsts.get(getattr(event, field), event.ts_ms), event.ts_ms)
        new = {one for one in seen if wanted.world.time_ms - firsts[one] < 600_000 and left[one] > 0}
        new -= wanted_off(wanted.world) if kind == "item" else set()
        best_first = sorted(new, key=lambda one: (-left[one], one))
        reply = trending(node, name)
        assert list(reply.ids) == best_first and list(reply.scores) == [left[one] for one in best_first], name
        assert list(trending(node, name, limit=2).ids) == best_first[:2] and len(best_first) > 2


def wanted_off(simulated):
    """Items that are off, or whose room has ended, at the end."""
    latest, room = {}, {}
    for event in sorted(simulated.events, key=lambda one: (one.ts_ms, one.event_id)):
        for field, on, off in (("item_id", 19, 20), ("room_id", 17, 18)):
            if event.action in (on, off) and getattr(event, field):
                latest[field, getattr(event, field)] = event.action == on
        if event.item_id and event.room_id:
            room[event.item_id] = event.room_id
    ended = {item for item, one in room.items() if latest.get(("room_id", one)) is False}
    return ended | {one for (field, one), is_on in latest.items() if field == "item_id" and not is_on}


def test_the_status_tells_what_each_tier_has(run):
    node, wanted = run
    told = {(row["column"], row["name"]): row for row in node.status()["ledger"]}
    whole = wanted.day["tier in all"]["all"]
    for tier, target in TARGETS.items():
        row = told["tier_share.24h", tier]
        share = wanted.day["tier"][tier] / whole
        assert (row["value"], row["target"], row["whole"]) == (pytest.approx(share), target, whole)
        assert row["deficit"] == pytest.approx(target - share) and row["id"] == str(text_id(tier))
        assert ledger.gini(wanted.in_tier[tier]) == told["uneven_in_tier.24h", tier]["value"]
    assert len(told) == 3 * 3  # two windows of the share and one of the Gini


@pytest.mark.long
def test_new_creators_that_the_simulator_planted_are_found(binary, make_node, tmp_path):
    """A world so busy that whoever was there from the beginning was seen in the first ten minutes."""
    busy = world.World(binary, tmp_path, rate=100, seconds=1200, seed=5, items=3000)
    node = busy.run(make_node, LEDGER)
    found = set(trending(node, "new_creators").ids)
    came = {int(one["creatorId"]): int(one["fromMs"]) for one in busy.told("creator")}
    seen = {event.creator_id for event in busy.events}
    lately = {creator for creator, from_ms in came.items() if from_ms > busy.time_ms - 600_000 and creator in seen}
    print(f"new creators: {len(found & lately)} of {len(lately)} found; {len(found & set(came))} of {len(found)} found are new")
    assert len(lately) >= 5 and len(found & lately) >= 0.9 * len(lately) and len(found & set(came)) >= 0.8 * len(found)


# ---- Bad input ----

SMALL = """
kafka: {{ topics: [ {{ name: e }} ] }}
tables: {{ info: {{ topic: t, key: creator_id, fields: {{ tier: id, tags: ids }} }} }}
entities:
  item: {{ key: [item_id] }}
  creator: {{ key: [creator_id], parent: item }}
  tier: {{ key: [info.tier] }}
  tag: {{ key: [info.tags] }}
  pair: {{ key: [creator_id, info.tier] }}
features:
  n: {{ entity: {entity}, aggregate: count, windows: [1h] }}
  bad: {{ entity: {entity}, aggregate: {settings} }}
"""


@pytest.mark.parametrize(
    ("entity", "settings", "message"),
    [
        ("tier", "share, of: n, windows: [1h], targets: { new: 0.3, known: 0.6 }", "targets: they add up to 0.9, not to 1; mend one of them"),
        ("tier", "share, of: n, windows: [1h], targets: { new: 1.5, known: -0.5 }", "bad.*new"),
        ("tier", f"share, of: n, windows: [1h], targets: {{ new: 0.5, '{text_id('new')}': 0.5 }}", "' twice"),
        ("tier", "share, of: n, windows: [1h], targets: { '0': 1 }", "names nothing"),
        ("tier", "share, of: n, windows: [1h], targets: [new]", "should be a map of 1 to 64 shares"),
        ("tier", "share, of: n, windows: [1h], emit: [deficit]", "a deficit is against targets"),
        ("pair", "share, of: n, windows: [1h], targets: { new: 1 }", "which do they name"),
        ("tier", "share, of: n, windows: [1h], scope: parent", "has no parent; give it one, or use global"),
        ("creator", "share, of: n, windows: [1h], scope: parent", "can't tell which item is the parent"),
        ("tag", "share, of: n, windows: [1h]", "would not add up"),
        ("tier", "share, of: n, windows: [24h]", "n has no window 24h"),
        ("tier", "quota, quota: 5, newer_than: 1h, forgotten_after: 1h", "longer than newer_than"),
        ("tier", "quota, quota: 0, newer_than: 1h", "quota"),
        ("tier", "quota, quota: 5, newer_than: 5s", "at least 24s"),
        ("tier", "gini, of: value, windows: [1h]", "unknown name 'value'"),
    ],
)
def test_a_ledger_that_does_not_add_up_is_refused(binary, tmp_path, entity, settings, message):
    file = tmp_path / "bad.yaml"
    file.write_text(SMALL.format(entity=entity, settings=settings))
    done = run_cli(binary, "check", "--config", file)
    assert done.returncode != 0
    assert re.search(message, done.stderr)
