"""The console script `segscope`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import yaml

from segscope import __version__
from segscope.errors import SegscopeError
from segscope.params import load_params


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="segscope", description="Look into a segmentation model. The pipeline runs by `dvc repro`."
    )
    parser.add_argument("--version", action="version", version=f"segscope {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="validate a params file and print it with its defaults")
    check.add_argument("params", nargs="?", default="params.yaml", metavar="PARAMS", help="default: params.yaml")
    options = parser.parse_args(arguments)
    try:
        print(
            yaml.safe_dump(load_params(options.params).model_dump(), sort_keys=False, allow_unicode=True),
            end="",
        )
    except SegscopeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
