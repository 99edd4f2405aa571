"""Mixed pages and what creators earn, on the simulated world: every column of the example catalogues is what the events say."""

import collections
import importlib.util
import pathlib
import sys

import pytest
import yaml

import world
from aggregate import SKETCH_PANES, Window
from freshet.v1 import admin_pb2, event_pb2, feature_pb2
from number import within

CATALOGUES = pathlib.Path(__file__).resolve().parents[2] / "examples/catalogues"
MIXED = yaml.safe_load((CATALOGUES / "mixed.yaml").read_text())
CREATORS = yaml.safe_load((CATALOGUES / "creators.yaml").read_text())
SHORT_VIDEO, MALL = event_pb2.SHORT_VIDEO, event_pb2.MALL
EXACT = 1e-9


@pytest.fixture(scope="module")
def simulated(binary, tmp_path_factory):
    return world.World(binary, tmp_path_factory.mktemp("world"), rate=10, seconds=720, seed=9, items=1200, users=100, transfer=30)


def explained(node, entity, key, feature):
    request = admin_pb2.ExplainRequest(entity=feature_pb2.EntityKey(entity=entity, key=key), feature=feature)
    reply = node.call("AdminService/Explain", request, admin_pb2.ExplainResponse)
    return dict(zip(reply.columns, reply.values))


def ratio(num, den, prior=0.0, strength=0):
    return (num + strength * prior) / (den + strength) if den + strength else prior


def near(value):
    return within(value, abs(value) * 1e-6 + EXACT)


class Sums:
    """Counts and sums by key, and those of all together."""

    def __init__(self, events, key):
        self.events, self.key = events, key

    def count(self, *actions, only=lambda event: True):
        return world.count(filter(only, self.events), self.key, *actions)

    def money(self, *actions, minus=(), only=lambda event: True):
        return world.money(filter(only, self.events), self.key, *actions, minus=minus)

    def whole(self):
        return Sums(self.events, lambda event: "all")


# ---- Mixed pages ----


@pytest.fixture(scope="module")
def mixed(simulated, module_node):
    return simulated.run(module_node, MIXED)


def test_every_slot_tells_what_it_brings_for_each_exposure(mixed, simulated):
    day = simulated.within("24h")
    slots, scenes = Sums(day, lambda e: (e.scene, e.position)), Sums(day, lambda e: e.scene)
    shown, clicks, entries = slots.count("impression"), slots.count("click"), slots.count("enter_room")
    watch, revenue = slots.money("watch"), slots.money("purchase", "gift", "refund", minus=("refund",))
    scene_shown, scene_clicks, scene_entries = scenes.count("impression"), scenes.count("click"), scenes.count("enter_room")
    scene_watch, scene_revenue = scenes.money("watch"), scenes.money("purchase", "gift", "refund", minus=("refund",))
    assert {scene for scene, _ in shown} == {SHORT_VIDEO, MALL} and len(shown) == 6 + 8
    for (scene, position), count in sorted(shown.items()):

        def drawn(num, scene_num, strength, scene=scene, position=position):
            """By the scene's ratio, itself drawn to that of all."""
            everybody = sum(scene_num.values()) / sum(scene_shown.values())
            parent = ratio(scene_num[scene], scene_shown[scene], everybody, strength)
            return near(ratio(num[scene, position], shown[scene, position], parent, strength))

        found = {}
        for name in ("slot_shown", "slot_clicks", "slot_watch", "slot_revenue", "slot_entries", "slot_click_rate", "slot_value", "slot_watch_mean", "slot_transfer"):
            found.update(explained(mixed, "slot", [scene, position], f"{name}.24h"))
        assert found["slot_shown.24h"] == count and found["slot_clicks.24h"] == clicks[scene, position]
        assert found["slot_watch.24h"] == near(watch[scene, position]) and found["slot_entries.24h"] == entries[scene, position]
        assert found["slot_revenue.24h"] == near(revenue[scene, position])
        assert found["slot_click_rate.24h"] == drawn(clicks, scene_clicks, 100) and found["slot_click_rate.24h.n"] == count
        assert found["slot_value.24h"] == drawn(revenue, scene_revenue, 500)
        assert found["slot_watch_mean.24h"] == drawn(watch, scene_watch, 100)
        assert found["slot_transfer.24h"] == drawn(entries, scene_entries, 100)
        assert 0 <= found["slot_transfer.24h.lower"] <= found["slot_transfer.24h"]
    for scene in (event_pb2.LIVE, SHORT_VIDEO, MALL):
        found = {}
        for name in ("scene_shown", "scene_clicks", "scene_watch", "scene_revenue", "scene_value"):
            found.update(explained(mixed, "scene", [scene], f"{name}.1h"))
        assert found["scene_shown.1h"] == scene_shown[scene] and found["scene_clicks.1h"] == scene_clicks[scene]
        assert found["scene_watch.1h"] == near(scene_watch[scene]) and found["scene_revenue.1h"] == near(scene_revenue[scene])
        assert found["scene_value.1h"] == near(ratio(scene_revenue[scene], scene_shown[scene]))
    assert sum(entries.values()) > 20 and any(value > 0 for value in revenue.values())  # there is something to see


