"""What every stage script shares: parameters in, readable errors and warnings out."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pandas as pd

from segscope.errors import SegscopeError
from segscope.params import Params, load_params


def run(stage: Callable[[Params], None]) -> None:
    """Call a stage with the params of params.yaml; on an error the user can mend, say it and exit with status 1."""
    try:
        stage(load_params())
    except SegscopeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def count_skipped(skipped: pd.DataFrame) -> dict[str, int]:
    """How many rows of a skipped table there are for each reason."""
    return skipped["reason"].value_counts().sort_index().to_dict()


def say_skipped(skipped: pd.DataFrame, listed_in: str) -> None:
    """Say on standard error what was left out, and where it is listed."""
    if len(skipped):
        reasons = ", ".join(f"{n} {reason}" for reason, n in count_skipped(skipped).items())
        print(f"left out: {reasons}; see {listed_in}", file=sys.stderr)
