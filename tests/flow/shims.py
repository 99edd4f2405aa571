"""Libraries for LD_PRELOAD that tests/faults makes: each stands between a node and what fails, or lies, on purpose."""

import os
import pathlib

from conftest import missing


def shim(binary, name):
    """The library called so, "call_faults" say; FRESHET_CALL_FAULTS names another file."""
    library = pathlib.Path(os.environ.get(f"FRESHET_{name.upper()}", binary.parent / f"tests/faults/lib{name}.so"))
    return library.resolve() if library.exists() else missing(f"no {library}; build the tests or set FRESHET_{name.upper()}")
