"""What a class is confused with: its false positives by COCO category, and the merge that would pay.

Letters: N images, K classes (0 is background), C category positions (0 is unlabelled).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from segscope.artefacts.measures import Measure
from segscope.evaluation.bootstrap import TRUSTED, Bootstrap, interval
from segscope.evaluation.merges import Heads
from segscope.evaluation.words import listed
from segscope.taxonomy import Taxonomy

FAR = 2.0  # times what is taken of unlabelled background: a category of which less is taken is no candidate
MOST_CANDIDATES = 4  # for one class


def category_table(counts: np.ndarray, taxonomy: Taxonomy) -> pd.DataFrame:
    """Pixels by predicted class and true category, summed over images: one row for each pair with any.

    counts: int N × K × C. share_of_category: of the category's pixels, those predicted as the class.
    """
    total = counts.sum(0)
    k, c = np.nonzero(total)
    return pd.DataFrame(
        {
            "predicted": np.array(taxonomy.class_names, dtype=object)[k],
            "category": np.array(taxonomy.category_names, dtype=object)[c],
            "pixels": total[k, c],
            "share_of_category": total[k, c] / total.sum(0)[c],
        }
    )


def false_positives(counts: np.ndarray, class_of_position: np.ndarray, k: int) -> pd.DataFrame:
    """The categories whose pixels are wrongly predicted as class k, those of most pixels first.

    position: in 0…C-1. pixels: of the category, predicted as k. share: of all false positive pixels of k.
    taken: of the category's pixels, those predicted as k. counts: int N × K × C. class_of_position: uint8[C].
    """
    total = counts.sum(0)
    wrong = np.flatnonzero((class_of_position != k) & (total[k] > 0))
    table = pd.DataFrame({"position": wrong, "pixels": total[k, wrong]})
    table["share"] = table["pixels"] / max(table["pixels"].sum(), 1)
    table["taken"] = table["pixels"] / total.sum(0)[wrong]
    return table.sort_values(["pixels", "position"], ascending=[False, True], ignore_index=True)


def candidates(counts: np.ndarray, class_of_position: np.ndarray, k: int, bootstrap: Bootstrap) -> list[int]:
    """The background categories of which clearly more is taken for class k than of unlabelled background is.

    Positions, at most MOST_CANDIDATES, those of most pixels first. Clearly: FAR times as much, by the low end of the
    95 % interval over groups. Of what one group shows there is no interval, and no candidate. Where all pixels are
    labelled, a category is compared with the rest of the background.
    """
    found = false_positives(counts, class_of_position, k)
    found = found[(found["position"] > 0) & (class_of_position[found["position"]] == 0)]
    taken, pixels = _sums(counts, k, bootstrap)
    drawn, background = _shares(taken, pixels), class_of_position == 0
    unlabelled = counts[:, :, 0].any()
    groups = bootstrap.number(counts[:, k] > 0)

    def usual(position: int) -> np.ndarray:
        if unlabelled:
            return drawn[:, 0]
        rest = background & (np.arange(len(background)) != position)
        return _shares(taken[:, rest].sum(1), pixels[:, rest].sum(1))

    clearly = [
        int(position)
        for position in found["position"]
        if groups[position] > 1 and interval(drawn[:, position] - FAR * usual(position))[0] > 0
    ]
    return clearly[:MOST_CANDIDATES]


def _drawn(counts: np.ndarray, k: int, bootstrap: Bootstrap) -> np.ndarray:
    """The share of each category's pixels that is predicted as class k, in each resample: R × C, NaN of no pixel."""
    return _shares(*_sums(counts, k, bootstrap))


def _sums(counts: np.ndarray, k: int, bootstrap: Bootstrap) -> list[np.ndarray]:
    """Each category's pixels predicted as class k, and all of its pixels, in each resample: R × C both."""
    return np.split(bootstrap.sums(np.concatenate([counts[:, k], counts.sum(1)], 1).astype(float)), 2, axis=1)


