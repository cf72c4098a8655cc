"""The first two stages in this process, on a folder of the user's."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from project import ROOT

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


def stage(name: str) -> Callable[[Run], None]:
    spec = importlib.util.spec_from_file_location(f"stage_{name}", ROOT / "stages" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def run_stages(run: Run) -> Run:
    for name in ("download", "masks"):
        stage(name)(run)
    return run
