"""
Files of users that owners put into a directory that all instances see, and what a new owner makes of them: what is served then is what one
node that stands alone serves (test_cluster.py's), however much of it came out of files, and whatever was done to those.
"""

import shutil
import struct
import time

import pytest
import xxhash

from node import wait_for
from test_cluster import PARTITIONS, configuration
from test_crash import faulty  # noqa: F401 (a fixture)
from test_standby import Standing, metric

DAY_MS = 86_400_000


class Shipping(Standing):
    """Instances whose checkpoints lie in one directory."""

    def __init__(self, make_node, brokers, directory):
        self.directory = directory / "shared"
        self.directory.mkdir()
        super().__init__(make_node, brokers)

    def begin(self, name, is_ready=True, **more):
        if name not in self.instances:
            made = configuration(self.brokers, self.topic, "cluster", name, self.second, **more)
            made["store"].update(checkpoints=str(self.directory), checkpoint_every="1s")
            self.instances[name] = self.make_node(made, name)
        return super().begin(name, is_ready)

    def files(self, partition):
        """The newest first."""
        return sorted(self.directory.glob(f"{self.group}.{partition:04}.*.users"), reverse=True)

    def wait_files(self):
        """Until each partition has one that was made after all that was loaded so far."""
        now = time.time()
        for node in self.running():
            wait_for(lambda: gauge(node, "freshet_cluster_checkpoints_seconds") > now, "a round of files", 60)  # noqa: B023
        assert all(self.files(partition) for partition in range(PARTITIONS))

    def wipe(self, name):
        """Its state is lost, while nobody else has its partitions yet."""
        node = self.instances[name]
        own = self.owned(node)
        node.kill()
        shutil.rmtree(node.configuration["store"]["path"])
        return node, own


def gauge(node, name):
    lines = [line for line in node.page("/metrics")[2].decode().splitlines() if line.startswith(f"{name} ")]
    return float(lines[0].split()[1])


def taken(node):
    return metric(node, "freshet_cluster_checkpoints_taken_total"), metric(node, "freshet_cluster_checkpoints_refused_total")


def damage(path):
    """A bit of what the last record is."""
    data = bytearray(path.read_bytes())
    data[-40] ^= 4
    path.write_bytes(data)


def varint(data, at):
    value = shift = 0
    while data[at] > 127:
        value, shift, at = value | (data[at] & 127) << shift, shift + 7, at + 1
    return value | data[at] << shift, at + 1


def written(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def age(path, by_ms):
    """As if it had been made so much earlier."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 8)
    head = data[20 : 20 + length]
    at = 9  # version and catalogue
    for _ in range(3):  # partition, partitions, offset
        _, at = varint(head, at)
    made_ms, end = varint(head, at)
    head = head[:at] + written(made_ms - 2 * by_ms) + head[end:]  # zigzag
    path.write_bytes(data[:8] + struct.pack("<IQ", len(head), xxhash.xxh64_intdigest(head, 0)) + head + data[20 + length :])


@pytest.fixture
def shipping(make_node, real_kafka, tmp_path):
    return Shipping(make_node, real_kafka, tmp_path)


def test_who_lost_its_state_has_it_from_files_and_the_changelogs_rest(shipping):
    """One of two that lose theirs finds a damaged file of one partition, and one that is too old of another."""
    for name in "abc":
        shipping.begin(name)
    shipping.load(1_500)
    shipping.wait_shared()
    shipping.wait_files()
    with shipping.loading(500):  # that the files may not have
        first, (damaged, old, sound) = shipping.wipe("a")
        second, own = shipping.wipe("b")
        refused = [str(path) for path in shipping.files(damaged) + shipping.files(old)]
        for path in shipping.files(damaged):
            damage(path)
        for path in shipping.files(old):
            age(path, 4 * DAY_MS)
        for name in "ab":
            shipping.begin(name, is_ready=False)
    wait_for(lambda: shipping.owned(first) == [damaged, old, sound] and shipping.owned(second) == own, "they have their partitions")
    found, times = taken(first)
    assert found == 1 and times >= len(refused), first.log()  # more, where it had begun before it was assigned them
    assert all(path in first.log() for path in refused)
    assert "has a block with a wrong checksum" in first.log() and "is too old" in first.log()
    assert taken(second) == (len(own), 0), second.log()
    assert metric(second, "freshet_cluster_checkpoints_records_total") > 0
    shipping.check()
    shipping.wait_files()  # new ones of all, also of those
    assert all(len(shipping.files(partition)) <= 2 for partition in range(PARTITIONS))


@pytest.mark.long
@pytest.mark.parametrize("point", ["mid_users_write:2", "mid_users_read:1", "mid_users_read:3", "mid_sst_write:3"])
def test_killed_while_a_file_is_written_or_read_it_comes_back_whole(shipping, faulty, point):  # noqa: F811
    for name in "ab":
        shipping.begin(name)
    shipping.load(2_000)
    shipping.wait_shared()
    shipping.wait_files()
    node, _ = shipping.wipe("b")
    whole, node.binary, node.environment = node.binary, faulty, {"FRESHET_FAULT": f"{point}:kill"}
    node.start(is_ready=False)
    wait_for(lambda: shipping.load(50) or node.process.poll() is not None, "it is killed")
    assert node.ended() == -9
    assert ("write" in point and "users" in point) == bool(list(shipping.directory.glob(".*.part")))
    node.binary, node.environment = whole, {}
    shipping.begin("b")
    shipping.check()
    shipping.wait_files()
    assert not list(shipping.directory.glob(".*.part"))


@pytest.mark.long
def test_a_forgotten_user_stays_forgotten_where_only_a_file_tells_of_it(shipping):
    shipping.begin("a")
    shipping.load(1_000)
    shipping.check()
    user, begin_ms = 7, time.time() * 1000
    for node in (shipping.instances["a"], shipping.alone):
        assert node.cli("forget", user, "--json").returncode == 0
    end_ms, made = time.time() * 1000, shipping.some_twice  # what is late for one of the two alone is nobody's
    shipping.some_twice = lambda count: [one for one in made(count) if one["user_id"] != user or not begin_ms <= one["ts_ms"] <= end_ms]
    shipping.wait_files()
    shipping.wipe("a")
    node = shipping.begin("a")
    assert taken(node) == (PARTITIONS, 0)
    shipping.load(500)  # up to twenty seconds old: his of before are dropped
    shipping.check()


@pytest.mark.long
def test_a_directory_that_is_not_there_is_told_and_nothing_waits_for_it(shipping):
    shipping.directory.rmdir()
    node = shipping.begin("a")
    shipping.load(500)
    shipping.check()
    wait_for(lambda: metric(node, "freshet_cluster_checkpoints_failed_total") >= PARTITIONS, "files that could not be written")
    assert "no checkpoint of partition" in node.log()
    shipping.wipe("a")
    shipping.begin("a")
    assert "without it more of the changelog is read" in node.log()
    shipping.check()