def _shares(taken: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    return np.divide(taken, pixels, out=np.full(taken.shape, np.nan), where=pixels > 0)


def find_merges(
    counts: np.ndarray, group: np.ndarray, taxonomy: Taxonomy, heads: Heads | None
) -> dict[str, dict[str, Any]]:
    """Which categories each class but background would better be trained with, by class; without heads of none.

    counts: int N × K × C, of train, which say what is tried; heads: what is measured, on val. group: int[N], of
    train's images. tried and categories: names of the candidates and of those recommended; gain: `Gain` of these, or
    of all that were tried, as a mapping, None if none was, or val cannot tell.
    """
    labels, bootstrap, found = taxonomy.category_names, Bootstrap(group), dict[str, dict[str, Any]]()
    if heads is None:
        return found
    for k, name in enumerate(taxonomy.classes, start=1):
        tried = candidates(counts, taxonomy.class_of_position, k, bootstrap)
        chosen, gain = heads.merge(taxonomy.class_of_position == k, tried) if tried else ([], None)
        found[name] = {
            "tried": [labels[i] for i in tried],
            "categories": [labels[i] for i in chosen],
            "gain": gain and gain._asdict(),
        }
    return found


def findings(
    counts: np.ndarray, taxonomy: Taxonomy, group: np.ndarray, merges: Mapping[str, Mapping[str, Any]], most: int = 5
) -> dict[str, dict[str, Any]]:
    """For each class but background: its false positives by category, the merge that pays, and both as a sentence.

    counts: int N × K × C. group: int[N], the images' groups. merges: of `find_merges`; of a class that it lacks
    nothing is said. Of the categories only the `most` of most pixels, and those that a merge was tried with; taken
    (see `false_positives`) with its interval and carriers, and as unlabelled_taken that of unlabelled background, None
    where there is none.
    Classes without false positives are left out.
    """
    labels, bootstrap = taxonomy.category_names, Bootstrap(group)
    result = {}
    for k, name in enumerate(taxonomy.classes, start=1):
        wrong = false_positives(counts, taxonomy.class_of_position, k)
        if wrong.empty:
            continue
        merge = merges.get(name)
        tried = [labels.index(each) for each in merge["tried"]] if merge else []
        shown = wrong[(wrong.index < most) | wrong["position"].isin(tried)]
        taken = _taken(counts, k, bootstrap)
        categories = {
            labels[row.position]: {"share": row.share, **taken.loc[row.position].to_dict()}
            for row in shown.itertuples()
        }
        unlabelled = float(taken.loc[0, "taken"]) if counts[:, :, 0].any() else None
        found = {"categories": categories, "unlabelled_taken": unlabelled, "merge": merge}
        result[name] = found | {"statement": statement(name, found, most)}
    return result


def _taken(counts: np.ndarray, k: int, bootstrap: Bootstrap) -> pd.DataFrame:
    """Of each category position's pixels the share predicted as class k, its interval, and how many groups carry it."""
    taken, pixels = counts[:, k].astype(float), counts.sum(1).astype(float)
    drawn, total = _drawn(counts, k, bootstrap), pixels.sum(0)
    ends = np.array([interval(column) for column in drawn.T])
    ends[bootstrap.number(pixels > 0) < 2] = np.nan
    share = np.divide(taken.sum(0), total, out=np.zeros(len(total)), where=total > 0)
    carriers = np.minimum(bootstrap.carriers(taken), bootstrap.carriers(pixels))
    return pd.DataFrame({"taken": share, "low": ends[:, 0], "high": ends[:, 1], "carriers": carriers})


def confusion_measures(found: Mapping[str, Mapping[str, Any]]) -> list[Measure]:
    """What is known of `findings` as figures.

    false_positives.CLASS.CATEGORY: the category's share of the class's false positive pixels. taken.CLASS.CATEGORY: of
    the category's pixels, those predicted as the class. merge_gain.CLASS: what the recommended merge, or that of all
    that was tried, would add to the IoU by an estimate.
    """
    rows = []
    for name, finding in found.items():
        for category, values in finding["categories"].items():
            rows.append(Measure(f"false_positives.{name}.{category}", values["share"]))
            ends = {key: values[key] for key in ("low", "high", "carriers")}
            rows.append(Measure(f"taken.{name}.{category}", values["taken"], **ends))
        gain = finding["merge"] and finding["merge"]["gain"]
        if gain:
            ends = {key: gain[key] for key in ("low", "high", "carriers")}
            rows.append(Measure(f"merge_gain.{name}", gain["after"] - gain["before"], **ends))
    return rows


def statement(name: str, found: Mapping[str, Any], most: int) -> str:
    """The finding about one class in plain words."""
    categories, merge = found["categories"], found["merge"]
    shares = ", ".join(f"{category} {values['share']:.0%}" for category, values in [*categories.items()][:most])
    text = f"Pixels wrongly predicted as {name} are: {shares}."
    if merge is None:
        return text
    if not merge["tried"]:
        rest = "the rest of it" if found["unlabelled_taken"] is None else "unlabelled pixels"
        return f"{text} Of no category of the background clearly more is taken for {name} than of {rest}."
    gain, chosen = merge["gain"], merge["categories"]
    known = [f"{categories[each]['taken']:.1%} of {each}" for each in merge["tried"] if each in categories]
    if found["unlabelled_taken"] is not None:
        known.append(f"{found['unlabelled_taken']:.1%} of unlabelled pixels")
    if known:
        text = f"{text} Taken for {name} are {listed(known)}."
    if gain is None:
        return (
            f"{text} Whether it would pay to train {listed(merge['tried'])} as {name} is not known: too few of val's "
            f"images show {name}."
        )
    change = f"{gain['after'] - gain['before']:+.2f} ({gain['low']:+.2f} to {gain['high']:+.2f})"
    if not chosen:
        return (
            f"{text} By linear classifiers of the model's features, training {listed(merge['tried'])} as {name} would "
            f"change its IoU by {change}: not recommended{', for too little of it is of each' * (gain['low'] > 0)}."
        )
    few = f"; fewer than {TRUSTED} groups of images carry this, too few to trust the interval"
    return (
        f"{text} Recommended: train {listed(chosen)} as {name}. By linear classifiers of the model's features its IoU, "
        f"of all of them together, changes by {change}, from {gain['before']:.2f} to {gain['after']:.2f}, and the "
        f"share found of what is {name} now from {gain['recall_before']:.2f} to {gain['recall_after']:.2f}"
        f"{few if gain['carriers'] < TRUSTED else ''}."
    )
