"""Cold start: chains of priors, budgets, what to label first, labels that nobody gave; the example on a simulated shop, beside the oracle."""

import collections
import pathlib

import pytest
import yaml

import compare
import kafka
import oracle
import settings
from freshet.v1 import recall_pb2
from node import CallError, run_cli, wait_for
from shop import event_of, is_known, simulated
from tables import text_id

CATALOGUE = yaml.safe_load((pathlib.Path(__file__).parents[2] / "examples/catalogues/cold.yaml").read_text())
TAKEN = [oracle.ACTIONS.index(action) for action in ("click", "watch", "purchase")]
STRENGTH, SHOWN = CATALOGUE["features"]["tag_lift"]["strength"], CATALOGUE["features"]["tag_lift"]["limit"]
HIDDEN = 3  # each third item's row is taken away again
ERROR = 1e-5


def without_tables(catalogue):
    """What oracle.py can judge: all that no table has a part in."""
    made = {key: dict(value) for key, value in catalogue.items() if key in ("entities", "features", "lists")}
    del made["entities"]["tag"], made["features"]["tag_taken"], made["features"]["tag_lift"]
    return made


class World:
    def __init__(self, make_node, binary, brokers, directory):
        topics = kafka.new_topic(brokers), kafka.new_topic(brokers, 2, "rows")
        wait_for(lambda: all(is_known(brokers, topic) for topic in topics), "topics that everybody knows of")
        self.count, records, self.items = simulated(binary, brokers, directory, *topics)
        self.hidden = sorted(self.items)[::HIDDEN]
        kafka.produce(brokers, topics[1], [(item.encode(), None) for item in self.hidden])
        known = {int(item): truth for item, truth in self.items.items() if item not in self.hidden}
        self.tags = {item: [text_id(tag) for tag in truth["tags"]] for item, truth in known.items()}
        catalogue = {key: value for key, value in CATALOGUE.items() if key not in ("node", "kafka")}
        catalogue["tables"] = {"item_info": {**CATALOGUE["tables"]["item_info"], "topic": topics[1]}}
        self.node = make_node(settings.configuration(brokers, topics[0], "json", catalogue=catalogue)).start()
        self.node.wait_applied(self.count)
        self.judge = oracle.Oracle({**self.node.configuration, **without_tables(catalogue)})
        self.events = [event_of(record) for record in records]
        for event in self.events:
            self.judge.apply(event)
        self.now = self.judge.stream_time_ms
        self.taken = [event for event in self.events if event["action"] in TAKEN]
        self.counts = collections.Counter(tag for event in self.taken for tag in self.tags.get(event.get("item_id", 0), ()))

    def ask(self, method, request):
        reply = self.node.call(f"RecallService/{method}", request, recall_pb2.Candidates)
        return list(reply.ids), list(reply.scores)

    def to_label(self, limit=0):
        return self.ask("Trending", recall_pb2.TrendingRequest(list="to_label", limit=limit))

    def labels(self, item, limit=0):
        return self.ask("Labels", recall_pb2.LabelsRequest(item_id=item, limit=limit))


def is_best(ids, scores, wanted, limit):
    """The reply is the best `limit` of {id: score}, as far as equal ones can be told."""
    assert len(ids) == min(limit, len(wanted)) == len(set(ids))
    for one, score in zip(ids, scores):
        assert score == pytest.approx(wanted[one], rel=ERROR), one
    assert scores == sorted(scores, reverse=True)
    left = [score for one, score in wanted.items() if one not in ids]
    assert not left or max(left) <= min(scores) * (1 + ERROR)


def check_rates(world):
    items, users = [int(item) for item in world.items], sorted({event["user_id"] for event in world.events})[:50]
    names = ["click_rate", "user_left", "item_left"]
    for user in users:
        reply = world.node.get_features(user_id=user, item_ids=items, features=names)
        wanted = world.judge.reply(user, items, world.now, names=names)
        assert not list(compare.differences(reply, wanted, set(), items))
    columns = list(reply.item_columns)
    chain = [f"click_rate.24h.{whose}.{side}" for whose in ("creator", "category", "global") for side in ("num", "den")]
    assert columns == ["click_rate.24h", "click_rate.24h.n", "click_rate.24h.sd", *chain, "item_left.24h"]
    rows = [reply.item_values[at : at + len(columns)] for at in range(0, len(reply.item_values), len(columns))]
    assert any(row[1] == 0 and row[4] > 0 for row in rows)  # shown never, and yet its creator's are known


