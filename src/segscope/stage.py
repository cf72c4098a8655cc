"""What every stage script shares: the run it works on, readable errors and warnings out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from segscope.artefacts.measures import METRICS
from segscope.artefacts.parallel import engine
from segscope.errors import SegscopeError, carried, printable, surroundings
from segscope.outcome import outcome
from segscope.params_file import load_params
from segscope.quiet import hush
from segscope.run import Run

hush()  # the scripts import it before what imports TensorFlow


def main(stage: Callable[[Run], None]) -> None:
    """Call a stage with the run of the working folder, and say what came of it.

    On an error that the user can mend, say it and exit with status 1.
    """
    try:
        params = load_params()
        if not _numba_has_a_folder():
            os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(params.data.cache_dir).absolute() / "numba"))
        run, name = Run(params), Path(stage.__code__.co_filename).stem
        if name in METRICS:
            run.require_outputs(name)
        with engine(params):
            stage(run)
        if name in METRICS:
            print(outcome(name, run.measures(name)))
    except Exception as error:
        said = str(error) if isinstance(error, SegscopeError) else surroundings(error) or carried(error)
        if said is None:
            raise
        print(printable(f"error: {said}"), file=sys.stderr)
        sys.exit(1)


def warn(*messages: str | None) -> None:
    """Say on standard error what the user should know, if there is anything."""
    for message in filter(None, messages):
        print(f"warning: {printable(message)}", file=sys.stderr)


def _numba_has_a_folder() -> bool:
    """Whether Numba can keep what it compiles of UMAP: beside the package, or in the user's cache folder.

    Else it raises RuntimeError at the import, or has to be told another.
    """
    package = find_spec("umap")  # found, not imported: that takes seconds
    own = [*(package.submodule_search_locations or () if package else ())]
    own.append(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return any(_writable(Path(place)) for place in own)


def _writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or it itself. Of no home, `~` is left as it is, and is no folder."""
    there = next((parent for parent in (folder, *folder.parents) if parent.exists()), folder)
    return folder.is_absolute() and os.access(there, os.W_OK)
