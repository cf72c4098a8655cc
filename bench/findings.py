"""What users of the platform that segscope rebuilds saw, asked of finished runs: the figures of docs/findings.md.

In the project's folder, with revisions that differ in their seeds alone behind each variant, the first being the shown:

    python bench/findings.py --category category category-1 --supercategory supercategory supercategory-1
    python bench/findings.py --category category --supercategory supercategory --suspects FOLDER   # labels to look at

Rules are those of docs/findings.md. Nothing is trained. Letters: N images, K classes, C category positions, D latent
dimensions, F facts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from segscope.artefacts.revisions import read_file
from segscope.artefacts.rle import decode_rle
from segscope.evaluation.bootstrap import TRUSTED, Bootstrap, interval
from segscope.evaluation.difference import differences
from segscope.evaluation.groups import compare, mean_interval
from segscope.evaluation.metrics import Ratio
from segscope.evaluation.objects import FOUND as FOUND_OBJECT
from segscope.evaluation.per_image import pixel_counts
from segscope.labels.masks import resize_mask
from segscope.latent.clusters import HELD, binary_features
from segscope.latent.facts import MIN_LIFT, SIGNIFICANT, STABLE
from segscope.latent.separability import auc, neighbor_purity, out_of_fold
from segscope.latent.sides import heavy_groups, sides
from segscope.report.compare import compare_sides, side_of
from segscope.run import FILES, Run

YES, NO, OPPOSITE, FEW = "found", "not found", "not found, the opposite", "cannot be told"
PART = "found in part"
# By which model the platform's users saw it; what the other says is shown, and does not count.
SEEN_BY = {1: "category", 2: "category", 3: "category"} | dict.fromkeys((4, 6, 8, 9), "super-category")
KINDS = ("mislabeled", "inaccurate", "ambiguous", "missing")
WHEELED = ("bicycle", "motorcycle", "car", "bus", "truck")
UNWHEELED = ("airplane", "train", "boat")  # whose wheels are hidden, small, or none
ROUND = ("sports ball", "frisbee", "clock", "bowl", "pizza", "donut", "orange", "apple")
TALL = 32  # pixels of 128: lower boxes have thirds of less than a cell of the decoder's input
SLIGHT = 0.01  # of the image: what covers less is hardly what an image's vector is of
WORST = 10


class Said(NamedTuple):
    """What one training's figures say of a claim."""

    figures: str
    verdict: str


class Claim(NamedTuple):
    """A part of a finding, of the trainings of one variant, or of both; said: of each training, the shown first."""

    finding: int
    text: str
    of: str
    said: Sequence[Said]

    @property
    def verdict(self) -> str:
        """What most trainings say; where none do, the first."""
        verdicts = [each.verdict for each in self.said]
        return max(verdicts, key=verdicts.count)


