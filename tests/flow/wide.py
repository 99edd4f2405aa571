"""
A cluster on three brokers of its own (quorum.py), each process in a place of its own (network.py), and what is asked of it all the time: that
what its instances serve together is what one node serves and what was produced, that nobody puts back what another did, and that each
partition is one instance's at any time.
"""

import contextlib
import datetime
import re
import signal
import time
from collections import Counter

from confluent_kafka import Consumer, KafkaError, TopicPartition

import kafka
import oracle
from freshet.v1 import admin_pb2
from node import CallError, wait_for
from test_cluster import ITEMS, PARTITIONS, USERS, Cluster, configuration

CALM_MS = 20_000  # nobody is taken for dead by chance


class Wide(Cluster):
    """On brokers of its own; `away` are the names of those to whom something is done at the moment."""

    served_s = 45  # a transaction stands still for 15 s before it is taken back; for a minute it must not

    def __init__(self, make_node, quorum, places, session_ms, properties=None):
        self.quorum, self.places, self.session_ms = quorum, places, session_ms
        self.properties = properties or {}  # of the clients, by name of the instance
        self.away, self.ends, self.gone = set(), [], {}
        self.produced_of, self.records = Counter(), 0
        super().__init__(make_node, quorum.addresses)
        self.log = Log(self)

    def begin(self, name, is_ready=True):
        if name not in self.instances:
            made = configuration(self.brokers, self.topic, "cluster", name, self.second)
            session_ms = self.session_ms.get(name, CALM_MS)
            made["kafka"]["properties"] = {"session.timeout.ms": session_ms, "heartbeat.interval.ms": 500, **self.properties.get(name, {})}
            place = self.places.place()
            made["server"] = {"listen": f"{place.address}:0", "operations": f"{place.address}:0", "plaintext": "anywhere"}
            self.instances[name] = self.make_node(made, name)
            self.instances[name].place, self.instances[name].inside = place, place.inside
        return super().begin(name, is_ready)

    # ---- What is done to an instance: from then on it has nothing, whatever it would say ----

    def take_away(self, node, how):
        self.gone[node.log_file()] = time.time()
        how()

    def kill(self, node):
        self.take_away(node, node.kill)

    def suspend(self, node):
        self.take_away(node, lambda: node.signal(signal.SIGSTOP))

    def cut(self, node):
        self.take_away(node, node.place.cut)

    def stop(self, node):
        codes = []
        self.take_away(node, lambda: codes.append(node.stop()))
        assert codes == [0], node.log()[-2000:]

    def running(self):
        """Whoever ended by itself is noted, and started again, as a supervisor would."""
        for node in self.instances.values():
            if node.process and node.name not in self.away and node.process.poll() is not None:
                assert node.process.returncode == 1 and "cluster: " in node.log(), node.log()[-2000:]
                self.ends.append((node.name, node.log().strip().splitlines()[-1]))
                self.gone[node.log_file()] = None  # since when it was not one any more it did not know itself
                node.ended()
                node.start(is_ready=False)
        return [node for node in self.instances.values() if node.process and node.name not in self.away]

    @staticmethod
    def log_of(node, run):
        return node.directory / f"{node.name}.{run}.log"

    # ---- What is asked of it ----

    def some_twice(self, count):
        made = super().some_twice(count)
        self.records += len(made)
        for at, event in enumerate(made):
            if at < count or event["user_id"] == 0:  # it is a user's state that knows what comes twice
                self.produced_of[event["item_id"], oracle.ACTIONS[event["action"]]] += 1
                self.produced_of["user", event["user_id"]] += 1
        return made

    def wait_alone(self):
        """By count: a broker that was cut off says for a moment where partitions ended before, of its lag and to this test alike."""
        self.alone.wait_applied(self.records)

    @contextlib.contextmanager
    def telling(self):
        """What went before a failure."""
        try:
            yield
        except AssertionError:
            for topic, told in self.quorum.topics().items():
                print(f"{topic}: " + ", ".join(f"{number}: {part.leader} of {part.isrs}" for number, part in sorted(told.partitions.items())))
            print("produced", self.records, self.produced_items())
            for node in (self.alone, *self.running()):
                with contextlib.suppress(CallError, OSError):
                    print(node.name, "serves", self.served_items(node), self.positions(node))
            for node in self.running():
                print(node.name, node.call("AdminService/Cluster", admin_pb2.ClusterRequest(), admin_pb2.ClusterResponse))
            for node in self.instances.values():
                for run in range(max(1, node.runs - 1), node.runs + 1):
                    print(f"---- {node.name}, run {run}:\n{self.log_of(node, run).read_text(errors='replace')[-9000:]}")
            raise

    def check(self):
        with self.telling():
            assert any(self.check_once() for _ in range(len(self.instances) + 1)), f"they end by themselves again and again: {self.ends[-4:]}"

    def check_once(self):
        """False: an instance ended by itself just as it was asked."""
        ends = len(self.ends)
        self.wait_alone()
        try:
            super().check()
            self.check_produced()
        except (CallError, OSError) as refused:
            wait_for(lambda: self.running() and len(self.ends) > ends, f"it would answer, or end: {refused}")
            return False
        return True

    def check_produced(self):
        """What was produced, each of a user's events once, counted here and nowhere else."""
        wanted = self.produced_items()
        for node in (self.alone, *self.running()):
            assert self.served_items(node) == wanted, (node.name, self.served_items(node), wanted)

        wait_for(lambda: self.seen() == self.seen_of_produced(), lambda: (self.seen(), self.seen_of_produced()), self.served_s)

    def produced_items(self):
        return [float(self.produced_of[item, action]) for item in range(1, ITEMS + 1) for action in ("watch", "like")]

    @staticmethod
    def served_items(node):
        features = ["watches.24h", "likes.24h"]
        found = node.get_features(item_ids=list(range(1, ITEMS + 1)), features=features)
        assert list(found.item_columns) == features
        return list(found.item_values)

    def seen(self):
        """How many events of each user his owner has applied; without those whose partition is on its way."""
        owners, found = {partition: node for node in self.running() for partition in self.owned(node)}, {}
        for user in range(1, USERS):
            owner = owners.get(kafka.murmur2_partition(str(user).encode(), PARTITIONS))
            with contextlib.suppress(CallError, OSError):  # it moves just now, or its owner ends
                if owner:
                    found[user] = owner.get_features(user_id=user, features=["seen"]).user_values[1]
        return found

    def seen_of_produced(self):
        return {user: self.produced_of["user", user] for user in range(1, USERS)}

    def check_owners(self):
        """By what instances say in their logs as they take and give: no partition is two's at any time. Gives how often one was taken."""
        taken = 0
        for partition in range(PARTITIONS):
            held = sorted(
                span for node in self.instances.values() for run in range(1, node.runs + 1) for span in self.spans(node, run, partition)
            )
            for before, after in zip(held, held[1:]):
                assert before[1] <= after[0], f"partition {partition} is two's: {before} and {after}"
            taken += len(held)
        return taken

    def spans(self, node, run, partition):
        """When it had it, in seconds, and who it is. Of a run that ended by itself the last one is left out: the group had taken it for dead."""
        file = self.log_of(node, run)
        spans, since = [], None
        for at, owns in read_turns(file.read_text(errors="replace")):
            if partition in owns and since is None:
                since = at
            elif partition not in owns and since is not None:
                spans.append((since, at, f"{node.name}.{run}"))
                since = None
        until = self.gone.get(file, float("inf"))
        return spans + ([(since, until, f"{node.name}.{run}")] if since is not None and until is not None else [])


