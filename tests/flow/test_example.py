"""The example of the Contract, word for word: the node takes it, and reads from it what PyYAML, a reader of YAML 1.1, does."""

import pathlib

import pytest
import yaml

import oracle
from freshet.v1 import feature_pb2
from node import run_cli

FILE = pathlib.Path(__file__).with_name("example.yaml")


@pytest.fixture
def example():
    return yaml.safe_load(FILE.read_text())


def scalars(value, path=()):
    """Every (path, key or value) below."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield (*path, "key"), key
            yield from scalars(below, (*path, key))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from scalars(below, (*path, number))
    else:
        yield path, value


def test_check_accepts_it(binary, tmp_path):
    done = run_cli(binary, "check", "--config", FILE, "--set", f"store.path={tmp_path}/store")
    assert done.returncode == 0, done.stderr


def test_no_word_of_it_is_a_boolean_or_a_date_but_what_shall_be(example):
    odd = [(path, value) for path, value in scalars(example) if not isinstance(value, (str, int, float)) or isinstance(value, bool)]
    assert odd == [(("features", "user_seen", "seen"), True)]
    assert all(isinstance(value, str) for path, value in scalars(example) if path[-1] == "key")


def described(node):
    found = node.call("FeatureService/Describe", feature_pb2.DescribeRequest(), feature_pb2.DescribeResponse)
    for feature in found.features:
        feature.complete_from_ms = 0
    return found


def test_the_node_reads_what_pyyaml_reads(make_node, example):
    theirs = make_node(example, "theirs")
    example["store"]["path"] = str(theirs.directory / "theirs.store")
    example["server"].update(listen="127.0.0.1:0", operations="127.0.0.1:0")
    theirs.file.write_text(yaml.safe_dump(example, sort_keys=False))
    theirs.start()
    ours = make_node(example, "ours")
    ours.file.write_text(FILE.read_text())
    ours.start(f"store.path={ours.directory}/ours.store", "server.listen=127.0.0.1:0", "server.operations=127.0.0.1:0")
    found = described(ours)
    assert found == described(theirs)
    assert [one.name for one in found.features] == list(example["features"])
    assert [one.aggregate for one in found.features] == [one["aggregate"] for one in example["features"].values()]
    assert {one.name: list(one.key) for one in found.entities} == {name: one["key"] for name, one in example["entities"].items()}
    assert [(one.name, one.entity, one.rank, list(one.scopes), one.limit) for one in found.lists] == [
        (name, one["of"], one["rank"], one["scopes"], one["limit"]) for name, one in example["lists"].items()
    ]


def test_the_oracle_reads_it_too(example):
    made = oracle.Oracle(example)
    columns = [column.name for feature in made.features.values() for column in feature.columns()]
    assert "item_like_rate.1h.sd" in columns and "user_creator_heat" in columns and "item_viewers.24h" in columns
    assert not made.reply(1, [2], 1, feature_set="fine_rank").user_present
