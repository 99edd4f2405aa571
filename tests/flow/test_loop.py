"""Kills in the learning loop: what the model has learned in the end is what an undisturbed node learned of the same topics."""

import random

import grpc
import pytest

import joined
import kafka
import test_join
from freshet.v1 import model_pb2
from node import wait_for

USERS, REQUESTS, SHOWN, STEP_MS = 40, 300, 6, 2000
AHEAD_MS = 250  # of a bystander's clock, which makes the log's clock another one than an event's own
KILLS, MANY_KILLS = 3, 100


def tasks_of(policy, click_ms=60_000, buy_ms=300_000):
    return joined.Task("click", ("click",), policy, click_ms), joined.Task("buy", ("purchase",), policy, buy_ms)


# Examples that events make, that time makes, and both: users of `sliver` leave within 40 s, those of `stay` mostly after their windows.
MODELS = {
    **{policy: tasks_of(policy) for policy in ("fnw", "wait", "first_only", "sliver")},
    "stay": tasks_of("sliver", 9_000, 14_000),
    "every": (
        joined.Task("click", ("click",), "wait", 60_000), joined.Task("buy", ("purchase",), "fnw", 300_000),
        joined.Task("look", ("click",), "first_only", 20_000), joined.Task("take", ("purchase",), "sliver", 12_000),
    ),
    "ranks": (
        joined.Task("long", ("watch",), "wait", 20_000, label="watch_rank"), joined.Task("click", ("click",), "first_only", 20_000),
        joined.Task("begin", ("watch",), "first_only", 9_000, label="watch_rank"),
    ),
}  # fmt: skip


def is_near_an_end(after_ms):
    ends = {task.window_ms for tasks in MODELS.values() for task in tasks}
    return any(end - AHEAD_MS <= after_ms < end for end in ends)


def configuration(brokers, topic, name, models):
    made = test_join.configuration(brokers, topic, lanes=1)
    made["learner"].update(serve_ttl="1h", examples=f"{topic}.examples.{name}")  # all rows are there before the first event
    shop = made["models"].pop("shop")
    for policy in models:
        made["models"][policy] = {
            **shop, "tasks": {task.name: test_join.settings_of(task) for task in MODELS[policy]},
            "optimiser": {"admit_factors": 3}, "publish": "50ms",
        }  # fmt: skip
    return made


def tell(schema, seed):
    dice = random.Random(seed)
    served, events = [], []
    for request in range(1, REQUESTS + 1):
        at_ms = test_join.START_MS + request * STEP_MS
        items, user = dice.sample(range(1, 31), SHOWN), dice.randint(1, USERS)
        message = model_pb2.Served(request_id=request, user_id=user, served_ms=at_ms, schema=schema, item_ids=items)
        message.user_values.append(dice.randint(0, 9))
        message.item_values.extend(dice.randint(0, 99) / 4 for _ in range(3 * SHOWN))
        served.append(message)
        for item in items:
            shown_ms = at_ms + dice.randint(0, 500)
            events.append(
                test_join.event_of("impression", shown_ms, user, item, request, dice.getrandbits(60), category_id=item % 4)
            )
            for action, chance in (("click", 0.1 + item / 60), ("purchase", 0.1), ("watch", 0.6)):
                if dice.random() < chance:
                    ts_ms = shown_ms + 1 + int(dice.expovariate(1 / 8000))
                    if is_near_an_end(ts_ms - shown_ms):  # and may be late by the log's clock: that is for others to judge
                        continue
                    watched = {"value": dice.expovariate(1 / item), "duration_s": item % 9 * 2.5} if action == "watch" else {}
                    events.append(test_join.event_of(action, ts_ms, user, item, request, dice.getrandbits(60), **watched))
        events.append(test_join.event_of("leave_room", at_ms + dice.randint(600, 40_000), user, event_id=dice.getrandbits(60)))
        ahead_ms = at_ms + dice.randint(0, STEP_MS) + AHEAD_MS
        events.append(test_join.event_of("watch", ahead_ms, USERS + 1, 1, event_id=dice.getrandbits(60)))
    events.append(test_join.event_of("watch", test_join.START_MS + 3_000_000, 1, 1, event_id=1))  # ends all windows
    return served, sorted(events, key=lambda event: (event["ts_ms"] - AHEAD_MS * (event["user_id"] > USERS), event["event_id"]))


def wanted_examples(model, served, events):
    return joined.Join(model, MODELS[model], 3_600_000, served, events).examples()


def state(node, model=""):
    request = model_pb2.ModelStatusRequest(model=model)
    return node.call("ModelService/Status", request, model_pb2.ModelStatusResponse).models[0]


def digest(node, model):
    """Of all weights, means and scales, as Pull tells it."""
    with grpc.insecure_channel(node.api) as channel:
        stream = channel.unary_stream("/freshet.v1.ModelService/Pull")(model_pb2.PullRequest(model=model).SerializeToString())
        return next(delta.digest for delta in map(model_pb2.ModelDelta.FromString, stream) if delta.digest)


