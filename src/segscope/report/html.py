"""What all pages share: templates and assets."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import jinja2
from plotly.offline import get_plotlyjs

_PACKAGE = resources.files("segscope.report")


def template(name: str) -> jinja2.Template:
    """A page's template, by its path in this package; everything from the data is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def write_assets(folder: Path, *names: str) -> None:
    """Put styles and scripts, by their paths in this package, beside a page, and Plotly."""
    for name in names:
        (folder / Path(name).name).write_text(_text(name), encoding="utf-8")
    (folder / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")


def _text(name: str) -> str:
    return (_PACKAGE / name).read_text(encoding="utf-8")
