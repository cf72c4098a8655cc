"""The console script `segscope`."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from segscope.artefacts.files import atomic_folder, atomic_path, output_folder, refuse_existing, refuse_foreign
from segscope.errors import SegscopeError, printable, reason, surroundings
from segscope.quiet import hush

# What needs more than the standard library is imported by the command that needs it: a broken installation can then
# be looked at, too (`doctor`, `check`).
if TYPE_CHECKING:
    from PIL import Image

OUT = Path("exports")  # where results go if nothing else is said: git ignores it
LABELS = {  # the suspects of a split, by format
    "coco": "label_issues.{split}.coco.json",
    "csv": "label_issues.{split}.csv",
    "label-studio": "label_issues.{split}.label_studio.json",
}
PICTURES = (".jpg", ".jpeg", ".png")
ENDINGS = {"saved_model": "", "tflite": ".tflite", "onnx": ".onnx"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    hush()
    options = make_parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        return command(options)
    except (SegscopeError, OSError, MemoryError, ImportError, SyntaxError) as error:
        said = _said(error)
        if said is None:
            raise
        print(printable(f"error: {said}"), file=sys.stderr)
        return 1


def _said(error: Exception) -> str | None:
    if isinstance(error, SegscopeError):
        return str(error)
    if isinstance(error, (ImportError, SyntaxError)):  # a package is missing, or Python is too old for the code
        return f"{error}; the installation is not whole, and `segscope doctor` says what to do"
    if isinstance(error, OSError) and error.strerror:
        return surroundings(error) or f"{error.filename or 'a file'}: {error.strerror}"
    return surroundings(error)


def _version() -> str:
    try:
        return version("segscope")
    except PackageNotFoundError:
        return "not installed"


class Parser(argparse.ArgumentParser):
    """Of what is misspelled it says what is spelled alike."""

    known: ClassVar[set[str]] = set()  # options of any command

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        """As argparse's."""
        self.known.update(name for name in names if name.startswith("--"))
        return super().add_argument(*names, **options)

    def error(self, message: str) -> NoReturn:
        """Say it, and what may be meant, and exit with status 2."""
        choice = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)$", message)
        option = re.search(r"unrecognized arguments: (--[^\s=]+)", message)
        near: list[str] = []
        if choice:
            near = get_close_matches(choice[1], re.findall(r"[\w-]+", choice[2]), 1)
        elif option:
            near = get_close_matches(option[1], self.known, 1)
        # The shell puts names of files among the arguments.
        super().error(printable(f"{message}; did you mean {near[0]}?" if near else message))


