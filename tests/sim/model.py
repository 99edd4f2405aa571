"""What is simulated: a cluster's size and load, and the figures of measured.json that say what everything costs."""

import dataclasses
import json
import pathlib

import draws

FILE = pathlib.Path(__file__).with_name("measured.json")
TICK_SECONDS = 0.05  # of the committer
CHECK_SECONDS = 0.5  # librdkafka looks whether a heartbeat is due
DROP_SECONDS = 5.0  # what went to others is kept for as long


@dataclasses.dataclass
class Setting:
    """Load, and how brokers and instances are set. What has no measurement behind it is an assumption, and told as such in docs."""

    rate: float  # events a second, of all
    users: float
    items: float
    creators: float
    partitions: int = 8
    instances: int = 1
    epoch_seconds: float = 2.0
    exponent: float = 1.05
    cores: float = 2.0  # of an instance
    on_one_machine: int = 1  # instances that share its cores in a hand-over, when all have something to do at once
    heartbeat_seconds: float = 3.0  # librdkafka's defaults
    session_seconds: float = 45.0
    brokers: int = 3
    broker_bytes: float = 100e6  # a second that one broker sends to those that restore: assumed
    failover_seconds: float = 5.0  # until partitions of a lost broker have a leader: assumed
    changelog_factor: float = 2.0  # records of the changelog for each that is live, compacted with min.cleanable.dirty.ratio 0.5
    is_compacted: bool = True  # not within minutes
    standbys: bool = False
    initial_records: float = None  # of the whole changelog at the start; else that of all users, compacted
    seed: int = 1


def figures(file=FILE):
    return json.loads(pathlib.Path(file).read_text())["figures"]


class Costs:
    """Of an epoch of one instance, by what is in it."""

    def __init__(self, found, setting):
        self.found, self.setting = found, setting
        self.cpu, self.bytes, self.epoch, self.handover = found["cpu"], found["bytes"], found["epoch"], found["handover"]

    def copies(self, events, owned):
        """Records for the changelog: of users of so many partitions, each once an epoch."""
        part = owned / self.setting.partitions
        if part == 0:
            return 0.0
        return self.found["records"]["copies_per_user"] * part * draws.distinct(self.setting.users, self.setting.exponent, events / part)

    def deltas(self, events):
        """Records for the others: items and creators, each once an epoch."""
        kinds = (self.setting.items, self.setting.creators)
        return self.found["records"]["deltas_per_entity"] * sum(draws.distinct(kind, self.setting.exponent, events) for kind in kinds)

    def duration(self, copies, deltas):
        """From the boundary until the transaction is committed and the store has written."""
        return self.epoch["seconds"] + self.epoch["seconds_per_copy"] * copies + self.epoch["seconds_per_delta"] * deltas

    def cpu_of(self, events, copies, deltas, merged):
        return self.cpu["event"] * events + self.cpu["copy"] * copies + self.cpu["delta"] * deltas + self.cpu["merge"] * merged

    def restore_rate(self):
        """Bytes a second that one instance takes in from a changelog."""
        return self.bytes["copy"] / max(self.handover["seconds_per_record"], 1e-9)

    def live_records(self):
        """Of one partition, when every user has been seen."""
        return self.setting.users * self.found["records"]["copies_per_user"] / self.setting.partitions


def assign(names, partitions):
    """Range assignment of one topic's partitions (and of topics with as many): contiguous, by sorted name."""
    each, more = divmod(partitions, max(len(names), 1))
    found, first = {}, 0
    for index, name in enumerate(sorted(names)):
        count = each + (index < more)
        found[name] = range(first, first + count)
        first += count
    return found


def share(index, members, partitions):
    """The range of the index-th of so many members."""
    each, more = divmod(partitions, members)
    first = index * each + min(index, more)
    return set(range(first, first + each + (index < more)))


def standby(name, names, partitions):
    """What it would be given if any one other left: of those before it, or of those behind it."""
    order = sorted(names)
    if name not in order or len(order) < 2:
        return set()
    index, count = order.index(name), len(order)
    found = share(index, count - 1, partitions) if index < count - 1 else set()
    return (found | share(index - 1, count - 1, partitions) if index > 0 else found) - share(index, count, partitions)
