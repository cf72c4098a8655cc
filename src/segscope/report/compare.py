"""Two sides compared over the same images, each of one run or several that differ in their seeds. Letters: N images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from segscope.artefacts.measures import Measures
from segscope.artefacts.revisions import read_file
from segscope.errors import SegscopeError
from segscope.evaluation.bootstrap import Bootstrap
from segscope.evaluation.difference import LEVEL, Difference, differences, holm
from segscope.evaluation.yardsticks import comparable, held, image_ious, predicted_as, same_question, yardsticks
from segscope.params import Model, Params
from segscope.run import Run
from segscope.taxonomy import Taxonomy

# Of whole runs, each about its own classes, map or clusters: the measure, and of which split.
APART = {
    "loss": ("loss", "val"),
    "pixel accuracy": ("pixel_accuracy", "val"),
    "calibration error": ("calibration_error", "val"),
    "separability": ("separability", "val"),
    "silhouette": ("silhouette", "val"),
    "neighbor purity": ("neighbor_purity", "val"),
    "trustworthiness": ("trustworthiness", ""),
    "clusters": ("clusters", ""),
    "cluster stability": ("stability.seeds", ""),
    "cluster purity above chance": ("above_chance.purity", ""),
}
SAME_LABELS = 0.02  # of the image: labels measured at two resolutions differ by no more at their outlines
COLUMNS = ["image_id", "split", "loss", "counts", "boundary", "errors", "mask"]


@dataclass(frozen=True)
class RunOf:
    """A revision's run.

    index: image_id, source_id, path, sha256, exif (as of `open_image`). predictions: of val, by image_id. repeats: the
    same without masks, of each other seed. groups: by image_id. points: image_id, x, y, cluster. resolution: of what
    metrics are measured. instances: val's rows of instances.parquet. crowd: masks.crowd.
    """

    name: str
    variant: str
    taxonomy: Taxonomy
    index: pd.DataFrame
    predictions: pd.DataFrame
    repeats: Mapping[int, pd.DataFrame]
    groups: pd.Series
    points: pd.DataFrame
    measures: Measures
    resolution: str
    instances: pd.DataFrame
    crowd: str
    model: str = "trained by the pipeline"

    @cached_property
    def labels(self) -> pd.DataFrame:
        """Each category's share of the pixels that count of each val image, by image_id and category."""
        shape = len(self.taxonomy.class_names), len(self.taxonomy.category_names)
        pixels = np.stack(self.predictions["counts"].to_numpy()).reshape(-1, *shape).sum(1)
        total = np.maximum(pixels.sum(1, keepdims=True), 1)
        return pd.DataFrame(pixels / total, self.predictions.index, self.taxonomy.category_names)

    @cached_property
    def images(self) -> pd.MultiIndex:
        """image_id and sha256 of the val images: two images are the same if both are."""
        known = self.index.set_index("image_id").loc[self.predictions.index, "sha256"]
        return pd.MultiIndex.from_arrays([known.index, known.to_numpy()])


@dataclass(frozen=True)
class Side:
    """The runs that are one side of a comparison, the first of which is shown; all of the same classes."""

    runs: Sequence[RunOf]

    @property
    def first(self) -> RunOf:
        """The run whose pictures and map are shown."""
        return self.runs[0]

    @property
    def name(self) -> str:
        """The revisions' names."""
        return ", ".join(run.name for run in self.runs)

    @cached_property
    def trainings(self) -> list[pd.DataFrame]:
        """What each training makes of val."""
        return [table for run in self.runs for table in (run.predictions, *run.repeats.values())]

    def distinct(self, ids: np.ndarray) -> list[pd.DataFrame]:
        """What each training makes of some images; of trainings that make the very same of them, one."""
        distinct: dict[bytes, pd.DataFrame] = {}
        for table in (each.loc[ids] for each in self.trainings):
            counts = np.stack(table["counts"].to_numpy())
            distinct.setdefault(counts.tobytes() + table["loss"].to_numpy(np.float64).tobytes(), table)
        return list(distinct.values())

    def apart(self, measure: str, split: str) -> list[float]:
        """What the runs measured of themselves."""
        values = [run.measures.value(measure, split) for run in self.runs]
        return [value for value in values if np.isfinite(value)]