def test_every_item_tells_its_value_in_each_scene_and_where_it_leads(mixed, simulated):
    day = simulated.within("24h")
    items, makers = Sums(day, lambda e: e.item_id), Sums(day, lambda e: e.creator_id)
    in_scene = {scene: lambda e, scene=scene: e.scene == scene for scene in (event_pb2.LIVE, SHORT_VIDEO, MALL)}
    money = ("purchase", "refund")

    def per(sums, num, den, strength):
        """For each exposure, drawn to that of all."""
        own, whole = (num(sums), den(sums)), (num(sums.whole()), den(sums.whole()))
        everybody = ratio(whole[0]["all"], whole[1]["all"])
        return lambda key: near(ratio(own[0][key], own[1][key], everybody, strength))

    right = {
        "video_seconds.24h": per(items, lambda s: s.money("watch", only=in_scene[SHORT_VIDEO]), lambda s: s.count("impression", only=in_scene[SHORT_VIDEO]), 20),
        "mall_value.24h": per(items, lambda s: s.money(*money, minus=("refund",), only=in_scene[MALL]), lambda s: s.count("impression", only=in_scene[MALL]), 50),
    }  # fmt: skip
    by_maker = {
        "live_value.24h": per(makers, lambda s: s.money(*money, "gift", minus=("refund",), only=in_scene[event_pb2.LIVE]), lambda s: s.count("enter_room"), 20),
        "transfer_rate.24h": per(makers, lambda s: s.count("enter_room", only=lambda e: e.attributes["from"] == "short_video"), lambda s: s.count("impression", only=in_scene[SHORT_VIDEO]), 200),
    }  # fmt: skip
    shown = sorted({event.item_id for event in day if event.item_id})
    rows = world.columns(mixed, shown, [name.split(".")[0] for name in (*right, *by_maker)])
    for item, row in zip(shown, rows):
        maker = int(simulated.items[item]["creatorId"])
        for name, value in right.items():
            assert row[name] == value(item), (item, name)
        for name, value in by_maker.items():
            assert row[name] == value(maker), (item, name)
    assert len({row["transfer_rate.24h"] for row in rows}) > 5 and len({row["mall_value.24h"] for row in rows}) > 5


# ---- What creators gain and earn ----