def make_parser() -> Parser:
    """The commands and their options."""
    parser = Parser(prog="segscope", description="Look into a segmentation model. The pipeline runs by `dvc repro`.")
    parser.add_argument("--version", action="version", version=f"segscope {_version()}")
    parser.set_defaults(run=_help_of(parser))
    commands = parser.add_subparsers(metavar="COMMAND")

    check = commands.add_parser("check", help="say whether a params file is valid, and if not, why")
    check.add_argument("params", nargs="?", default="params.yaml", metavar="PARAMS", help="default: params.yaml")
    check.add_argument("--show", action="store_true", help="print it, with the defaults of what it leaves out")
    check.add_argument("--defaults", action="store_true", help="read no file: print a whole one, of the defaults")
    check.set_defaults(run=_check)

    doctor = commands.add_parser("doctor", help="look at what surrounds segscope: what is missing, and what to do")
    doctor.set_defaults(run=_doctor)

    predict = commands.add_parser("predict", help="segment photographs: mask, overlay and share of each class")
    predict.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="photograph, folder (searched through) or glob pattern ('photos/**/*.jpg'); "
        "what is no image there is skipped and listed",
    )
    predict.add_argument("--out", type=Path, default=OUT / "predictions", metavar="DIR", help="default: %(default)s")
    predict.set_defaults(run=_predict)

    export = commands.add_parser("export", help="write the model in another program's format")
    export.add_argument("--format", choices=ENDINGS, required=True, dest="kind")
    export.add_argument(
        "--out", type=Path, metavar="PATH", help="default: in exports/, the model's name with the format's ending"
    )
    export.set_defaults(run=_export)

    layers = commands.add_parser("layers", help="a network's layers that have feature maps, for embed.layers")
    layers.add_argument("file", type=Path, metavar="FILE", help="a .keras file")
    layers.set_defaults(run=_layers)

    similar = commands.add_parser("similar", help="the images that look most alike to the model")
    similar.add_argument("image", metavar="IMAGE_ID|FILE")
    similar.add_argument("-k", type=_positive, default=12, help="how many; default: %(default)s")
    similar.add_argument("--heat", action="store_true", help="show what the images share")
    similar.add_argument("--out", type=Path, metavar="FILE", help="contact sheet; default: exports/similar.IMAGE.jpg")
    similar.set_defaults(run=_similar)

    explain = commands.add_parser("explain", help="what in an image makes the model see a class")
    explain.add_argument("image", metavar="IMAGE_ID|FILE")
    explain.add_argument("--class", dest="name", required=True, metavar="CLASS")
    explain.add_argument(
        "--box", type=int, nargs=4, metavar=("LEFT", "TOP", "WIDTH", "HEIGHT"), help="only there, in the image's pixels"
    )
    explain.add_argument("--out", type=Path, metavar="FILE", help="picture; default: exports/explained.IMAGE.CLASS.jpg")
    explain.set_defaults(run=_explain)

    labels = commands.add_parser("labels", help="suspect labels of a finished run")
    labels.set_defaults(run=_help_of(labels))
    label_commands = labels.add_subparsers(metavar="COMMAND")
    review = label_commands.add_parser("export", help="write them for a review elsewhere")
    review.add_argument("--format", choices=LABELS, required=True, dest="kind")
    review.add_argument("--split", choices=("train", "val"), default="val", help="default: %(default)s")
    review.add_argument("--min-score", type=float, default=0.0, help="default: all")
    review.add_argument("--out", type=Path, metavar="PATH", help="default: a file in exports/")
    review.set_defaults(run=_export_labels)

    fiftyone = commands.add_parser("to-fiftyone", help="write a finished run as a dataset that FiftyOne imports")
    fiftyone.add_argument("out", type=Path, metavar="OUT", help="a folder; photographs are not copied into it")
    fiftyone.set_defaults(run=_to_fiftyone)

    corrupt = commands.add_parser("corrupt-labels", help="plant label faults into a copy of a COCO directory")
    corrupt.add_argument("root", type=Path, help="laid out as data.annotations, data.images and data.splits say")
    corrupt.add_argument("out", type=Path, help="the copy; its images are hard links")
    corrupt.add_argument(
        "--share", type=float, default=0.2, help="of the images that get a fault; default: %(default)s"
    )
    corrupt.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    corrupt.set_defaults(run=_corrupt)

    inspect = commands.add_parser("inspect", help="what a folder of images and labels holds, and how to use it")
    inspect.add_argument(
        "folder", type=Path, metavar="FOLDER", help="a data set or an export; nothing in it is changed"
    )
    inspect.set_defaults(run=_inspect)

    compare = commands.add_parser("compare", help="two revisions or experiments, over the same images")
    compare.add_argument(
        "revisions",
        nargs="*",
        metavar="REV",
        help="A and B: revisions, branches or experiments; `workspace`: what lies here",
    )
    compare.add_argument("--a", nargs="+", metavar="REV", default=[], help="several trainings of A, of other seeds")
    compare.add_argument("--b", nargs="+", metavar="REV", default=[], help="several trainings of B")
    for name, when in (("--fail-if", "shown"), ("--fail-unless", "not shown")):
        compare.add_argument(
            name,
            action="append",
            default=[],
            metavar="CONDITION",
            help=f"exit with 1 if it is {when} of the difference, B minus A: 'iou.person < -0.02'",
        )
    compare.add_argument(
        "-o", "--out", type=Path, default=OUT / "comparison", metavar="DIR", help="page; default: %(default)s"
    )
    compare.add_argument("--markdown", action="store_true", help="print the metrics as a table, and write no page")
    compare.set_defaults(run=_compare)

    for command in (export, similar, explain, review):
        command.add_argument("--overwrite", action="store_true", help="write over a file of that kind")
    for command in (predict, export):
        command.add_argument("--model", type=Path, help="with its model card beside it; default: the run's")
    return parser


