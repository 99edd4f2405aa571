"""What pip makes of it, and what a type checker says."""

import pathlib
import shutil
import subprocess
import sys
import textwrap
import zipfile

import pytest

from conftest import missing

CLIENT = pathlib.Path(__file__).resolve().parents[1]
MODULES = {"admin", "event", "feature", "model", "recall"}


@pytest.fixture
def checkout(tmp_path):
    """The client and the protos, where they are in the repository; builds leave their things in it."""
    ignored = shutil.ignore_patterns("build", "v1", "*.egg-info")
    shutil.copytree(CLIENT, tmp_path / "checkout/clients/python", ignore=ignored)
    shutil.copytree(CLIENT.parents[1] / "proto/freshet", tmp_path / "checkout/proto/freshet")
    return tmp_path / "checkout/clients/python"


def run(*arguments, **options):
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wheel(source, directory):
    run("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", directory, source)
    (made,) = directory.glob("freshet_client-*.whl")
    return made


def check_wheel(made):
    names = set(zipfile.ZipFile(made).namelist())
    assert made.name.endswith("-py3-none-any.whl")
    assert {"freshet/__init__.py", "freshet/py.typed", "freshet/v1/__init__.py", "freshet/v1/descriptors.binpb"} <= names
    assert {f"freshet/v1/{module}_pb2.{ending}" for module in MODULES for ending in ("py", "pyi")} <= names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"freshet"}


def test_a_wheel_from_a_checkout(checkout, tmp_path):
    made = wheel(checkout, tmp_path)
    check_wheel(made)
    target = tmp_path / "installed"
    run("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", target, made)
    said = run(
        "-c", "import freshet; from freshet.v1 import model_pb2; print(freshet.__file__, model_pb2.PushRequest.WEIGHTS)",
        env={"PYTHONPATH": str(target)}, cwd=tmp_path,
    )  # fmt: skip
    assert said.split() == [str(target / "freshet/__init__.py"), "1"]


def test_a_source_distribution_carries_the_protos(checkout, tmp_path):
    run("setup.py", "-q", "sdist", "-d", tmp_path, cwd=checkout)
    (archive,) = tmp_path.glob("freshet_client-*.tar.gz")
    alone = tmp_path / "alone"
    shutil.unpack_archive(archive, alone)
    (source,) = alone.iterdir()
    check_wheel(wheel(source, tmp_path))


def test_the_package_and_its_use_are_well_typed(built, tmp_path):
    try:
        import mypy  # noqa: F401
    except ImportError:
        missing("no mypy here")
    (tmp_path / "use.py").write_text(
        textwrap.dedent(
            """
            import asyncio
            from typing import Any

            import numpy as np
            import numpy.typing as npt

            import freshet


            def read(client: freshet.Client) -> npt.NDArray[np.float32]:
                ids: list[freshet.Id] = [1, "b", np.uint64(3)]
                reply: freshet.Features = client.get_features("alice", ids, after=[freshet.Offset("t", 0, 1)])
                lag: int = client.status().lag_events
                print(lag, [one.name for one in client.describe().features], reply.sequences[0]["item_id"].dtype)
                return reply.items


            async def read_async(client: freshet.AsyncClient) -> str:
                reply = await client.get_features(1, np.arange(3, dtype=np.uint64), timeout=0.1)
                names: tuple[str, ...] = reply.item_columns
                return (await client.digest(all=True)).digest + names[0]
            """
        )
    )
    run(
        "-m", "mypy", "--config-file", CLIENT / "pyproject.toml", "--cache-dir", tmp_path / "cache", "-p", "freshet",
        "-m", "use", cwd=tmp_path, env={"MYPYPATH": str(built)},
    )  # fmt: skip
