"""What every stage script shares: the run it works on, readable errors and warnings out."""

from __future__ import annotations

import sys
from collections.abc import Callable

from segscope.errors import SegscopeError
from segscope.params_file import load_params
from segscope.run import Run


def main(stage: Callable[[Run], None]) -> None:
    """Call a stage with the run of the working folder; on an error the user can mend, say it and exit with status 1."""
    try:
        stage(Run(load_params()))
    except SegscopeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def warn(message: str | None) -> None:
    """Say something on standard error, if there is anything to say."""
    if message:
        print(message, file=sys.stderr)