def check_to_label(world):
    entries = world.judge.recall.trending("to_label", "global", 0, 0, world.now).ranked
    (_, columns), = world.judge.selected("", ["click_rate.24h"])[0]
    place = [column.kind for column in columns].index("sd")
    wanted = {}
    for item, exposure in entries:
        ids = world.judge.item_ids_of(item, 0, 0, world.now)
        entity = world.judge.item_entity
        parents = world.judge.parents_of(entity, columns, (item,), ids, world.now)
        sd = world.judge.row(entity.name, columns, (item,), world.now, parents)[place]
        if not world.tags.get(item):
            wanted[item] = float(exposure) * float(sd)
    assert len(wanted) > 30
    (described,) = world.node.call_json("FeatureService/Describe", {})["lists"]
    assert (described["weigh"], described["without"]) == ("click_rate.24h.sd", "item_info.tags")
    for limit in (5, 100):
        is_best(*world.to_label(limit), wanted, limit)


def lifts(world, item):
    """{tag: lift}, from all that went with the item."""
    entries = world.judge.recall.covisits["together"].partners.get(item)
    if not entries:
        return {}
    decay = world.judge.features["together"].decay
    sums = {partner: decay.value(taken, world.now) for partner, taken in entries.by_id.items()}
    support = collections.Counter()
    for partner, weight in sums.items():
        for tag in world.tags.get(partner, ()):
            support[tag] += weight
    total = sum(sums.values())
    base = {tag: count / len(world.taken) for tag, count in world.counts.items()}
    return {tag: (weight + STRENGTH * base[tag]) / ((total + STRENGTH) * base[tag]) for tag, weight in support.items()}


def check_labels(world):
    right, asked = 0, 0
    for item in world.items:
        wanted = lifts(world, int(item))
        ids, scores = world.labels(int(item))
        is_best(ids, scores, wanted, SHOWN)
        if item in world.hidden and len(wanted) > 3:
            asked += 1
            right += ids[0] in [text_id(tag) for tag in world.items[item]["tags"]]
    chance = sum(len(truth["tags"]) for truth in world.items.values()) / len(world.items) / len(world.counts)
    print(f"labels: the first is right for {right} of {asked} items; by chance {chance * asked:.1f}")
    assert asked > 30
    assert world.labels(999_999_999) == world.labels(0) == ([], [])


def check_after_a_kill(world):
    before = world.to_label(), [world.labels(int(item)) for item in sorted(world.items)[:20]]
    world.node.kill()
    world.node.start()
    world.node.wait_applied(world.count)
    assert (world.to_label(), [world.labels(int(item)) for item in sorted(world.items)[:20]]) == before
    with pytest.raises(CallError, match="unknown lift feature 'tag_lfit'; did you mean 'tag_lift'"):
        world.ask("Labels", recall_pb2.LabelsRequest(item_id=1, feature="tag_lfit"))


def test_the_example_on_a_simulated_shop_is_what_the_oracle_says(make_node, binary, real_kafka, tmp_path):
    world = World(make_node, binary, real_kafka, tmp_path)
    check_rates(world)
    check_to_label(world)
    check_labels(world)
    check_after_a_kill(world)


MISTAKES = (
    ({"click_rate": {"prior": ["creator", "creatr"]}}, "click_rate.prior: unknown name 'creatr'; did you mean 'creator'"),
    ({"click_rate": {"prior": ["creator", "user"]}}, "click_rate.prior: a read can't tell which user is the parent of one item"),
    ({"click_rate": {"prior": ["item"]}}, "click_rate.prior: names the entity itself"),
    ({"click_rate": {"prior": ["creator", "creator"]}}, "click_rate.prior: names an entity twice"),
    ({"user_left": {"share": 1.5}}, "share"),
    ({"user_left": {"of": ["user_explored"]}}, "user_left.of: should name two counters"),
    ({"tag_lift": {"of": "item_info.tag"}}, "tag_lift.of: no table has a field 'item_info.tag'; did you mean 'item_info.tags'"),
    ({"tag_lift": {"from": "user_taken"}}, "tag_lift.from"),
    ({"tag_lift": {"against": "item_shown"}}, "tag_lift.against: is no count of an entity with the key that `of` names"),
    ({"tag_lift": {"windows": ["1h"]}}, "tag_lift.against: has no such window"),
)  # fmt: skip
OF_LISTS = (
    ({"weigh": "click_rate.24h.sdd"}, "to_label.weigh"),
    ({"weigh": "user_left.24h"}, "to_label.weigh: is a column of another entity than 'of'"),
    ({"weigh": "click_rate"}, "to_label.weigh: has several columns"),
    ({"without": "item_info.tag"}, "to_label.without: no table has a field"),
)  # fmt: skip


ALL_MISTAKES = [("features", *one) for one in MISTAKES] + [("lists", {"to_label": change}, message) for change, message in OF_LISTS]


@pytest.mark.parametrize("section, change, message", ALL_MISTAKES)
def test_a_mistake_in_it_is_told_with_its_place(binary, tmp_path, section, change, message):
    made = {name: {**said, **change.get(name, {})} for name, said in CATALOGUE[section].items()}
    wrong = {**CATALOGUE, section: made}
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(wrong))
    told = run_cli(binary, "check", "--config", path)
    assert told.returncode == 1 and message in told.stderr, told.stderr
