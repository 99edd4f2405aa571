"""The manual: pages and completion say what --help says, and shells and man(1) take them."""

import re
import shutil
import subprocess

import pytest

from conftest import missing
from node import run_cli


def manual(binary, page):
    done = run_cli(binary, "manual", page)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def options_of(binary, command):
    return re.findall(r"^  --([\w-]+)", run_cli(binary, command, "--help").stdout, re.MULTILINE)


@pytest.fixture(scope="module")
def commands(binary):
    """Each command and its options, as --help has them."""
    names = re.findall(r"^  (\w+) ", run_cli(binary, "--help").stdout, re.MULTILINE)
    assert len(names) > 15
    return {name: options_of(binary, name) for name in names}


@pytest.mark.parametrize("page", ["freshet.1", "freshet.yaml.5"])
def test_man_takes_the_page_without_a_warning(binary, tmp_path, page):
    if not shutil.which("man") or not shutil.which("groff"):
        missing("man or groff is not installed")
    (tmp_path / page).write_text(manual(binary, page))
    done = subprocess.run(
        ["man", "--warnings", "-l", tmp_path / page], capture_output=True, text=True, env={"LC_ALL": "C.UTF-8", "MANWIDTH": "100"}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "NAME" in done.stdout and "`" not in done.stdout


def test_the_page_has_every_option_of_every_command(binary, commands):
    page = manual(binary, "freshet.1")
    sections = dict(re.findall(r"^\.SS (\w+)\n(.*?)(?=^\.S[SH] )", page, re.MULTILINE | re.DOTALL))
    assert sections.keys() == commands.keys()
    for command, options in commands.items():
        for option in set(options) - {"help"}:
            assert rf".B \-\-{option}".replace("-", r"\-").replace(r"\\-", r"\-") in sections[command], (command, option)


def complete(script, line, directory):
    """What bash offers for the last word of the line."""
    words = line.split(" ")
    done = subprocess.run(
        ["bash", "-c", f'. {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _freshet; printf "%s\\n" "${{COMPREPLY[@]}}"']
        + ["bash", *words],
        capture_output=True,
        text=True,
        cwd=directory,
        check=True,
    )
    return set(done.stdout.split())


def test_bash_completes_commands_options_values_and_files(binary, commands, tmp_path):
    script, here = tmp_path / "freshet.bash", tmp_path / "here"
    script.write_text(manual(binary, "bash"))
    here.mkdir()
    (here / "my.yaml").touch()
    assert complete(script, "freshet ", here) == {*commands, "--help", "--version"}
    assert complete(script, "freshet pro", here) == {"produce"}
    for command, options in commands.items():
        assert complete(script, f"freshet {command} --", here) == {f"--{option}" for option in options}, command
    assert complete(script, "freshet run --config ", here) == {"my.yaml"}
    assert complete(script, "freshet produce --format j", here) == {"jsonl"}
    assert complete(script, "freshet model pro", here) == {"promote"}
    assert complete(script, "freshet get --user ", here) == set()


@pytest.mark.parametrize("shell, flag", [("zsh", "-n"), ("fish", "--no-execute")])
def test_the_other_shells_read_theirs_and_it_has_every_option(binary, commands, tmp_path, shell, flag):
    text = manual(binary, shell)
    for command, options in commands.items():
        assert command in text
        for option in options:
            assert f"--{option}[" in text or f"-l {option} " in text, (command, option)
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed: its syntax is not checked")
    (tmp_path / "script").write_text(text)
    done = subprocess.run([shell, flag, tmp_path / "script"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_page_is_usage_and_the_nearest_is_told(binary):
    done = run_cli(binary, "manual", "fisch")
    assert done.returncode == 2 and "did you mean fish" in done.stderr
