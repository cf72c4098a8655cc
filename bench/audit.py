"""What segscope's intervals and sentences are worth, on data whose answer is known: the tables of docs/statistics.md.

A finished run over crops of photographs, of which the k-th val image (by id) shows photograph k modulo their number, is
taken for the whole world: its val images' values are the truth, samples of them are what a user has.

python bench/audit.py FOLDER PHOTOGRAPHS [groups | coverage | slices | insights] ...
python bench/audit.py --trainings FOLDER    # a finished run of several train.seeds, compared with one another
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score
from tqdm import tqdm

from segscope.evaluation.bootstrap import TRUSTED, Bootstrap
from segscope.evaluation.difference import differences, holm
from segscope.evaluation.groups import compare
from segscope.evaluation.metrics import Ratio, ratio_measures, ratios
from segscope.evaluation.per_image import image_scores, pixel_counts
from segscope.evaluation.yardsticks import comparable, yardsticks
from segscope.insights.held import polynomial, residuals, share_of_each
from segscope.insights.insights import find_insights
from segscope.insights.subject import subjects
from segscope.report.compare import Side, run_of
from segscope.run import Run

TRIALS = 400
INDEPENDENT = (30, 136, 500)  # images, drawn one by one
PHOTOGRAPHS = (12, 30, 120)  # drawn with all their crops
SIZES = (5, 8, 11, 20, 50)  # images of a random slice
PERMUTED = 20


@dataclass(frozen=True)
class World:
    """The val images of a run, in the order of their ids. photograph: which each shows; group: where it was put."""

    run: Run
    samples: pd.DataFrame
    scores: pd.DataFrame
    ratios: dict[str, Ratio]
    photograph: np.ndarray
    group: np.ndarray


def read_world(folder: Path, photographs: int) -> World:
    run = Run(folder=folder)
    predictions = run.table("predictions").query("split == 'val'").sort_values("image_id", ignore_index=True)
    ids = predictions["image_id"]
    samples = run.table("samples").set_index("image_id").loc[ids].reset_index()
    found = ratios(pixel_counts(predictions, run.taxonomy), predictions["loss"].to_numpy(float), run.taxonomy)
    group = run.table("groups").set_index("image_id").loc[ids, "group"].to_numpy()
    return World(run, samples, image_scores(predictions, run.taxonomy), found, np.arange(len(ids)) % photographs, group)


def drawn(world: World, chosen: np.ndarray) -> dict[str, Ratio]:
    return {
        name: Ratio(each.above[chosen], each.below[chosen], each.shown[chosen]) for name, each in world.ratios.items()
    }


def units(world: World) -> dict[str, np.ndarray]:
    return {
        "images": np.arange(len(world.group)),
        "groups found": world.group,
        "photographs": world.photograph,
    }


def groups(world: World) -> None:
    """Whether images are put together that show one photograph."""
    agreement = adjusted_rand_score(world.photograph, world.group)
    sizes = np.bincount(np.unique(world.group, return_inverse=True)[1])
    print(f"{len(world.group)} images, {len(sizes)} groups, the largest of {sizes.max()}; agreement {agreement:.2f}")


def coverage(world: World) -> None:
    """How often an interval holds the truth: of all, and of those that are carried by enough and so are shown."""
    names = [name for name in world.ratios if name.partition(".")[0] in ("loss", "iou", "mean_iou")]
    truth = {name: world.ratios[name].value() for name in names}
    rows, rng = [], np.random.default_rng(0)
    settings = [("independent", n) for n in INDEPENDENT]
    settings += [(kind, n) for kind in ("images", "photographs", "groups found") for n in PHOTOGRAPHS]
    for kind, n in tqdm(settings, unit="setting"):
        hits, shown, shown_hits = Counter(), Counter(), Counter()
        trials = TRIALS if kind == "independent" else TRIALS // 4
        for _ in range(trials):
            if kind == "independent":
                chosen = rng.integers(0, len(world.group), n)
                unit = np.arange(n)
            else:
                photographs = rng.choice(world.photograph.max() + 1, n)
                parts = [np.flatnonzero(world.photograph == each) for each in photographs]
                chosen = np.concatenate(parts)
                # A photograph that is drawn twice is two.
                copy = np.repeat(np.arange(n), [len(part) for part in parts])
                own = {"images": np.arange(len(chosen)), "photographs": copy, "groups found": world.group[chosen]}[kind]
                unit = np.unique(np.stack([copy, own]), axis=1, return_inverse=True)[1]
            found = {m.measure: m for m in ratio_measures(drawn(world, chosen), Bootstrap(unit, 500))}
            for name in names:
                hit = found[name].low <= truth[name] <= found[name].high
                hits[name] += hit
                shown[name] += found[name].carriers >= TRUSTED
                shown_hits[name] += hit and found[name].carriers >= TRUSTED
        for name in names:
            share, of_shown = shown[name] / trials, shown_hits[name] / max(shown[name], 1)
            rows.append((f"{kind}, {n}", name, f"{hits[name] / trials:.2f} · {share:.0%} shown, {of_shown:.2f}"))
    table = pd.DataFrame(rows, columns=["drawn", "metric", "coverage"])
    print(table.pivot(index="drawn", columns="metric", values="coverage")[names].to_markdown())


def slices(world: World) -> None:
    """How often the interval of a random slice's difference in loss holds 0."""
    rng, loss = np.random.default_rng(0), world.scores[["loss"]]
    first = np.unique(world.photograph, return_index=True)[1]
    for n in SIZES:
        hits = 0
        for _ in range(TRIALS):
            # Images of all crops, drawn independently, as many as there are photographs.
            chosen = rng.choice(len(loss), len(first), replace=False)
            inside = np.zeros(len(loss), bool)
            inside[rng.choice(chosen, n, replace=False)] = True
            row = compare(inside[chosen], loss.iloc[chosen], chosen).iloc[0]
            hits += row["low"] <= 0 <= row["high"]
        print(f"{n} of {len(first)} independent images: {hits / TRIALS:.2f}")
    for name, unit in units(world).items():
        hits = 0
        for _ in range(TRIALS):
            inside = np.isin(world.photograph, rng.choice(len(first), len(first) // 4, replace=False))
            row = compare(inside, loss, unit).iloc[0]
            hits += row["low"] <= 0 <= row["high"]
        print(f"a quarter of the photographs, {name} as units: {hits / TRIALS:.2f}")


def insights(world: World) -> None:
    """Statements beyond the share where there is nothing but the share: what it leaves is permuted over photographs."""
    run, rng = world.run, np.random.default_rng(0)
    about, fewest = subjects(run.taxonomy), run.params.insights.min_images
    for name, unit in units(world).items():
        said, kinds = 0, Counter()
        for _ in tqdm(range(PERMUTED), unit="permutation"):
            scores = permuted(world, {metric: about[metric].share(world.samples) for metric in world.scores}, rng)
            found = find_insights(world.samples, scores, run.taxonomy, unit, fewest).insights
            beyond = found[~found["kind"].isin(["share", "claim"])]
            said += len(beyond) > 0
            kinds.update(beyond["kind"])
        print(f"{name} as units: {said} of {PERMUTED} runs say anything, {kinds.total()} statements {dict(kinds)}")
    found = find_insights(world.samples, world.scores, run.taxonomy, world.group, fewest)
    print("not permuted:", *found.statements(), sep="\n- ")


def permuted(world: World, shares: dict[str, np.ndarray], rng: np.random.Generator) -> pd.DataFrame:
    """Scores of which the share is left as it is, and what it leaves is another photograph's, crop by crop."""
    order = rng.permutation(world.photograph.max() + 1)
    crops = [np.flatnonzero(world.photograph == each) for each in range(len(order))]
    result = world.scores.copy()
    for metric in result:
        values = result[metric].to_numpy(float)
        known = np.isfinite(values)
        weight = share_of_each(world.photograph[known])
        basis = polynomial(shares[metric][known], len(np.unique(world.photograph[known])))
        left = np.full(len(values), np.nan)
        left[known] = residuals(values[known, None], basis, weight)[:, 0]
        means = np.array([np.nanmean(left[of]) if np.isfinite(left[of]).any() else 0.0 for of in crops])
        alone = left - means[world.photograph]
        result[metric] = values - left + means[order[world.photograph]] + alone
    return result


def trainings(folder: Path) -> None:
    """Sides of some of a run's trainings against others: how often a difference is found where there is none."""
    side = Side([run_of(Run(folder=folder), folder.name)])
    taxonomy, ids = side.first.taxonomy, side.first.predictions.index
    shared = yardsticks(taxonomy, taxonomy)
    each = [comparable(table.loc[ids], taxonomy, taxonomy, shared) for table in side.trainings]
    bootstrap = Bootstrap(side.first.groups.loc[ids].to_numpy())
    print(f"{len(each)} trainings, {len(ids)} val images")
    for k in range(1, len(each) // 2 + 1):
        pairs = [
            (a, b) for a, b in product(combinations(range(len(each)), k), repeat=2) if a < b and not set(a) & set(b)
        ]
        rows, beyond, marked = 0, 0, 0
        for a, b in pairs:
            found = differences([each[i] for i in a], [each[i] for i in b], bootstrap)
            known = [row for row in found if np.isfinite(row.low)]
            rows += len(known)
            beyond += sum(row.low > 0 or row.high < 0 for row in known)
            marked += bool((holm([row.p_value for row in known]) < 0.05).any())
        print(
            f"{k} a side, {len(pairs)} pairs, {rows} intervals: {beyond / rows:.1%} leave out 0; "
            f"{marked} pairs have a row marked as changed"
        )


PARTS = {"groups": groups, "coverage": coverage, "slices": slices, "insights": insights}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=Path, metavar="FOLDER")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("photographs", nargs="?", type=int)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    options = parser.parse_args()
    if options.trainings:
        trainings(options.trainings)
        return
    if options.photographs is None:
        parser.error("FOLDER and PHOTOGRAPHS are needed")
    world = read_world(options.folder, options.photographs)
    for name in options.parts or PARTS:
        print(f"\n## {name}")
        PARTS[name](world)


if __name__ == "__main__":
    main()