def side_of(revisions: Sequence[str]) -> Side:
    """Read the revisions of a side. Raises SegscopeError if an artefact is missing, or their classes differ."""
    runs = [run_of(Run(read=partial(read_file, revision=name), revision=name), name) for name in revisions]
    first, *others = runs
    for other in others:
        if held(other.taxonomy) != held(first.taxonomy):
            raise SegscopeError(
                f"{first.name} and {other.name} have other classes ({', '.join(first.taxonomy.classes)}; "
                f"{', '.join(other.taxonomy.classes)}): one side is of trainings that differ in their seeds alone"
            )
    return Side(runs)


def run_of(run: Run, name: str) -> RunOf:
    """A run's artefacts under a name. Raises SegscopeError if one is missing."""
    index = run.table("index", ["image_id", "source_id", "path", "sha256"]).assign(exif=run.params.data.exif)
    points = run.table("embeddings", ["image_id", "x", "y"])
    points = points.merge(run.table("clusters", ["image_id", "cluster"]), on="image_id")
    predictions = run.table("predictions", COLUMNS)
    val = predictions[predictions["split"] == "val"].drop(columns="split").set_index("image_id")
    repeats = run.table("repeats").set_index("image_id")
    return RunOf(
        name,
        run.params.variant,
        run.taxonomy,
        index,
        val,
        {int(seed): table for seed, table in repeats.groupby("seed")},
        run.table("groups").set_index("image_id")["group"],
        points,
        run.measures("predict", "embed", "cluster"),
        resolution_of(run.params),
        run.arrow("instances").filter(pc.field("split") == "val").to_pandas(),
        run.params.masks.crowd,
        model_of(run.params.model),
    )


def resolution_of(params: Params) -> str:
    """Of which pixels a run's figures are, in words."""
    side = params.data.image_size
    return "each photograph's own pixels" if params.predict.resolution == "image" else f"{side} × {side} pixels"


def model_of(options: Model) -> str:
    """Where a run's model is from, in words."""
    return {
        "train": "trained by the pipeline",
        "keras": f"the user's network {options.path}",
        "predictions": f"known by the predictions in {options.path}",
    }[options.source]


@dataclass(frozen=True)
class Comparison:
    """metrics: metric, a, b, difference, low, high, p_value, adjusted, changed (bool), over the common val images.

    NaN where there is none. apart: metric, a, b, lists of what each run measured of itself. images: image_id, a, b,
    change, the most improved first, by `score`. trainings: of each side. matched: val images of each side, and
    compared; relabelled: how many others both have, of other labels. yardsticks: the groups of categories that both are
    measured by; by: the classes by which each side finds them, where these differ. models: which are
    compared, where that needs to be said. resolutions: of which pixels the sides' figures are, in words, if not of the
    same.
    """

    metrics: pd.DataFrame
    apart: pd.DataFrame
    images: pd.DataFrame
    score: str
    trainings: tuple[int, int]
    matched: tuple[int, int, int]
    relabelled: int
    yardsticks: Sequence[str]
    by: Mapping[str, tuple[str, str]]
    same_question: bool
    models: Sequence[str] = ()
    resolutions: Sequence[str] = ()

    @property
    def notes(self) -> list[str]:
        """What a reader must know first."""
        a, b, common = self.matched
        images = f"Compared are the {common} val images that both judged, the same by id and by bytes"
        images += "." if a == b == common else f"; A judged {a}, B {b}."
        if self.relabelled:
            images += (
                f" {self.relabelled} more, which both have, are labelled otherwise in A than in B, and left out: what "
                "other labels do to the figures is no change of the model."
            )
        measured = []
        if self.resolutions:
            measured = [
                f"A and B are measured at different resolutions ({'; '.join(self.resolutions)}), which alone moves "
                "these figures: nothing is called a change. With predict.resolution=image both are measured alike."
            ]
        if self.trainings == (1, 1):
            spread = (
                "Of two single trainings: intervals are over images alone, another seed of the same configuration "
                "moves these figures, too, and nothing is called a change. Train both with several train.seeds, or "
                "name several runs a side."
            )
        else:
            k = " and ".join(map(str, self.trainings))
            spread = (
                f"A and B are of {k} trainings; intervals are over trainings and images together. A row is marked as "
                "changed only if it is with all rows taken together (Holm, 5 %), by the trainings' degrees of freedom."
            )
            if 1 in self.trainings:
                spread += " The single training is taken to vary as those of the other side do."
        return [images, *self.models, *measured, spread]


