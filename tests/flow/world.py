"""The simulated world for those who count in it: its events once each, its truth, and a node that has applied both."""

import collections
import json

from google.protobuf import json_format

import kafka
import settings
from aggregate import SKETCH_PANES, WINDOW_PANES, Window
from freshet.v1 import event_pb2
from node import run_cli, wait_for

MICRO = 1_000_000


class World:
    """`options`: of freshet simulate."""

    def __init__(self, binary, directory, **options):
        truth = directory / "truth.jsonl"
        asked = [word for name, value in options.items() for word in (f"--{name}", value)]
        done = run_cli(binary, "simulate", "--fast", "--start", 1_700_000_000_000, *asked, "--truth", truth, timeout_s=300)
        assert done.returncode == 0, done.stderr
        self.sent = [json_format.Parse(line, event_pb2.Event()) for line in done.stdout.splitlines()]
        self.truth = [json.loads(line) for line in truth.read_text().splitlines()]
        self.events = list({event.event_id: event for event in self.sent}.values())
        self.time_ms = max(event.ts_ms for event in self.events)
        self.makers = {int(one["creatorId"]): one for one in self.told("maker")}
        self.items = {int(one["itemId"]): one for one in self.told("item")}

    def told(self, kind):
        return [one for one in self.truth if one["truth"] == kind]

    def run(self, make_node, example):
        """A node with the example's catalogue that has read the rows of creators and items first, and then all events."""
        catalogue = {key: value for key, value in example.items() if key not in ("node", "kafka")}
        node = make_node(settings.configuration("embedded", partitions=4, lanes=1, catalogue=catalogue)).start()
        for name, known in (("creator_info", self.makers), ("item_info", self.items)):
            if name not in catalogue.get("tables", {}):
                continue
            rows = [(str(one).encode(), json.dumps(told).encode()) for one, told in known.items()]
            kafka.produce(node.brokers, catalogue["tables"][name]["topic"], rows)
            changed = f'freshet_table_rows_total{{table="{name}",outcome="changed"}} {len(rows)}'
            wait_for(lambda changed=changed: changed in node.page("/metrics")[2].decode(), f"the rows of {name}")
        records = ((str(event.user_id).encode(), event.SerializeToString()) for event in self.sent)
        kafka.produce(node.brokers, "freshet.events", records)
        node.wait_applied(len(self.sent))
        return node

    def within(self, window, panes=WINDOW_PANES):
        """The events that count at the end."""
        start, end = Window(window, panes).span(self.time_ms)
        return [event for event in self.events if start <= event.ts_ms < end]

    def sketched(self, window):
        return self.within(window, SKETCH_PANES)


def is_of(*actions):
    numbers = {event_pb2.Action.Value(action.upper()) for action in actions}
    return lambda event: event.action in numbers


def count(events, key, *actions):
    """By what `key` says of each event, those without it (0, or a part that is 0) left out."""
    found, wanted = collections.Counter(), is_of(*actions)
    for event in events:
        one = key(event) if wanted(event) else 0
        if all(one) if isinstance(one, tuple) else one:
            found[one] += 1
    return found


def money(events, key, *actions, minus=()):
    """Sums in units, exact in micro-units."""
    found, wanted, less = collections.Counter(), is_of(*actions), is_of(*minus)
    for event in events:
        one = key(event) if wanted(event) else 0
        if all(one) if isinstance(one, tuple) else one:
            micro = round(event.value * MICRO)
            found[one] += -abs(micro) if less(event) else micro
    return collections.Counter({one: micro / MICRO for one, micro in found.items()})


def columns(node, items, names):
    """[{column: value}] of each item."""
    reply = node.get_features(item_ids=items, features=names)
    wide = len(reply.item_columns)
    return [dict(zip(reply.item_columns, reply.item_values[row * wide : (row + 1) * wide])) for row in range(len(items))]
