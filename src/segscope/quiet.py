"""What a run shows of itself, and nothing of the libraries beneath; with SEGSCOPE_VERBOSE=1 all.

TensorFlow's log is left at errors that end the program (the others are exceptions), but its first lines, written while
it is imported, know no level: they pass through grep, a process of its own, so that what a crash says last is shown.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

VARIABLE = "SEGSCOPE_VERBOSE"
# Of TensorFlow's log what is information or a warning, and its heading; errors pass, and what is of no log.
GREETINGS = r"^(WARNING: All log messages before absl::InitializeLog|[IW][0-9]{4} [0-9:.]+ )"
LIBRARIES = r"(absl|distributed|dvclive|joblib|keras|numba|pynndescent|sklearn|tensorflow|umap)(\.|$)"


def verbose() -> bool:
    """Whether the user wants to see all."""
    return os.environ.get(VARIABLE, "0") not in ("", "0")


def detail(*lines: str) -> None:
    """Print lines that only those want who want to see all."""
    if verbose():
        print(*lines, sep="\n", flush=True)


def hush() -> None:
    """Keep what libraries say to developers off the screen, and bars that are full, unless all is wanted.

    To be called before TensorFlow and tqdm are imported.
    """
    if verbose():
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TQDM_LEAVE", "")
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", module=LIBRARIES)
    if "tensorflow" not in sys.modules and not any(isinstance(finder, _Greeter) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Greeter())


class _Greeter(MetaPathFinder):
    """Finds TensorFlow as it would be found, to be imported without its greetings."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec and spec.loader:
            load = spec.loader.exec_module

            def load_quietly(module: ModuleType) -> None:
                with without_greetings():
                    load(module)

            spec.loader.exec_module = load_quietly  # type: ignore[method-assign]
        return spec


@contextmanager
def without_greetings() -> Iterator[None]:
    """A block of whose lines on file descriptor 2 those of GREETINGS are not shown."""
    sys.stderr.flush()
    with os.fdopen(os.dup(2), "wb") as shown:
        command = ["grep", "--text", "--line-buffered", "--invert-match", "--extended-regexp", GREETINGS]
        try:
            grep = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=shown)
        except OSError:  # no grep here: all is shown
            yield
            return
        assert grep.stdin
        os.dup2(grep.stdin.fileno(), 2)
        grep.stdin.close()
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(shown.fileno(), 2)
            grep.wait()
