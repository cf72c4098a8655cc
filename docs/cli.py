"""docs/cli.md, from the commands' own help: `make cli`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from segscope.cli import make_parser

PAGE = Path(__file__).parent / "cli.md"
HEAD = """# The commands

What `segscope --help` and `segscope COMMAND --help` print; made by `make cli`. What a command writes lies in
`exports/`, which git ignores, unless `--out` says otherwise. The pipeline itself runs by `dvc repro` and `dvc exp run`.
"""


def page() -> str:
    """The page's text."""
    with mock.patch.dict(os.environ, COLUMNS="110"):
        return HEAD + "".join(_sections(make_parser(), "segscope"))


def _sections(parser: argparse.ArgumentParser, name: str) -> Iterator[str]:
    yield f"\n## {name}\n\n```text\n{parser.format_help()}```\n"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command, child in action.choices.items():
                yield from _sections(child, f"{name} {command}")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