def compare_sides(a: Side, b: Side) -> Comparison:
    """Compare two sides by the val images that all their runs judged. Raises SegscopeError if there are none."""
    ids, relabelled = _common_images(a, b)
    shared = yardsticks(a.first.taxonomy, b.first.taxonomy)
    tables = [side.distinct(ids) for side in (a, b)]
    taxonomies = a.first.taxonomy, b.first.taxonomy
    found = [
        [comparable(table, own, other, shared) for table in side]
        for side, own, other in zip(tables, taxonomies, taxonomies[::-1], strict=True)
    ]
    bootstrap = Bootstrap(_together([run.groups.loc[ids].to_numpy() for run in (*a.runs, *b.runs)]))
    resolutions = [f"{name}: {', '.join(sorted(_resolutions(side)))}" for name, side in (("A", a), ("B", b))]
    alike = len(_resolutions(a) | _resolutions(b)) == 1
    same = same_question(*taxonomies)
    # Of a model that is known by its classes alone there is no loss.
    by_loss = same and all(table["loss"].notna().any() for side in tables for table in side)
    x, y = (
        np.mean(
            [table["loss"].to_numpy(float) if by_loss else image_ious(table, own, shared) for table in side], axis=0
        )
        for side, own in zip(tables, taxonomies, strict=True)
    )
    images = pd.DataFrame({"image_id": ids, "a": x, "b": y, "change": y - x})
    by = {name: tuple(", ".join(predicted_as(own, of)) for own in taxonomies) for name, of in shared.items()}
    return Comparison(
        _metrics(differences(found[0], found[1], bootstrap), alike),
        _apart(a, b, same),
        images.sort_values("change", ascending=by_loss, kind="stable", ignore_index=True),
        "loss" if by_loss else "IoU",
        (len(tables[0]), len(tables[1])),
        (len(a.first.images), len(b.first.images), len(ids)),
        relabelled,
        list(shared),
        {name: (x, y) for name, (x, y) in by.items() if x != y},
        same,
        _models(a, b),
        [] if alike else resolutions,
    )


def _resolutions(side: Side) -> set[str]:
    return {run.resolution for run in side.runs}


def _together(groups: Sequence[np.ndarray]) -> np.ndarray:
    """Groups of the images that belong together by any of several divisions, through others, too: int[N] of int[N]."""
    n = len(groups[0])
    first = [np.unique(of, return_index=True, return_inverse=True)[1:] for of in groups]
    joined = np.concatenate([index[of] for index, of in first])
    images = np.tile(np.arange(n), len(groups))
    return connected_components(coo_matrix((np.ones(len(images)), (images, joined)), (n, n)), directed=False)[1]


def _models(a: Side, b: Side) -> list[str]:
    """Which models are compared, if they are not both trained here."""
    said = {name: [run.model for run in side.runs] for name, side in (("A", a), ("B", b))}
    if {each for models in said.values() for each in models} <= {RunOf.model}:
        return []
    of = "; the model of ".join(f"{name} is {', '.join(dict.fromkeys(models))}" for name, models in said.items())
    return [f"The model of {of}."]


