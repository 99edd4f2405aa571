"""What a cluster needs before it runs, and what it refuses: configurations, topics that are made or were there, stores of others or of long ago."""

import yaml
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

import kafka
from node import run_cli
from test_clock import other_clock  # noqa: F401 (a fixture)
from test_cluster import PARTITIONS, cluster, configuration  # noqa: F401 (a fixture)


def test_what_clusters_do_not_carry_is_refused_in_a_line_each(binary, tmp_path):
    made = configuration("embedded", "t", "cluster", clock="event")
    made["features"]["habit"] = {"entity": "user", "aggregate": "decayed", "half_life": "1h"}
    made["lists"]["busy"] = {"of": "user", "rank": "habit", "scopes": ["global"], "limit": 10}
    file = tmp_path / "refused.yaml"
    file.write_text(yaml.safe_dump(made, sort_keys=False))
    done = run_cli(binary, "check", "--config", file)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if "node.mode: cluster: " in line]
    for what in ("needs node.id", "set kafka.brokers", "node.clock: event", "list 'busy' ranks users"):
        assert sum(what in line for line in lines) == 1, (what, done.stderr)
    assert len(lines) == 4


def test_the_clusters_topics_are_made_as_they_must_be(cluster):
    node = cluster.begin("a")
    admin = AdminClient({"bootstrap.servers": cluster.brokers})
    wanted = {
        f"{cluster.group}.changelog": {"cleanup.policy": "compact", "delete.retention.ms": str(7 * 86_400_000)},
        f"{cluster.group}.deltas": {"cleanup.policy": "delete", "retention.ms": str(31 * 86_400_000 + 120_000)},
    }
    for topic, settings_wanted in wanted.items():
        assert len(admin.list_topics(topic).topics[topic].partitions) == PARTITIONS
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        found = admin.describe_configs([resource])[resource].result()
        assert {name: found[name].value for name in settings_wanted} == settings_wanted
    assert node.stop() == 0
    made = configuration(cluster.brokers, cluster.topic, "cluster", "a")
    made["features"].pop("bond")
    other = cluster.make_node({**made, "store": {**made["store"], "path": str(node.directory / "other")}}, "other").spawn()
    assert other.ended() == 1
    assert "different catalogues" in other.log()
    short = kafka.new_topic(cluster.brokers, PARTITIONS // 2, prefix="short")
    unlike = cluster.make_node(configuration(cluster.brokers, cluster.topic, "cluster", "c", short), "unlike").spawn()
    assert unlike.ended() == 1
    assert f"do not all have as many partitions: '{cluster.topic}' {PARTITIONS}, '{short}' {PARTITIONS // 2}; make them anew" in unlike.log()
    assert "failed before" not in unlike.log()  # nothing has: it was refused


def test_of_two_with_one_name_the_elder_ends_and_says_why(cluster):
    elder = cluster.begin("a")
    made = configuration(cluster.brokers, cluster.topic, "cluster", "a", cluster.second)
    made["store"]["path"] = str(elder.directory / "other")
    younger = cluster.make_node(made, "younger").start()
    assert elder.ended() == 1
    assert "another process runs" in elder.log() and "node.id" in elder.log(), elder.log()[-1500:]
    assert younger.stop() == 0


def test_an_instances_store_is_no_nodes_and_no_backup(cluster, tmp_path, other_clock):  # noqa: F811
    node = cluster.begin("a")
    assert node.stop() == 0
    path = node.configuration["store"]["path"]
    lone = configuration(cluster.brokers, cluster.topic, "standalone", second=cluster.second)
    lone["store"]["path"] = path
    other = cluster.make_node(lone, "lone")
    for file in (node.file, other.file):
        done = run_cli(node.binary, "backup", tmp_path / "backups", "--config", file)
        assert done.returncode == 1 and "is of an instance of a cluster" in done.stderr, done.stderr
    assert not list((tmp_path / "backups").glob("*")), "nothing of it was made"
    assert cluster.alone.cli("backup", tmp_path / "of_another").returncode == 0
    done = run_cli(node.binary, "restore", tmp_path / "of_another", "--config", node.file)
    assert done.returncode == 1 and "is of an instance of a cluster" in done.stderr, done.stderr
    assert other.spawn().ended() == 1
    assert "is an instance's" in other.log()
    cluster.begin("a")  # and nothing of that has touched it
    assert "from the first record" not in node.log()
    assert node.stop() == 0
    node.environment = other_clock(4 * 86_400)  # the changelog may have lost deletes since it was here
    cluster.begin("a")
    assert f"has written nothing for 4 days: its {PARTITIONS} partitions are read from the first record" in node.log()


def test_topics_that_would_lose_something_are_refused_with_the_command(cluster):
    seen = 31 * 86_400_000 + 120_000
    good = {"changelog": {"cleanup.policy": "compact", "delete.retention.ms": "604800000"}, "deltas": {"retention.ms": "-1"}}
    wrong = {
        "changelog": [({"cleanup.policy": "compact,delete"}, "cleanup.policy=compact"), ({"delete.retention.ms": "1000"}, "delete.retention.ms=604800000")],
        "deltas": [
            ({"cleanup.policy": "compact"}, "cleanup.policy=delete"),
            ({"retention.ms": "3600000"}, f"retention.ms={seen}"),
            ({"retention.bytes": "1000000"}, "retention.bytes=-1"),
        ],
    }  # fmt: skip
    admin = AdminClient({"bootstrap.servers": cluster.brokers})
    nodes = []
    for suffix, cases in wrong.items():
        for more, mend in cases:
            group = f"{cluster.group}.{len(nodes)}"
            topics = [
                NewTopic(f"{group}.{name}", PARTITIONS, config={**settings, **(more if name == suffix else {})}) for name, settings in good.items()
            ]
            for made in admin.create_topics(topics).values():
                made.result(30)
            made = configuration(cluster.brokers, cluster.topic, "cluster", "x")
            made["kafka"]["group"] = group
            nodes.append((cluster.make_node(made, f"x{len(nodes)}").spawn(), f"--entity-name {group}.{suffix} --add-config {mend}"))
    for node, command in nodes:
        assert node.ended(60) == 1
        assert command in node.log(), (command, node.log()[-1500:])
