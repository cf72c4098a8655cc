"""Stages in this process: most of a small stage's time is that of its imports."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import pytest
import yaml
from project import ROOT

import segscope.stage
from segscope.params_file import parse_params
from segscope.run import Run


def first_stages(folder: Path, root: Path, variants: dict[str, Any] | None = None, **data: Any) -> Run:
    """The run of `folder` after download and masks, of the data set below `root`."""
    (folder / "exclude.yaml").parent.mkdir(parents=True, exist_ok=True)
    (folder / "exclude.yaml").touch()
    data = {"source": "directory", "root": str(root), "image_size": 32, "cache_dir": str(folder / "cache")} | data
    params: dict[str, Any] = {"data": data | {"exclude": str(folder / "exclude.yaml")}}
    params["model"] = {"encoder_weights": "none"}
    if variants:
        params |= {"variants": variants, "variant": next(iter(variants))}
    return run_stages(Run(parse_params(yaml.safe_dump(params), "params.yaml"), folder))


@cache
def stage(name: str) -> Callable[[Run], None]:
    spec = importlib.util.spec_from_file_location(f"stage_{name}", ROOT / "stages" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def run_stage(name: str, printed: TextIO | None = None) -> tuple[int, str]:
    """Run a stage of the working folder: its exit status, and what it said on standard error.

    printed: gets what it printed.
    """
    said = io.StringIO()
    with redirect_stderr(said), redirect_stdout(printed or io.StringIO()):
        try:
            segscope.stage.main(stage(name))
        except SystemExit as ended:
            return int(ended.code or 0), said.getvalue()
    return 0, said.getvalue()


def call_here(folder: Path, name: str, printed: TextIO | None = None) -> tuple[int, str]:
    """It, of another folder, and without workers: theirs would be another still."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LOKY_MAX_CPU_COUNT", "1")
        return run_stage(name, printed)


def run_here(folder: Path, *names: str) -> str:
    """Stages of a folder, none of which may fail; returns what they said."""
    said = io.StringIO()
    for name in names:
        status, text = call_here(folder, name, said)
        assert status == 0, text
        said.write(text)
    return said.getvalue()


def run_stages(run: Run) -> Run:
    for name in ("download", "masks"):
        stage(name)(run)
    return run
