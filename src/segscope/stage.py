"""What every stage script shares: parameters in, a readable error out."""

from __future__ import annotations

import sys
from collections.abc import Callable

from segscope.errors import SegscopeError
from segscope.params import Params, load_params


def run(stage: Callable[[Params], None]) -> None:
    """Call a stage with the params of params.yaml; on an error the user can mend, say it and exit with status 1."""
    try:
        stage(load_params())
    except SegscopeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