def _common_images(a: Side, b: Side) -> tuple[pd.Index, int]:
    """The images that are compared, and how many more there are whose labels differ."""
    runs = (*a.runs, *b.runs)
    common = runs[0].images
    for run in runs[1:]:
        common = common.intersection(run.images, sort=False)
    if common.empty:
        alike = set(a.first.predictions.index) & set(b.first.predictions.index)
        why = f"{len(alike)} have the same id, and other bytes" if alike else "no id is in both"
        raise SegscopeError(f"{a.name} and {b.name} have no val image in common ({why}): there is nothing to compare")
    ids = common.get_level_values(0)
    same = np.logical_and.reduce([_labelled_alike(runs[0], run, ids) for run in runs])
    if not same.any():
        raise SegscopeError(
            f"all {len(ids)} val images that {a.name} and {b.name} have in common are labelled otherwise in one than "
            "in the other: there is nothing to compare"
        )
    return ids[same], int((~same).sum())


def _labelled_alike(a: RunOf, b: RunOf, ids: pd.Index) -> np.ndarray:
    """Of which images both runs have the same labels, bool[N], by the pixels of each category."""
    x, y = a.labels.loc[ids].align(b.labels.loc[ids], fill_value=0.0)
    allowed = 1e-9 if a.resolution == b.resolution else SAME_LABELS
    return (np.abs(x.to_numpy() - y.to_numpy()) <= allowed).all(1)


def _metrics(found: Sequence[Difference], alike: bool) -> pd.DataFrame:
    """The differences as a table; alike: whether both sides are measured at one resolution, else none is a change."""
    columns = ["metric", "a", "b", "difference", "low", "high", "p_value"]
    table = pd.DataFrame([[getattr(each, name) for name in columns] for each in found], columns=columns)
    table = table if alike else table.assign(p_value=np.nan)
    adjusted = holm(table["p_value"])
    return table.assign(adjusted=adjusted, changed=adjusted < 1 - LEVEL)


def _apart(a: Side, b: Side, same: bool) -> pd.DataFrame:
    names = [name for name in APART if not (same and name in ("loss", "pixel accuracy"))]
    rows = [(name, *(side.apart(*APART[name]) for side in (a, b))) for name in names]
    return pd.DataFrame([row for row in rows if row[1] or row[2]], columns=["metric", "a", "b"])


def as_markdown(a: Side, b: Side, found: Comparison) -> str:
    """The metrics as a Markdown table, for a pull request."""
    lines = [f"| val | {_cell(a.name)} | {_cell(b.name)} | difference |", "| --- | --- | --- | --- |"]
    for row in found.metrics.itertuples():
        change = _number(row.difference, "+.3f")
        if np.isfinite(row.low):
            change += f" ({row.low:+.3f} to {row.high:+.3f})"
        change = f"**{change}**" if row.changed else change
        lines.append(f"| {_cell(row.metric)} | {_number(row.a)} | {_number(row.b)} | {change} |")
    lines += [
        f"| {_cell(row.metric)} | {spread(row.a)} | {spread(row.b)} | not compared |"
        for row in found.apart.itertuples()
    ]
    by = [f"{name}: A finds it as {x}, B as {y}." for name, (x, y) in found.by.items()]
    return "\n\n".join(["\n".join(lines), *map(_cell, [*found.notes, *by])]) + "\n"


def spread(values: Sequence[float]) -> str:
    """A value, or the least and the greatest of several."""
    ends = [_number(value) for value in (min(values), max(values))] if values else ["–"]
    return " to ".join(dict.fromkeys(ends))


def _number(value: float, form: str = ".3f") -> str:
    return "–" if np.isnan(value) else f"{value:{form}}"


def _cell(text: str) -> str:
    """Text that Markdown takes for nothing else: no links, images, headings, mentions or HTML."""
    text = re.sub(r"([\\`*\[\]()#!|~])", r"\\\1", " ".join(text.split())).replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"@|:(?=//)|www(?=\.)", r"\g<0><!-- -->", text)  # which GitHub links by themselves