@dataclass(frozen=True)
class Finished:
    """A finished run of a revision; N images are those of the latent map, val's those of the predictions."""

    name: str

    @cached_property
    def run(self) -> Run:
        return Run(read=partial(read_file, revision=self.name), revision=self.name)

    def file(self, name: str) -> bytes:
        """An artefact that is no table."""
        return read_file(FILES[name][1], self.name)

    @cached_property
    def groups(self) -> pd.Series:
        return self.run.table("groups").set_index("image_id")["group"]

    @cached_property
    def embeddings(self) -> pd.DataFrame:
        return self.run.table("embeddings")

    @cached_property
    def vectors(self) -> np.ndarray:
        """Latent vectors, float64 N × D."""
        return np.stack(self.embeddings["latent"]).astype(float)

    @cached_property
    def samples(self) -> pd.DataFrame:
        """Metadata of the N images."""
        return self.run.table("samples").set_index("image_id").loc[self.embeddings["image_id"]].reset_index()

    @cached_property
    def group(self) -> np.ndarray:
        """Of the N images, int[N]."""
        return self.groups[self.embeddings["image_id"]].to_numpy()

    @cached_property
    def facts(self) -> pd.DataFrame:
        """What clusters are named with, bool N × F."""
        return binary_features(self.samples, self.run.categories)

    @cached_property
    def profiles(self) -> pd.DataFrame:
        return self.run.table("cluster_profiles")

    @cached_property
    def measures(self) -> pd.DataFrame:
        """Of val and of the run, by their names."""
        table = self.run.measures("predict", "embed", "cluster").table
        return table[table["split"].isin(["", "val"])].set_index("measure")

    @cached_property
    def associations(self) -> pd.DataFrame:
        return self.run.table("associations").set_index(["metric", "column"])

    @cached_property
    def predictions(self) -> pd.DataFrame:
        return self.run.table("predictions", ["image_id", "split", "counts"])

    @cached_property
    def heavy(self) -> np.ndarray:
        """1 of person-heavy images, 0 of vehicle-heavy ones, -1 of others, int[N]."""
        return heavy_groups(self.samples, sides(self.samples, self.run.taxonomy))

    def same_kind(self, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each image's neighbours the share of its own kind, and by chance, float64[N] each. kind: [N]."""
        options = self.run.params.embed
        return neighbor_purity(self.vectors, kind, self.group, options.neighbors, options.seed)

    def pixels(self, split: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """int n × K × C by predicted class and category position, and the groups, int[n]; None: of both splits."""
        table = self.predictions if split is None else self.predictions[self.predictions["split"] == split]
        return pixel_counts(table, self.run.taxonomy), self.groups[table["image_id"]].to_numpy()

    def class_of(self, category: str) -> int:
        taxonomy = self.run.taxonomy
        return int(taxonomy.class_of_position[taxonomy.category_names.index(category)])


# How figures become words.


def judged(low: float, high: float, units: float, wanted: int = 1) -> str:
    """The verdict of a 95 % interval of what is claimed to be above (1) or below (-1) 0, or either (0)."""
    if units < TRUSTED or not np.isfinite([low, high]).all():
        return FEW
    if low * high <= 0:
        return NO
    return YES if wanted in (0, np.sign(low)) else OPPOSITE


def ends(value: float, low: float, high: float, sign: str = "+") -> str:
    shown = f"{value:{sign}.3f}"
    return f"{shown} ({low:{sign}.3f} to {high:{sign}.3f})" if np.isfinite([low, high]).all() else shown


def of_measure(row: pd.Series, wanted: int) -> Said:
    """Of a difference that is a measure of val."""
    figures = f"{ends(row['value'], row['low'], row['high'])}, {row['carriers']:.0f} groups on the smaller side"
    return Said(figures, judged(row["low"], row["high"], row["carriers"], wanted))


def measured(name: str, wanted: int) -> Callable[[Finished], Said]:
    def say(finished: Finished) -> Said:
        known = name in finished.measures.index
        return of_measure(finished.measures.loc[name], wanted) if known else Said("none", FEW)

    return say


def mean_of(values: np.ndarray, group: np.ndarray, wanted: int = 1, what: str = "groups") -> Said:
    """Of a mean of float[n], finite, that is claimed to be above 0."""
    units = len(np.unique(group))
    if not units:
        return Said(f"none; 0 {what}", FEW)
    value, low, high = mean_interval(values, group)
    return Said(f"{ends(value, low, high)}, {units} {what}", judged(low, high, units, wanted))


# Clusters and neighbours.


def cluster_of(*names: str) -> Callable[[Finished], Said]:
    """Whether a cluster that is found again is made of images with one of these facts."""

    def say(finished: Finished) -> Said:
        of_facts = finished.profiles[finished.profiles["kind"] == "fact"]
        found = of_facts[of_facts["feature"].isin(names)].sort_values("inside", ascending=False)
        again = finished.profiles[finished.profiles["kind"] == "stability"].set_index("cluster")["inside"]
        units = max(int(Bootstrap(finished.group).number(finished.facts[[name]].to_numpy())[0]) for name in names)
        if found.empty:
            return Said("no clusters", NO if units >= TRUSTED else FEW)
        stable = found["cluster"].map(again) >= STABLE
        clear = (found["p_value"] < SIGNIFICANT) & (found["lift"] >= MIN_LIFT)
        whole = found[stable & clear & (found["inside"] >= HELD)]
        best = (whole if len(whole) else found[clear] if clear.any() else found).iloc[0]
        figures = (
            f"{best['feature']}: {best['inside']:.0%} of cluster {best['cluster']} ({best['groups']} groups, found "
            f"again by {again[best['cluster']]:.2f}), {best['rest']:.0%} of others, p {best['p_value']:.2g}; it holds "
            f"{best['recall']:.0%} of {units}"
        )
        return Said(figures, YES if len(whole) else NO if units >= TRUSTED else FEW)

    return say


def together(name: str) -> Callable[[Finished], Said]:
    """Whether images with a fact have more such neighbours than chance gives."""

    def say(finished: Finished) -> Said:
        fact = finished.facts[name].to_numpy()
        pure, chance = finished.same_kind(fact)
        found = mean_of((pure - chance)[fact], finished.group[fact])
        half = f"half or more in {(pure[fact] >= 0.5).sum()} images, at most {pure[fact].max():.2f}"
        return found._replace(
            figures=f"{pure[fact].mean():.2f} of the neighbours ({half}), above chance {found.figures}"
        )

    return say


def context(finished: Finished) -> Said:
    """Whether sports images have sports neighbours where what they show of sports is tiny."""
    fact = finished.facts["sports"].to_numpy()
    slight = fact & (finished.samples["share.super.sports"] < SLIGHT).to_numpy()
    pure, chance = finished.same_kind(fact)
    found = mean_of((pure - chance)[slight], finished.group[slight])
    return found._replace(figures=f"{pure[slight].mean():.2f} of the neighbours, above chance {found.figures}")


def beyond_persons(finished: Finished) -> Said:
    """Whether, of images with persons, those of sports have more sports neighbours than the others."""
    sports, person = (finished.facts[name].to_numpy() for name in ("sports", "person"))
    pure, _ = finished.same_kind(sports)
    near = pd.DataFrame({"near": np.where(sports, pure, 1 - pure)[person]})
    row = compare(sports[person], near, finished.group[person]).iloc[0]
    units = min(row["units"], row["rest_units"])
    figures = f"{row['inside']:.2f} against {row['rest']:.2f} of the neighbours, {row['units']:.0f} and "
    figures += (
        f"{row['rest_units']:.0f} groups, difference {ends(row['inside'] - row['rest'], row['low'], row['high'])}"
    )
    return Said(figures, judged(row["low"], row["high"], units))


def attention(fact: str, on: str) -> Callable[[Finished], Said]:
    """Whether more attention lies on something than in shuffled clusters, in the cluster with most of a fact."""

    def say(finished: Finished) -> Said:
        of_facts = finished.profiles[(finished.profiles["kind"] == "fact") & (finished.profiles["feature"] == fact)]
        if of_facts.empty:
            return Said("no clusters", FEW)
        best = of_facts.sort_values("p_value").iloc[0]
        rows = finished.profiles[(finished.profiles["kind"] == "attention")]
        rows = rows[(rows["cluster"] == best["cluster"]) & (rows["feature"] == on)]
        if rows.empty:
            return Said(f"cluster {best['cluster']}: no attention on {on} is known", FEW)
        row = rows.iloc[0]
        figures = (
            f"cluster {best['cluster']} ({best['name']}, {fact} in {best['inside']:.0%}): {row['inside']:.2f} of the "
            f"attention on {on}, which is {row['rest']:.2f} of the pixels; shuffled clusters {row['low']:.2f} to "
            f"{row['high']:.2f}"
        )
        return Said(figures, YES if row["inside"] > row["high"] else NO)

    return say


def buildings(finished: Finished) -> Said:
    """The annotations know no buildings, so that what is on them cannot be counted."""
    return attention("bus", "unlabelled")(finished)._replace(verdict=FEW)


# Gray.


def rgb_files(finished: Finished) -> Said:
    gray = finished.samples["is_gray"].to_numpy()
    rgb = ~finished.samples["is_grayscale_file"].to_numpy()[gray]
    found = mean_of(rgb - 0.5, finished.group[gray])
    return found._replace(figures=f"{rgb.sum()} of {gray.sum()}; share less a half {found.figures}")


# Confusion.


def taken(category: str, name: str) -> Callable[[Finished], Said]:
    """Whether more of a category is taken for a class than of the same images' unlabelled pixels."""

    def say(finished: Finished) -> Said:
        found = []
        for split in (None, "val"):
            counts, group = finished.pixels(split)
            k = finished.run.taxonomy.class_names.index(name)
            position = finished.run.taxonomy.category_names.index(category)
            shares = [
                np.divide(of[:, k], of.sum(1), out=np.full(len(of), np.nan), where=of.sum(1) > 0)
                for of in (counts[:, :, position], counts[:, :, 0])
            ]
            known = np.isfinite(shares).all(0)
            said = mean_of((shares[0] - shares[1])[known], group[known])
            found.append(said._replace(figures=f"{np.mean(shares[0][known]):.2f}, difference {said.figures}"))
        return Said(f"all images {found[0].figures}; val {found[1].figures}", found[0].verdict)

    return say


def merge(finished: Finished) -> Said:
    """Whether predict recommends to train the class with them."""
    found = json.loads(finished.file("confusions"))["val"]["car"]["merge"]
    gain = found["gain"]
    if gain is None:
        return Said("val cannot tell", FEW) if found["tried"] else Said("nothing was tried", NO)
    change = ends(gain["after"] - gain["before"], gain["low"], gain["high"])
    figures = (
        f"tried {', '.join(found['tried'])}; recommended {', '.join(found['categories']) or 'none'}; estimated {change}"
    )
    return Said(f"{figures}, {gain['carriers']:.0f} carriers", judged(gain["low"], gain["high"], gain["carriers"]))


def round_things(name: str) -> Callable[[Finished], Said]:
    """Whether more of round things is taken for a class than of others of the same super-categories, in val."""

    def say(finished: Finished) -> Said:
        counts, group = finished.pixels("val")
        taxonomy = finished.run.taxonomy
        k = taxonomy.class_names.index(name)
        table = taxonomy.categories
        alike = set(table.loc[table["name"].isin(ROUND), "supercategory"])
        rows = []
        for position, category in enumerate(taxonomy.category_names[1:], start=1):
            if table["supercategory"].iloc[position - 1] not in alike:
                continue
            pixels = counts[:, :, position].sum(1)
            for i in np.flatnonzero(pixels):
                rows.append((category in ROUND, counts[i, k, position] / pixels[i], group[i]))
        is_round, share, of = (np.array(column) for column in zip(*rows, strict=True))
        row = compare(is_round, pd.DataFrame({"share": share}), of).iloc[0]
        units = min(row["units"], row["rest_units"])
        figures = (
            f"{row['inside']:.3f} against {row['rest']:.3f} of their pixels, {row['units']} and {row['rest_units']} "
        )
        figures += f"groups, difference {ends(row['inside'] - row['rest'], row['low'], row['high'])}"
        return Said(figures, judged(row["low"], row["high"], units))

    return say


# Wheels.


def wheels(name: str) -> Callable[[Finished], tuple[Said, Said]]:
    """Whether what supports the class in a found vehicle lies in its lowest third, and more so in those with wheels."""

    def say(finished: Finished) -> tuple[Said, Said]:
        table = surpluses(finished, name)
        group = finished.groups[table["image_id"]].to_numpy()
        wheeled = table["category"].isin(WHEELED).to_numpy()
        lowest = mean_of(table["surplus"].to_numpy()[wheeled], group[wheeled])
        each = table.groupby("category")["surplus"].agg(["mean", "size"])
        words = ", ".join(f"{category} {row['mean']:+.2f} ({row['size']:.0f})" for category, row in each.iterrows())
        row = compare(wheeled, table[["surplus"]], group).iloc[0]
        units = min(row["units"], row["rest_units"])
        figures = f"{ends(row['inside'] - row['rest'], row['low'], row['high'])}, {row['units']:.0f} and "
        more = Said(f"{figures}{row['rest_units']:.0f} groups", judged(row["low"], row["high"], units))
        return lowest._replace(figures=f"{lowest.figures}; {words}"), more

    return say


def surpluses(finished: Finished, name: str) -> pd.DataFrame:
    """Of each large vehicle that is found: image_id, category, and surplus.

    surplus: of the positive support within it for what is rightly seen of it the share in the lowest third of its box,
    less that third's share of its pixels. Both splits; no crowds.
    """
    from segscope.latent.support import Supporter
    from segscope.model.dataset import split_records
    from segscope.model.inference import batches_of
    from segscope.model.saving import load_model

    run, size = finished.run, finished.run.params.data.image_size
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(finished.file("model"))
        supporter = Supporter(load_model(path, len(run.taxonomy.class_names), size))
    k, names = run.taxonomy.class_names.index(name), run.categories.set_index("category_id")["name"]
    instances = run.table("instances").query("not iscrowd")
    instances = instances.assign(category=instances["category_id"].map(names))
    tall = instances["bbox"].map(lambda box: box[3]) / instances["height"] * size >= TALL * size / 128
    chosen = dict(list(instances[tall & instances["category"].isin(WHEELED + UNWHEELED)].groupby("image_id")))
    rows = []
    records = split_records(run.path("dataset"), size, *run.table("samples", ["split"])["split"].unique())
    for (image_id,), pixels, (mask,) in batches_of(records.of(np.array([*chosen])), size, 1):
        pixels = pixels.astype(np.float32)
        seen = supporter.predict(pixels)[0] == k
        for each in chosen[image_id].itertuples():
            own = resize_mask(decode_rle(each.rle, each.height, each.width), size) & (mask == each.category_id)
            region = own & seen
            if region.sum() <= FOUND_OBJECT * own.sum():
                continue
            positive = np.maximum(supporter.support(pixels, k, region[None]).maps[0], 0) * own
            top, tall = (part * size / each.height for part in (each.bbox[1], each.bbox[3]))
            lowest = (np.arange(size) + 0.5 >= top + tall * 2 / 3)[:, None]
            surplus = (positive * lowest).sum() / positive.sum() - (own * lowest).sum() / own.sum()
            rows.append((image_id, each.category, surplus))
    return pd.DataFrame(rows, columns=["image_id", "category", "surplus"])


# Counts and sizes, light and crowds.


def association(metric: str, column: str, wanted: int) -> Callable[[Finished], Said]:
    def say(finished: Finished) -> Said:
        if (metric, column) not in finished.associations.index:
            return Said("known of too few", FEW)
        row = finished.associations.loc[(metric, column)]
        held = f"with the share held {row['held']:+.2f}, p {row['held_p_value']:.2g}"
        rho = f"rank correlation {row['rho']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f})"
        return Said(f"{rho}, {row['units']} groups; {held}", judged(row["low"], row["high"], row["units"], wanted))

    return say


# Two variants.


def vehicle_neighbours(a: Sequence[Finished], b: Sequence[Finished]) -> Said:
    """Whether vehicle-heavy images have more neighbours of their kind in b than in a."""

    def ratio(finished: Finished) -> dict[str, Ratio]:
        pure, _ = finished.same_kind(finished.heavy)
        chosen = finished.heavy == 0
        return {"neighbours": Ratio(np.where(chosen, pure, 0), chosen.astype(float), chosen)}

    (found,) = differences([ratio(each) for each in a], [ratio(each) for each in b], Bootstrap(a[0].group))
    units = len(np.unique(a[0].group[a[0].heavy == 0]))
    figures = (
        f"{found.a:.3f} and {found.b:.3f}, difference {ends(found.difference, found.low, found.high)}, {units} groups"
    )
    return Said(figures, judged(found.low, found.high, units))


def separation(a: Sequence[Finished], b: Sequence[Finished]) -> Said:
    """Whether person-heavy and vehicle-heavy images of val are told apart better in b than in a."""
    chosen = (a[0].heavy >= 0) & (a[0].samples["split"] == "val").to_numpy()
    heavy, group = a[0].heavy[chosen], a[0].group[chosen]
    bootstrap = Bootstrap(group)

    def aucs(finished: Finished) -> np.ndarray:
        """Of the images as they are, then of each resample."""
        scores = out_of_fold(finished.vectors[chosen], heavy, group, finished.run.params.embed.seed)
        weights = np.concatenate([np.ones((1, bootstrap.groups)), *bootstrap.weights()])[:, bootstrap.group]
        return np.mean([auc(each, heavy == 1, weights) for each in scores], 0)

    each = [np.stack([aucs(finished) for finished in side]) for side in (a, b)]
    moved = each[1].mean(0) - each[0].mean(0)
    low, high = interval(moved[1:])
    values = [", ".join(f"{value:.3f}" for value in side[:, 0]) for side in each]
    units = int(bootstrap.number(heavy[:, None] == [0, 1]).min())
    verdict = judged(low, high, units)
    if verdict == YES and each[1][:, 0].min() <= each[0][:, 0].max():
        verdict = NO
    return Said(
        f"{values[0]} and {values[1]}, difference {ends(moved[0], low, high)} over images, {units} groups", verdict
    )


def compared(names: Sequence[str], a: Sequence[Finished], b: Sequence[Finished]) -> Iterator[Said]:
    """What `segscope compare` says of metrics that are claimed to be higher in b."""
    table = compare_sides(*(side_of([each.name for each in side]) for side in (a, b))).metrics.set_index("metric")
    for name in names:
        row = table.loc[name]
        figures = f"{row['a']:.3f} and {row['b']:.3f}, difference {ends(row['difference'], row['low'], row['high'])}"
        yield Said(figures, judged(row["low"], row["high"], TRUSTED))


def found_better(categories: Sequence[str], a: Sequence[Finished], b: Sequence[Finished]) -> Said:
    """Whether b finds more of the categories' pixels, in val's images that show them, whatever it calls them."""

    def found(side: Sequence[Finished]) -> np.ndarray:
        """The share of each image's pixels, mean over trainings; NaN of none."""
        at = [side[0].run.taxonomy.category_names.index(name) for name in categories]
        each = []
        for finished in side:
            of = finished.pixels("val")[0][:, :, at].sum(2).astype(float)
            pixels = of.sum(1)
            taken = of[:, finished.class_of("car")]
            each.append(np.divide(taken, pixels, out=np.full(len(of), np.nan), where=pixels > 0))
        return np.mean(each, 0)

    before, after = found(a), found(b)
    known = np.isfinite(before)
    said = mean_of((after - before)[known], a[0].pixels("val")[1][known])
    return said._replace(figures=f"{before[known].mean():.2f} and {after[known].mean():.2f}, difference {said.figures}")


def claims(category: Sequence[Finished], supercategory: Sequence[Finished]) -> Iterator[Claim]:
    """All claims but those of labels, which have to be looked at."""
    one, two, both = "category", "super-category", "both"

    def compare_both(finding: int, text: str, said: Said) -> Claim:
        """Of single trainings nothing is called a change: what another seed does to the figures is unknown."""
        single = len(category) == len(supercategory) == 1
        return Claim(finding, text, both, [said._replace(verdict=FEW) if single else said])

    def each(finding: int, text: str, of: str, say: Callable[[Finished], Said]) -> Claim:
        return Claim(finding, text, of, [say(finished) for finished in (category if of == one else supercategory)])

    for of in (one, two):
        yield each(1, "a cluster of gray images", of, cluster_of("gray"))
        yield each(1, "gray images lie together", of, together("gray"))
    yield each(1, "most of the gray images are RGB files", one, rgb_files)
    for of in (one, two):
        yield each(1, "grayscale files: higher loss", of, measured("difference.grayscale file.loss", 1))
        yield each(1, "gray pictures of either file: higher loss", of, measured("difference.gray.loss", 1))

    others = ("bicycle", "motorcycle", "airplane", "bus", "train", "truck", "boat")
    yield each(2, "a cluster of a vehicle that is no class", one, cluster_of(*others))
    for name in ("bus", "bicycle", "motorcycle"):
        yield each(2, f"images with {name} lie together", one, together(name))
    yield each(2, "attention of the bus cluster on the bus", one, attention("bus", "bus"))
    yield each(2, "attention of the bus cluster on buildings", one, buildings)

    for name in ("bus", "truck"):
        yield each(3, f"{name} is taken for car", one, taken(name, "car"))
    yield each(3, "car would be better with them", one, merge)
    better = found_better(("bus", "truck"), category, supercategory)
    yield compare_both(3, "super-category finds bus and truck better", better)

    for of in (one, two):
        yield each(4, "a cluster of vehicles", of, cluster_of("vehicle"))
    yield compare_both(4, "vehicle-heavy images: purer neighbours", vehicle_neighbours(category, supercategory))
    pairs = [wheels("vehicle")(finished) for finished in supercategory]
    yield Claim(4, "support is low in wheeled vehicles", two, [pair[0] for pair in pairs])
    yield Claim(4, "lower than in those without", two, [pair[1] for pair in pairs])
    yield each(4, "round things are taken for vehicles", two, round_things("vehicle"))

    yield compare_both(5, "person-heavy and vehicle-heavy lie farther apart", separation(category, supercategory))
    names = ("iou.person", "mean_iou.person")
    for name, said in zip(names, compared(names, category, supercategory), strict=True):
        yield compare_both(5, f"higher {name}", said)

    for of in (two, one):
        yield each(6, "a cluster of sports", of, cluster_of("sports"))
        yield each(6, "images of sports lie together", of, together("sports"))
        yield each(6, "and where things of sports are tiny", of, context)
        yield each(6, "and more than other images of persons", of, beyond_persons)

    for of in (two, one):
        for name in ("low light", "crowd"):
            yield each(8, f"{name}: higher loss", of, measured(f"difference.{name}.loss", 1))
            yield each(8, f"{name}: lower IoU of persons", of, measured(f"difference.{name}.iou.person", -1))
        yield each(8, "the darker, the higher the loss", of, association("loss", "brightness", -1))

    for of, name, column in ((two, "vehicle", "super.vehicle"), (one, "car", "car")):
        for what, of_column in (("person", "person"), (name, column)):
            yield each(9, f"more of {what}: higher loss", of, association("loss", f"count.{of_column}", 1))
            yield each(9, f"more of {what}: lower IoU of it", of, association(f"iou.{what}", f"count.{of_column}", -1))
            yield each(9, f"larger {what}: trend of the loss", of, association("loss", f"size.{of_column}", 0))
            yield each(9, f"larger {what}: trend of its IoU", of, association(f"iou.{what}", f"size.{of_column}", 0))


def overall(verdicts: Sequence[str]) -> str:
    """The verdict of a finding by those of its claims."""
    if all(verdict == YES for verdict in verdicts):
        return YES
    if YES in verdicts:
        return PART
    return FEW if all(verdict == FEW for verdict in verdicts) else NO


def show(category: Sequence[Finished], supercategory: Sequence[Finished]) -> None:
    """Print all claims as a Markdown table, and what a finding's claims come to."""
    found = list(claims(category, supercategory))
    print("| finding | what was seen | variant | figures | verdict | each training |")
    print("| --- " * 6 + "|")
    for claim in found:
        each = ", ".join(said.verdict for said in claim.said) if len(claim.said) > 1 else ""
        print(f"| {claim.finding} | {claim.text} | {claim.of} | {claim.said[0].figures} | {claim.verdict} | {each} |")
    print()
    for number in sorted({claim.finding for claim in found}):
        own = [claim for claim in found if claim.finding == number and claim.of in (SEEN_BY.get(number), "both")]
        print(f"{number}: {overall([claim.verdict for claim in own])}")
    for side in (category, supercategory):
        for row in side[0].run.table("insights").query("kind == 'claim'").itertuples():
            print(f"\n{side[0].name}: {row.statement}")


def suspects(finished: Finished, folder: Path) -> None:
    """Print the strongest suspects of each kind, and write a sheet of their surroundings: white labelled, cyan seen."""
    from segscope.artefacts.images import decode_png
    from segscope.artefacts.overlays import contact_sheet
    from segscope.labels.masks import compose_mask
    from segscope.report.pictures import crop

    run = finished.run
    paths = run.table("index").set_index("image_id")
    masks = run.table("predictions", ["image_id", "mask"]).set_index("image_id")["mask"]
    instances, issues = run.table("instances"), run.table("label_issues").sort_values("score", ascending=False)
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        tiles = []
        for number, issue in enumerate(issues[issues["kind"] == kind].head(WORST).itertuples(), start=1):
            row = paths.loc[issue.image_id]
            own = instances[instances["image_id"] == issue.image_id]
            if pd.notna(issue.annotation_id):
                one = own[own["annotation_id"] == issue.annotation_id].iloc[0]
                labelled = decode_rle(one["rle"], one["height"], one["width"])
            else:
                classes = run.taxonomy.class_of_id[compose_mask(own, row["height"], row["width"])]
                labelled = classes == run.taxonomy.class_names.index(issue.suggested)
            name = issue.suggested if issue.suggested in run.taxonomy.classes else issue.labelled
            seen = decode_png(masks[issue.image_id]) == run.taxonomy.class_names.index(name)
            picture, outlines = crop(row["path"], issue.bbox, labelled, seen, 360)
            over = outlines.convert("RGBA")
            shown = picture.resize(over.size).convert("RGBA")
            shown.alpha_composite(over)
            tiles.append(
                (
                    shown.convert("RGB"),
                    f"{number}: {issue.image_id} {issue.labelled} > {issue.suggested} {issue.score:.2f}",
                )
            )
            print(f"{kind} {number}: image {issue.image_id}, annotation {issue.annotation_id:.0f}, {issue.evidence}")
        if tiles:
            contact_sheet(tiles, 5, 360).save(folder / f"{finished.name}-{kind}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--category", nargs="+", required=True)
    parser.add_argument("--supercategory", nargs="+", required=True)
    parser.add_argument("--suspects", type=Path)
    options = parser.parse_args()
    sides_of_it = [[Finished(name) for name in names] for names in (options.category, options.supercategory)]
    if options.suspects:
        for side in sides_of_it:
            suspects(side[0], options.suspects)
    else:
        show(*sides_of_it)


if __name__ == "__main__":
    main()
