"""Makes freshet.v1 from the repository's protos while the package is built; nothing generated is kept in the repository.

protoc's own Python modules run with the protobuf release they were made for and the next one only, and those who train models
are often held to another. So freshet.v1 carries the descriptors, from which freshet._messages makes the classes, and protoc's
type stubs.
"""

import pathlib
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = "freshet/v1"
MODULE = '''"""The messages of {proto}."""

from freshet import _messages

_messages.load("{proto}", globals())
'''


def protos():
    """The root of the protos: of the repository, or inside a source distribution, which cannot reach out of its folder."""
    for root in (HERE / "proto", HERE.parents[1] / "proto"):
        if (root / PACKAGE).is_dir():
            return root
    raise FileNotFoundError(
        f"no {PACKAGE}/*.proto in {HERE / 'proto'} or {HERE.parents[1] / 'proto'}: build from a whole checkout"
    )


def generate(target):
    """Writes the package freshet.v1 below `target`."""
    from grpc_tools import protoc

    root, package = protos(), target / PACKAGE
    names = sorted(path.relative_to(root).as_posix() for path in (root / PACKAGE).glob("*.proto"))
    package.mkdir(parents=True, exist_ok=True)
    outputs = [f"--descriptor_set_out={package / 'descriptors.binpb'}", "--include_imports", f"--pyi_out={target}"]
    if protoc.main(["protoc", f"--proto_path={root}", *outputs, *names]) != 0:
        raise RuntimeError(f"protoc failed on the protos of {root}")
    (package / "__init__.py").write_text('"""The messages of the services."""\n')
    for name in names:
        module = package / pathlib.PurePosixPath(name).with_suffix("").name
        module.with_name(f"{module.name}_pb2.py").write_text(MODULE.format(proto=name))


class BuildWithMessages(build_py):
    """An editable install reads the sources where they are, so there the messages go beside them; git ignores them."""

    def run(self):
        super().run()
        generate(HERE / "src" if self.editable_mode else pathlib.Path(self.build_lib))


class SdistWithProtos(sdist):
    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        shutil.copytree(protos() / PACKAGE, pathlib.Path(base_dir) / "proto" / PACKAGE, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithMessages, "sdist": SdistWithProtos})