TURN = re.compile(r"^(\S+)Z info cluster: '[^']+' (?:(?:has|goes on) [^:]*(?:: (\S+))?|(gives back what it had): \S+)$", re.M)


def read_turns(log):
    """What an instance had from when on, as it says."""
    for at, owned, is_given in TURN.findall(log):
        when = datetime.datetime.fromisoformat(at).replace(tzinfo=datetime.timezone.utc).timestamp()
        yield when, set() if is_given else numbers_of(owned)


def numbers_of(text):
    """ "0-2,5" """
    found = set()
    for piece in filter(None, text.split(",")):
        first, _, last = piece.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


class Log:
    """The changelog's committed markers, read on and on: how many each instance made, and that each partition only goes on."""

    def __init__(self, cluster):
        self.cluster, self.next = cluster, {number: 0 for number in range(PARTITIONS)}
        self.made, self.at, self.owners = Counter(), {}, {number: [] for number in range(PARTITIONS)}

    def read(self):
        """To where it ends now; gives how many markers each instance has made."""
        settings = {"bootstrap.servers": self.cluster.brokers, "group.id": "flow-tests", "enable.partition.eof": True}
        consumer, ended = Consumer({**settings, "enable.auto.commit": False, "auto.offset.reset": "error"}), set()
        try:
            consumer.assign([TopicPartition(f"{self.cluster.group}.changelog", number, at) for number, at in self.next.items()])
            while len(ended) < PARTITIONS:
                message = consumer.poll(30)
                assert message is not None, ended
                if message.error():
                    if message.error().code() == KafkaError._PARTITION_EOF:
                        ended.add(message.partition())
                    else:
                        assert message.error().retriable() or message.error().code() < 0, message.error()
                    continue
                self.next[message.partition()] = message.offset() + 1
                if message.key() == b"\0":
                    self.take(message.partition(), message.value())
        finally:
            consumer.close()
        return Counter(self.made)

    def take(self, partition, value):
        name, positions = read_marker(value)
        before = self.at.get(partition, [-1] * len(positions))
        assert all(a <= b for a, b in zip(before, positions)), f"{name} put partition {partition} back from {before} to {positions}"
        self.made[name] += 1
        self.at[partition] = positions
        if self.owners[partition][-1:] != [name]:
            self.owners[partition].append(name)


def read_marker(value):
    """Who made it, and how far it says the partition's topics are applied: see pipeline/cluster_wire.c."""
    at = 9

    def varint():
        nonlocal at
        number = shift = 0
        while True:
            number |= (value[at] & 127) << shift
            at, shift = at + 1, shift + 7
            if value[at - 1] < 128:
                return number

    def text():
        nonlocal at
        length = varint()
        at += length
        return value[at - length : at].decode()

    name = text()
    varint(), varint()  # epoch, stream time
    positions = []
    for _ in range(varint()):
        text()
        positions.append(varint() - 1)
        varint()
        at += 8
    return name, positions