def _help_of(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    def show(_: argparse.Namespace) -> int:
        parser.print_help()
        return 0

    return show


def _check(options: argparse.Namespace) -> int:
    from segscope.params import Params
    from segscope.params_file import load_params, render_params

    params = Params() if options.defaults else load_params(options.params)
    if options.defaults or options.show:
        print(render_params(params), end="")
    else:
        classes = ", ".join(params.classes)
        print(f"{options.params} is valid: variant {params.variant} ({classes}) of {params.data.origin}")
    return 0


def _doctor(_: argparse.Namespace) -> int:
    from segscope.doctor import examine, render

    states = set()
    for finding in examine(Path()):
        print(printable(render(finding)), flush=True)
        states.add(finding.state)
    return 1 if "error" in states else 0


def _predict(options: argparse.Namespace) -> int:
    from segscope.model.card import read_card
    from segscope.model.photographs import SKIPPED, find_candidates, predict_files
    from segscope.model.saving import load_model
    from segscope.run import Run

    output_folder(options.out)
    model_file = options.model or Run().path("model")
    names, size = read_card(model_file.with_suffix(".md"))
    model = load_model(model_file, len(names), size, foreign=options.model is not None)
    errors, skipped = predict_files(model, names, find_candidates(options.paths, options.out), options.out)
    if skipped:
        print(f"skipped: {skipped}; see {options.out / SKIPPED}", file=sys.stderr)
    for message in errors:
        print(f"error: {printable(message, keep='')}", file=sys.stderr)
    return 1 if errors else 0


def _export(options: argparse.Namespace) -> int:
    from segscope.model.card import read_card
    from segscope.model.export import export_model
    from segscope.model.saving import load_model
    from segscope.run import Run

    model_file = options.model or Run().path("model")
    ending = ENDINGS[options.kind]
    path = options.out or OUT / f"{model_file.stem}{ending}"
    if options.kind == "saved_model":
        refuse_foreign(path)
    else:
        refuse_existing(path, options.overwrite, (ending,))
    names, size = read_card(model_file.with_suffix(".md"))
    model = load_model(model_file, len(names), size, foreign=options.model is not None)
    export_model(model, path, options.kind)
    print(printable(f"{path}: RGB 0 to 255, float32 N × {size} × {size} × 3, to logits of {', '.join(names)}"))
    return 0


def _layers(options: argparse.Namespace) -> int:
    from segscope.model.layers import chosen_layers, feature_maps
    from segscope.model.saving import read_model
    from segscope.params import Embed

    model = read_model(options.file, "give a file that keras.saving.load_model reads with safe_mode=True", True)
    default = chosen_layers(model, Embed().layers)
    for name, (height, width, channels) in feature_maps(model).items():
        print(f"{name}: {height} × {width} × {channels}{' (default)' if name in default else ''}")
    return 0


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _similar(options: argparse.Namespace) -> int:
    from segscope.artefacts.overlays import contact_sheet, heat_overlay
    from segscope.latent.explore import Explorer
    from segscope.run import Run

    out = options.out or OUT / f"similar.{Path(options.image).stem}.jpg"
    refuse_existing(out, options.overwrite, PICTURES)
    explorer = Explorer(Run())
    query = explorer.photograph(options.image)
    table = explorer.similar(query, options.k)
    print(table.assign(distance=table["distance"].round(3)).to_string(index=False))
    shown = [query, *(explorer.photograph(str(i)) for i in table["image_id"])]
    captions = [
        f"query {Path(query.name).name}",
        *(f"{rank}: {row.image_id}, {row.distance:.2f}" for rank, row in enumerate(table.itertuples(), start=1)),
    ]
    pictures = [photograph.picture for photograph in shown]
    if options.heat:
        maps = explorer.shared(query, shown[1:])
        pictures = [heat_overlay(picture, heat) for picture, heat in zip(pictures, maps, strict=True)]
        print(f"what they share lies on {_shares(explorer.lies_on(shown, maps))}")
    _save(contact_sheet(list(zip(pictures, captions, strict=True)), columns=5), out)
    return 0


def _explain(options: argparse.Namespace) -> int:
    from segscope.artefacts.overlays import class_overlay, contact_sheet, heat_overlay
    from segscope.latent.explore import Explorer
    from segscope.run import Run

    name = options.name
    out = options.out or OUT / f"explained.{Path(options.image).stem}.{name}.jpg"
    refuse_existing(out, options.overwrite, PICTURES)
    explorer = Explorer(Run())
    query = explorer.photograph(options.image)
    region, support = explorer.explain(query, name, options.box)
    within = ", looking only into the box" if options.box else ""
    print(f"The model sees {name} in {region.mean() * 100:.1f} % of the picture{within}.")
    print(
        f"There the score (logit) of {name} is {support.score[0]:.2f} higher than that of all classes on average: "
        f"{support.maps[0].sum():.2f} by what is in the picture, {support.constant[0]:.2f} whatever is in it."
    )
    on = explorer.lies_on([query], support.maps)
    if on:
        print(f"Of what in the picture speaks for {name}, most lies on: {_shares(on)}.")
    k = explorer.run.taxonomy.class_names.index(name)
    tiles = [
        (query.picture, Path(query.name).name),
        (class_overlay(query.picture, region.astype("uint8") * k), f"seen as {name}"),
        (heat_overlay(query.picture, support.maps[0]), "what supports it"),
    ]
    _save(contact_sheet(tiles, columns=3, side=400), out)
    return 0


def _export_labels(options: argparse.Namespace) -> int:
    from segscope.run import Run
    from segscope.sources.label_studio import labelling_config
    from segscope.suspects.export import (
        as_coco,
        as_csv,
        as_label_studio,
        labels_of_tasks,
        labels_to_review,
        write_export,
    )

    run = Run()
    out = options.out or OUT / LABELS[options.kind].format(split=options.split)
    refuse_existing(out, options.overwrite, (Path(LABELS[options.kind]).suffix,))
    if options.split == "train" and run.params.labels.folds == 1:
        raise SegscopeError(
            "labels of train are not judged by a model that learned them: set labels.folds (5), then `dvc repro`"
        )
    issues = run.table("label_issues")
    issues = issues[(issues["split"] == options.split) & (issues["score"] >= options.min_score)]
    index = run.table("index")
    if options.kind == "csv":
        write_export(out, as_csv(issues, index))
    else:
        known = run.table("annotations", ["image_id", "annotation_id", "category_id"])
        masks = run.table("predictions", ["image_id", "mask"])
        labels = labels_to_review(issues, index, run.table("instances"), known, masks, run.taxonomy)
        if options.kind == "coco":
            write_export(out, as_coco(labels, index, run.categories, run.params.data.origin))
        else:
            config = out.with_suffix(".xml")
            if config == out:
                raise SegscopeError(f"{out} is where the labelling interface goes: name another file for the tasks")
            refuse_existing(config, options.overwrite, (".xml",))
            write_export(out, as_label_studio(labels, index, run.params.data.origin))
            write_export(config, labelling_config(labels_of_tasks(labels, run.taxonomy)))
            print(f"{config}: the labelling interface")
    print(f"{out}: {len(issues)} suspects of {issues['image_id'].nunique()} images")
    return 0


def _to_fiftyone(options: argparse.Namespace) -> int:
    from segscope.fiftyone import write_fiftyone
    from segscope.run import Run

    images, labels, suspects = write_fiftyone(Run(), options.out)
    print(f"{options.out}: {images} images, {labels} labels, {suspects} suspects; where FiftyOne is installed:")
    folder = shlex.quote(str(options.out))
    print(f"fiftyone datasets create --dataset-dir {folder} --type fiftyone.types.FiftyOneDataset")
    return 0


def _corrupt(options: argparse.Namespace) -> int:
    from segscope.params_file import load_params
    from segscope.suspects.corruption import corrupt_directory

    if not 0 < options.share <= 1:
        raise SegscopeError(f"--share {options.share} is not in 0…1")
    params = load_params()
    data = params.data
    if data.format != "coco" or data.val_share is not None:
        raise SegscopeError(
            "corrupt-labels copies COCO files of both splits: data.format must be coco, data.val_share null"
        )
    names = data.splits.model_dump()
    annotations = {split: data.annotations.replace("{split}", name) for split, name in names.items()}
    folders = sorted({data.images.replace("{split}", name) for name in names.values()})
    variant, variants = params.variants[params.variant], list(params.variants.values())
    truth = corrupt_directory(
        options.root, options.out, annotations, folders, variant, variants, options.share, options.seed
    )
    for split, rows in truth.groupby("split"):
        print(f"{split}: " + ", ".join(f"{n} {kind}" for kind, n in rows["planted"].value_counts().items()))
    return 0


def _compare(options: argparse.Namespace) -> int:
    from segscope.report.compare import as_markdown, compare_sides, side_of
    from segscope.report.compare_page import write_comparison
    from segscope.report.gate import condition, judge

    sides = [side for side in (*([name] for name in options.revisions), options.a, options.b) if side]
    if len(sides) != 2 or bool(options.a) != bool(options.b):
        raise SegscopeError("compare takes two revisions, or --a REV … --b REV …")
    conditions = [[condition(text) for text in texts] for texts in (options.fail_if, options.fail_unless)]
    # Entered first: a folder that cannot be replaced is said at once.
    with nullcontext() if options.markdown else atomic_folder(options.out) as folder:
        a, b = map(side_of, sides)
        found = compare_sides(a, b)
        if folder is not None:
            write_comparison(a, b, found, folder)
    if options.markdown:
        print(as_markdown(a, b, found), end="")
    else:
        print(*found.notes, sep="\n", file=sys.stderr)
        print(options.out / "index.html")
    lines, passed = judge(found, *conditions)
    for line in lines:
        print(line, file=sys.stderr)
    return 0 if passed else 1


def _inspect(options: argparse.Namespace) -> int:
    from segscope.inspection import inspect_folder

    print(*inspect_folder(options.folder), sep="\n")
    return 0


def _shares(on: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share * 100:.0f} %" for name, share in on.items()) or "images without labels"


def _save(sheet: Image.Image, path: Path) -> None:
    try:
        with atomic_path(path) as temporary:
            sheet.save(temporary, "PNG" if path.suffix.lower() == ".png" else "JPEG", quality=90)
    except OSError as error:
        raise SegscopeError(f"{path} cannot be written: {reason(error, path)}") from error
    print(path)
