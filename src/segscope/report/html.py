"""What all pages share: the template of their frame, their assets, and data as scripts."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

ASSETS = ("style.css", "inter-latin.woff2", "licences.txt")
_PACKAGE = resources.files("segscope.report")


def template(name: str) -> jinja2.Template:
    """A page's template, by its path in this package; everything from the data is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda path: (_PACKAGE / path).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def write_assets(folder: Path, script: str) -> None:
    """Put the style, the type face, their licences and a page's script, by its path in this package, beside a page."""
    for name in (*(f"assets/{asset}" for asset in ASSETS), script):
        (folder / Path(name).name).write_bytes((_PACKAGE / name).read_bytes())


def write_script(folder: Path, name: str, content: Any) -> None:
    """Write `name`.js, which hands `content` to the page's script.

    A page that is opened from disk may load scripts, but not read JSON. What is not a number becomes null.
    """
    path = folder / f"{name}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_plain(content), separators=(",", ":"), allow_nan=False)
    # As for any script: no text of the data may end it.
    path.write_text(f"segscope({json.dumps(name)},{text});\n".replace("<", "\\u003c"), encoding="utf-8")


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