def returning(events, key, window, visits=2):
    panes = collections.defaultdict(set)
    resolution_ms = Window(window, SKETCH_PANES).resolution_ms
    for event in filter(world.is_of("watch", "enter_room"), events):
        if event.user_id and key(event):
            panes[key(event), event.user_id].add(event.ts_ms // resolution_ms)
    return collections.Counter(one for (one, _), some in panes.items() if len(some) >= visits)


def test_creators_gain_and_earn_what_the_events_say(simulated, module_node):
    node = simulated.run(module_node, CREATORS)
    hour, recent = simulated.within("1h"), simulated.sketched("1h")

    def maker(event):
        return event.creator_id

    def quick(event):
        return event.value < 3

    of = Sums(hour, maker)
    shown, watches = of.count("impression", "enter_room"), of.count("watch")
    exits, gifts = of.count("watch", only=quick), of.money("gift")
    net, orders = of.money("purchase", "refund", minus=("refund",)), of.count("purchase")
    gross, follows = of.money("purchase"), of.count("follow")
    again = returning(recent, maker, "1h")
    viewers = collections.Counter(creator for creator, _ in {(e.creator_id, e.user_id) for e in filter(world.is_of("watch", "enter_room"), recent)} if creator)
    total = {name: sum(one.values()) for name, one in (("shown", shown), ("watches", watches), ("exits", exits), ("gifts", gifts), ("net", net), ("orders", orders), ("follows", follows))}
    shown_items = sorted({event.item_id for event in hour if event.item_id})
    names = ["follow_rate.24h", "quick_exit_rate.1h", "viewers.1h", "returning_viewers.1h", "gifts.1h", "net.1h", "orders.1h", "order_value.24h",
             "gift_per_shown.1h", "order_rate.1h", "net_per_shown.1h"]  # fmt: skip
    rows = world.columns(node, shown_items, names)
    for item, row in zip(shown_items, rows):
        one = int(simulated.items[item]["creatorId"])
        wanted = {
            "follow_rate.24h": ratio(follows[one], shown[one], total["follows"] / total["shown"], 500),
            "quick_exit_rate.1h": ratio(exits[one], watches[one], total["exits"] / total["watches"], 100),
            "viewers.1h": viewers[one],
            "returning_viewers.1h": again[one],
            "gifts.1h": gifts[one],
            "net.1h": net[one],
            "orders.1h": orders[one],
            "order_value.24h": gross[one] / orders[one] if orders[one] else 0.0,
            "gift_per_shown.1h": ratio(gifts[one], shown[one], total["gifts"] / total["shown"], 500),
            "order_rate.1h": ratio(orders[one], shown[one], total["orders"] / total["shown"], 500),
            "net_per_shown.1h": ratio(net[one], shown[one], total["net"] / total["shown"], 500),
        }
        for name, value in wanted.items():
            assert row[name] == near(value), (item, name, row[name], value)
        assert row["gifts.1h"] / 60 == pytest.approx(gifts[one] / 60, rel=1e-6)  # by the minute
        assert row["follow_rate.24h.lower"] <= row["follow_rate.24h"] <= row["follow_rate.24h.upper"]
    assert max(again.values()) > 2 and max(orders.values()) > 0 and max(gifts.values()) > 0


def test_a_refund_is_taken_off_whatever_its_sign(simulated, module_node):
    node = module_node(world.settings.configuration("embedded", catalogue=CREATORS)).start()
    ts_ms = 1_700_000_000_000
    money = (("purchase", 30.0), ("purchase", 12.5), ("refund", 30.0), ("refund", -20.0))
    made = [
        event_pb2.Event(event_id=1 + number, ts_ms=ts_ms, user_id=7, item_id=1, creator_id=2, action=event_pb2.Action.Value(action.upper()), value=value)
        for number, (action, value) in enumerate(money)
    ]
    world.kafka.produce(node.brokers, "freshet.events", [(b"7", one.SerializeToString()) for one in made])
    node.wait_applied(len(made))
    (row,) = world.columns(node, [1], ["net.1h", "orders.1h", "order_value.24h"])
    assert row["net.1h"] == -7.5 and row["orders.1h"] == 2 and row["order_value.24h"] == 21.25


# ---- A page of all three ----


@pytest.fixture(scope="module")
def mixer():
    """The example, as a reader would import it."""
    spec = importlib.util.spec_from_file_location("mixed_page", CATALOGUES.parent / "python/mixed_page.py")
    made = importlib.util.module_from_spec(spec)
    sys.modules["mixed_page"] = made  # dataclasses look there
    spec.loader.exec_module(made)
    return made


def test_the_example_builds_one_page_of_rooms_videos_and_goods(mixed, simulated, mixer):
    made = mixer.Mixer(mixed.api)
    for user in (1, 2, 4_711):
        page = made.page(user, places=10)
        assert len(page) == 10 and {one.scene for one in page} == {event_pb2.LIVE, SHORT_VIDEO, MALL}
        assert len({one.item for one in page}) == len({one.creator for one in page}) == 10
        found, pool = made.candidates(user)
        assert all(one.is_new == (one.creator in pool) for one in page) and any(one.is_new for one in page)
        judged = [one for scene, items in found.items() for one in made.judge(user, scene, items)]
        factors = made.factors(10)
        worth = {(one.scene, one.item): one.value * one.lift for one in judged}
        taken, left = set(), collections.Counter({scene: 2 for scene in mixer.SCENES})
        for place, one in enumerate(page[:-1], 1):  # nothing that may be there would have been worth more
            is_owed = 10 - (place - 1) <= sum(left.values())
            free = [other for other in judged if other.creator not in taken and (not is_owed or left[other.scene] > 0)]
            best = max(worth[other.scene, other.item] * factors[other.scene, place] for other in free)
            assert worth[one.scene, one.item] * factors[one.scene, place] == pytest.approx(best)
            taken.add(one.creator)
            left[one.scene] = max(left[one.scene] - 1, 0)


def test_who_is_shown_too_little_is_lifted_by_how_little(mixed, simulated, mixer):
    shown = world.count(simulated.within("24h"), lambda e: simulated.makers[e.creator_id]["tier"] if e.creator_id in simulated.makers else "", "impression")
    targets = MIXED["features"]["tier_share"]["targets"]
    deficit = {tier: target - shown[tier] / sum(shown.values()) for tier, target in targets.items()}
    assert max(deficit.values()) > 0.02  # there is somebody to lift
    found, _ = mixer.Mixer(mixed.api).candidates(0)
    judged = [one for scene, items in found.items() for one in mixer.Mixer(mixed.api, fairness=5.0).judge(0, scene, items)]
    for one in judged:
        assert one.lift == pytest.approx(1 + 5 * max(deficit[simulated.makers[one.creator]["tier"]], 0), rel=1e-5)
    plain = [one for scene, items in found.items() for one in mixer.Mixer(mixed.api, fairness=0).judge(0, scene, items)]
    assert {one.lift for one in plain} == {1.0} and len({one.lift for one in judged}) > 1


def test_the_example_prints_its_page(mixed, mixer, capsys):
    mixer.main(mixed.api, "7", "6")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7 and lines[0].startswith("place") and any("live" in line for line in lines[1:])
