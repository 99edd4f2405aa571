"""`freshet check`: every mistake by file, line and column, with what would be right."""

import json
import re

import pytest
import yaml

import mistakes
import settings
from node import run_cli


@pytest.mark.parametrize("name", mistakes.MISTAKES)
def test_a_mistake_is_named_by_place_and_mend(binary, tmp_path, name):
    marked, mend = mistakes.MISTAKES[name]
    text, line, column = mistakes.placed(marked)
    file = tmp_path / "node.yaml"
    file.write_text(text)
    done = run_cli(binary, "check", "--config", file)
    assert done.returncode == 1
    assert f"{file}:{line}:{column}: " in done.stderr, f"wanted {line}:{column}, got {done.stderr}"
    message = next(one for one in done.stderr.splitlines() if f":{line}:{column}: " in one)
    assert mend in message.split(f":{line}:{column}: ")[1]


def test_all_mistakes_are_told_at_once(binary, tmp_path):
    text, *_ = mistakes.placed(mistakes.feature("{ entity: itme, aggregate: count, windows: [1x] }") + "node: { lanes: two }\n")
    file = tmp_path / "node.yaml"
    file.write_text(text)
    done = run_cli(binary, "check", "--config", file)
    assert done.returncode == 1
    assert len(re.findall(rf"^{re.escape(str(file))}:\d+:\d+: ", done.stderr, re.MULTILINE)) == 3, done.stderr


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("entities: { user: { key: [user_id] }\n", None),
        ("entities:\n\t- a\n", 2),
        ("", 1),
        ("- a\n- b\n", 1),
    ],
)
def test_what_is_no_configuration_is_refused(binary, tmp_path, text, line):
    file = tmp_path / "node.yaml"
    file.write_text(text)
    done = run_cli(binary, "check", "--config", file)
    assert done.returncode == 1
    assert re.search(rf"{re.escape(str(file))}:{line or '[0-9]+'}:\d+: ", done.stderr), done.stderr


def test_a_good_configuration_is_accepted_with_an_estimate(binary, tmp_path):
    file = tmp_path / "node.yaml"
    file.write_text(yaml.safe_dump(settings.configuration("embedded"), sort_keys=False))
    done = run_cli(binary, "check", "--config", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^user: \d+ B in memory", done.stdout, re.MULTILINE)


def cost(binary, tmp_path, *arguments):
    file = tmp_path / "node.yaml"
    file.write_text(yaml.safe_dump(settings.configuration("embedded"), sort_keys=False))
    return run_cli(binary, "check", "--config", file, *arguments)


def test_cardinalities_give_what_the_state_costs(binary, tmp_path):
    told = cost(binary, tmp_path, "--cardinality", "user=1000000", "--cardinality", "item=5e4", "--rate", 20_000, "--json")
    assert (told.returncode, told.stderr) == (0, "")
    answer = json.loads(told.stdout)
    kinds = {one["name"]: one for one in answer["entities"]}
    assert {name: one["entities"] for name, one in kinds.items()} == {"user": 1_000_000, "item": 50_000}
    for store in ("memory", "disk"):
        for one in kinds.values():
            assert 0 < one["leastBytes"][store] <= one["typicalBytes"][store] <= one["fullBytes"][store]
        whole = sum(one["entities"] * one["typicalBytes"][store] for one in kinds.values())
        assert answer["typicalBytes"][store] == pytest.approx(whole, rel=0.01)
    assert answer["epochSeconds"] == 0.5  # at most 10,000 users and as many items change in one
    assert 0 < kinds["user"]["epochBytes"] <= 10_000 * kinds["user"]["typicalBytes"]["disk"] * 1.01
    text = cost(binary, tmp_path, "--cardinality", "user=1000000", "--rate", 100)
    assert text.returncode == 0 and "GiB in memory" in text.stdout and "--cardinality item=N" in text.stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--cardinality", "usre=5"), "user"),
        (("--cardinality", "user"), "entity=number"),
        (("--cardinality", "user=-1"), "entity=number"),
        (("--rate", 5), "--cardinality"),
        (("--cardinality", "user=5", "--against", "/nowhere"), "one at a time"),
    ],
)
def test_a_cardinality_that_makes_no_sense_is_usage(binary, tmp_path, arguments, word):
    done = cost(binary, tmp_path, *arguments)
    assert done.returncode == 2 and done.stdout == "" and word in done.stderr


def test_a_missing_file_says_so(binary, tmp_path):
    done = run_cli(binary, "check", "--config", tmp_path / "none.yaml")
    assert done.returncode == 1
    assert "none.yaml" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("one", ["node.lanes=two", "node.lane=2", "nonsense", "store.memory=12parsecs"])
def test_a_wrong_set_is_named(binary, tmp_path, one):
    file = tmp_path / "node.yaml"
    file.write_text(mistakes.GOOD)
    done = run_cli(binary, "check", "--config", file, "--set", one)
    assert done.returncode in (1, 2)
    assert one.split("=")[0].split(".")[-1] in done.stderr


def test_set_overrides_the_file(binary, tmp_path):
    file = tmp_path / "node.yaml"
    file.write_text(mistakes.GOOD + "node: { lanes: 1 }\n")
    assert run_cli(binary, "check", "--config", file, "--set", "node.lanes=4", "--set", "kafka.group=other").returncode == 0


def test_secrets_come_from_the_environment_and_from_files(binary, tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    file = tmp_path / "node.yaml"
    file.write_text(mistakes.GOOD + "kafka: { group: '${FLOW_GROUP}', properties: { sasl.password: 'file:%s' } }\n" % secret)
    monkeypatch.delenv("FLOW_GROUP", raising=False)
    assert "FLOW_GROUP" in run_cli(binary, "check", "--config", file).stderr
    monkeypatch.setenv("FLOW_GROUP", "mine")
    done = run_cli(binary, "check", "--config", file)
    assert done.returncode == 0, done.stderr
    assert "s3cret" not in done.stdout + done.stderr