def learn(node, count, model=""):
    wait_for(
        lambda: state(node, model).examples >= count,
        lambda: f"{count} examples: {state(node, model)} {test_join.story_of(node)}",
    )
    told = state(node, model)
    assert (told.examples, told.rejected, told.rollbacks) == (count, 0, 0)
    return told


def check_weights(make_node, brokers, kills, models=tuple(MODELS), is_served_first=True):
    """Rows first, all of them, or before the events that are of them, where it depends on luck which of both a node reads first."""
    topic = kafka.new_topic(brokers, 1)
    calm, killed = (make_node(configuration(brokers, topic, name, models), name).start() for name in ("calm", "killed"))
    served, events = tell(test_join.schema_of(killed).schema, kills)
    dice, sent, served_sent = random.Random(kills), 0, 0
    if is_served_first:
        sent = served_sent = test_join.produce_served(brokers, topic, served)
        for node in (calm, killed):
            node.wait_applied(sent)
        killed.digest()  # an epoch with all rows
    size = len(events) // kills + 1
    for at in range(0, len(events), size):
        there = sum(message.served_ms <= events[min(at + size, len(events)) - 1]["ts_ms"] for message in served)
        sent += test_join.produce_served(brokers, topic, served[served_sent:there])
        served_sent = max(there, served_sent)
        sent += test_join.produce_events(brokers, topic, events[at : at + size])
        goal = dice.randint(sent - len(events[at : at + size]) + 1, sent)
        wait_for(lambda goal=goal: killed.applied() >= goal, killed.log)
        killed.kill()
        killed.start(is_ready=False)
    for model in models:
        wanted = wanted_examples(model, served, events)
        mine, theirs = (learn(node, len(wanted), model) for node in (killed, calm))
        assert digest(killed, model) == digest(calm, model), model
        assert [task.log_loss for task in mine.tasks] == [task.log_loss for task in theirs.tasks]
        assert mine.coordinates == theirs.coordinates > 10 * USERS and min(task.positives for task in mine.tasks) > 100
        if any(task.label == "watch_rank" for task in MODELS[model]):
            check_labels(brokers, f"{topic}.examples.killed", wanted)


def check_labels(brokers, topic, wanted):
    """Ranks follow from the order of examples, so each label says whether what was counted outlived the kills."""
    found = {}

    def are_there():
        examples = map(model_pb2.Example.FromString, (one.value() for one in kafka.consume_all(brokers, topic)))
        found.update({one.example_id: joined.told(one) for one in examples if one.example_id in wanted})
        return len(found) == len(wanted)

    wait_for(are_there, lambda: f"{len(found)} of {len(wanted)} examples came")
    assert found == wanted


def test_kills_leave_the_same_weights_bit_by_bit(make_node, real_kafka):
    check_weights(make_node, real_kafka, KILLS, ("fnw", "first_only", "every", "ranks"))


@pytest.mark.long
def test_a_hundred_kills_leave_the_same_weights_bit_by_bit(make_node, real_kafka):
    check_weights(make_node, real_kafka, MANY_KILLS)


@pytest.mark.long
def test_a_hundred_kills_leave_the_same_weights_whichever_topic_is_read_first(make_node, real_kafka):
    """Examples that events alone make at once, as of `fnw`, are learned when their rows are there; all others where they belong."""
    check_weights(make_node, real_kafka, MANY_KILLS, [model for model in MODELS if model != "fnw"], is_served_first=False)


class LongStory(test_join.Story):
    """So much that the order of examples makes no difference of 0.1 %."""

    USERS, REQUESTS = 400, 4000


def made_examples(node):
    """How many examples a node made that was never restarted, once nothing waits."""
    wait_for(lambda: test_join.metric(node, "freshet_join_bytes") == 0, lambda: test_join.story_of(node))
    page = node.page("/metrics")[2].decode().splitlines()
    return int(sum(float(line.rpartition(" ")[2]) for line in page if line.startswith("freshet_examples_total{")))


@pytest.mark.long
def test_a_hundred_kills_leave_the_same_judgement_whatever_the_order(make_node, real_kafka):
    """All policies, two lanes: when time passes and who is faster decides on the order of examples, and a kill moves both.

    One partition: who reads several while they are written may see the later one first, and find what it ended.
    """
    calm = []

    def watch(topic):
        made = test_join.configuration(real_kafka, topic)
        made["learner"]["examples"] = f"{topic}.examples.calm"
        calm.append(make_node(made, "calm").start())

    killed, *_ = test_join.kill_in_the_loop(make_node, real_kafka, MANY_KILLS, 1, LongStory, watch)
    wanted = made_examples(calm[0])
    mine, theirs = (learn(node, wanted) for node in (killed, *calm))
    for one, other in zip(mine.tasks, theirs.tasks):
        print(f"{one.name}: {one.examples} examples, log loss {one.log_loss:.5f}, undisturbed {other.log_loss:.5f}")
        assert (one.examples, one.positives) == (other.examples, other.positives)
    losses = [sum(task.log_loss * task.examples for task in one.tasks) / one.examples for one in (mine, theirs)]
    print(f"all: log loss {losses[0]:.5f}, undisturbed {losses[1]:.5f}")
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
