"""The console script `segscope`."""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from tqdm import tqdm

from segscope import __version__
from segscope.errors import SegscopeError
from segscope.files import atomic_path
from segscope.params import load_params

MODEL = Path("artifacts/model.keras")
ENDINGS = {"saved_model": "", "tflite": ".tflite", "onnx": ".onnx"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    # TensorFlow's greetings are of no use here; its errors are exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        return command(options)
    except SegscopeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segscope", description="Look into a segmentation model. The pipeline runs by `dvc repro`."
    )
    parser.add_argument("--version", action="version", version=f"segscope {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="validate a params file and print it with its defaults")
    check.add_argument("params", nargs="?", default="params.yaml", metavar="PARAMS", help="default: params.yaml")
    check.set_defaults(run=_check)

    predict = commands.add_parser("predict", help="segment photographs: mask, overlay and share of each class")
    predict.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    predict.add_argument("--out", type=Path, default=Path("predictions"), metavar="DIR", help="default: %(default)s")
    predict.set_defaults(run=_predict)

    export = commands.add_parser("export", help="write the model in another program's format")
    export.add_argument("--format", choices=ENDINGS, required=True, dest="kind")
    export.add_argument("--out", type=Path, metavar="PATH", help="default: the model's name with the format's ending")
    export.set_defaults(run=_export)

    for command in (predict, export):
        command.add_argument(
            "--model", type=Path, default=MODEL, help="with its model card beside it; default: %(default)s"
        )
    return parser


def _check(options: argparse.Namespace) -> int:
    params = load_params(options.params).model_dump()
    print(yaml.safe_dump(params, sort_keys=False, allow_unicode=True), end="")
    return 0


def _predict(options: argparse.Namespace) -> int:
    from segscope.model_card import read_card
    from segscope.photographs import segment_file, stems
    from segscope.prediction import load_model

    names, size = read_card(options.model.with_suffix(".md"))
    model = load_model(options.model, len(names), size)
    options.out.mkdir(parents=True, exist_ok=True)
    rows, failed = [], []
    for path, stem in zip(tqdm(options.images, unit="image", disable=None), stems(options.images), strict=True):
        try:
            shares = segment_file(model, path, options.out, stem, names)
        except SegscopeError as error:
            failed.append(str(error))
            continue
        rows.append({"image": str(path), **shares})
        tqdm.write(f"{path}: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))
    with atomic_path(options.out / "shares.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", *names])
        writer.writeheader()
        writer.writerows(rows)
    for message in failed:
        print(f"error: {message}", file=sys.stderr)
    return 1 if failed else 0


def _export(options: argparse.Namespace) -> int:
    from segscope.export import export_model
    from segscope.model_card import read_card
    from segscope.prediction import load_model

    names, size = read_card(options.model.with_suffix(".md"))
    model = load_model(options.model, len(names), size)
    path = options.out or options.model.with_suffix(ENDINGS[options.kind])
    export_model(model, path, options.kind)
    print(f"{path}: RGB 0 to 255, float32 N × {size} × {size} × 3, to logits of {', '.join(names)}")
    return 0
