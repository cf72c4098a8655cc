"""What drives a model's performance, in the few sentences that are true beyond what is plain.

First what the share of the model's classes does to each score; then, with that share held, what metadata adds: trends,
images known to be hard, slices. Then what the reference claims, whatever the answer. Letters: N images.
Scores are tables of N rows: `loss`, and `iou.CLASS` of images that show the class (else NaN).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from segscope.artefacts.measures import Measure
from segscope.artefacts.schemas import INSIGHTS, USER
from segscope.evaluation.groups import compare
from segscope.evaluation.per_image import image_scores
from segscope.insights.associations import associations
from segscope.insights.hard import HARD, hard_images
from segscope.insights.held import (
    Correlation,
    per_group,
    polynomial,
    rank_correlation,
    residuals,
    share_of_each,
)
from segscope.insights.slices import Condition, Slice, find_slices, readable
from segscope.insights.subject import Subject, subjects
from segscope.labels.metadata import describe, numbers
from segscope.taxonomy import Taxonomy

KINDS = ("share", "association", "hard", "slice", "claim")
SIGNIFICANT = 0.05
MIN_RHO = 0.1
MIN_EXPLAINED = 0.01  # of the metric's variance: less is true of many images and of use to nobody
FAMILY = 0.7  # rank correlation of columns that say the same
OVERLAP = 0.5  # of images
MOST = 10
TOP = 0.8  # of the images: a share above this quantile of theirs is a large one


@dataclass(frozen=True)
class Insights:
    """associations: rows of associations.parquet. insights: rows of insights.parquet: what the share does, what more
    there is, the most explaining first, and the claims. hard: rows of `hard_images`.
    """

    associations: pd.DataFrame
    insights: pd.DataFrame
    hard: pd.DataFrame

    def statements(self) -> list[str]:
        """The insights as sentences."""
        return self.insights["statement"].tolist()

    def measures(self) -> list[Measure]:
        """insights.KIND: how many; of hard images inside.NAME.SCORE: their mean, difference.NAME.SCORE: less the
        rest's, held.NAME.SCORE: the same with the share held.
        """
        kinds = self.insights["kind"].value_counts()
        rows = [Measure(f"insights.{kind}", int(kinds.get(kind, 0))) for kind in KINDS]
        for row in self.hard.itertuples(index=False):
            subject, units = f"{row.name}.{row.metric}", min(row.units, row.rest_units)
            rows += [
                Measure(f"inside.{subject}", row.inside, row.images),
                Measure(f"difference.{subject}", row.difference, row.images, row.low, row.high, carriers=units),
                Measure(f"held.{subject}", row.held, row.images, row.held_low, row.held_high, carriers=units),
            ]
        return rows


@dataclass(frozen=True)
class _Scored:
    """The images with a finite loss, or all where none is known: then there is no such score.

    left: of each score what the share does not explain, NaN where it is not known.
    """

    samples: pd.DataFrame
    scores: pd.DataFrame
    subjects: Mapping[str, Subject]
    shares: Mapping[str, np.ndarray]
    group: np.ndarray
    left: pd.DataFrame

    def explained(self, inside: np.ndarray, metric: str) -> float:
        """The share of a score's variance over all its images, beyond the share's, that telling bool[N] explains."""
        known = self.scores[metric].notna().to_numpy()
        weight = share_of_each(self.group[known])
        basis = polynomial(self.shares[metric][known], len(np.unique(self.group[known])))
        told = residuals(inside[known, None].astype(float), basis, weight)[:, 0]
        score, left = (each[metric].to_numpy(float)[known] for each in (self.scores, self.left))
        total = weight @ (score - np.average(score, weights=weight)) ** 2
        own = weight @ told**2
        return float((weight @ (told * left)) ** 2 / (own * total)) if own * total > 0 else 0.0


def insights_of(
    samples: pd.DataFrame, predictions: pd.DataFrame, taxonomy: Taxonomy, group: pd.Series, fewest: int
) -> Insights:
    """All that metadata tells of images' scores.

    samples: rows of samples.parquet, of these and other images. predictions: N rows of predictions.parquet. group: by
    image_id. fewest: as `find_insights`.
    """
    ids = predictions["image_id"]
    shown = samples.set_index("image_id").loc[ids].reset_index()
    scores = image_scores(predictions, taxonomy).reset_index(drop=True)
    return find_insights(shown, scores, taxonomy, group[ids].to_numpy(), fewest)


def find_insights(
    samples: pd.DataFrame, scores: pd.DataFrame, taxonomy: Taxonomy, group: np.ndarray, fewest: int
) -> Insights:
    """All that metadata tells of the scores.

    samples: N rows of samples.parquet, in the order of the scores. group: int[N], what is independent. fewest: groups
    that a statement needs on both sides.
    """
    known = np.isfinite(scores["loss"].to_numpy(float))
    if not known.any():
        scores, known = scores.drop(columns="loss"), ~known
    of = _scored(samples[known].reset_index(drop=True), scores[known].reset_index(drop=True), taxonomy, group[known])
    table = associations(of.samples, of.scores, of.shares, of.group)
    hard = hard_images(of.samples, of.scores, of.left, of.group)
    slices = find_slices(of.samples, of.left["loss"].to_numpy(), of.group, fewest) if "loss" in of.left else []
    candidates = [*_of_associations(table, of, fewest), *_of_hard(hard, of, fewest), *_of_slices(slices, of, fewest)]
    rows = [*_of_shares(of), *_best(candidates, of), *_of_claims(of)]
    return Insights(table, pd.DataFrame(rows, columns=INSIGHTS.names), hard)


def _scored(samples: pd.DataFrame, scores: pd.DataFrame, taxonomy: Taxonomy, group: np.ndarray) -> _Scored:
    about = subjects(taxonomy)
    shares = {metric: about[metric].share(samples) for metric in scores}
    left = pd.DataFrame(np.nan, scores.index, scores.columns)
    for metric in scores:
        known = scores[metric].notna().to_numpy()
        if known.any():
            basis = polynomial(shares[metric][known], len(np.unique(group[known])))
            values = scores.loc[known, [metric]].to_numpy(float)
            left.loc[known, metric] = residuals(values, basis, share_of_each(group[known]))[:, 0]
    return _Scored(samples, scores, about, shares, group, left)


def _of_shares(of: _Scored) -> Iterator[dict[str, Any]]:
    """One row: what the share of its classes does to each score; a question alone where it does not clearly move the
    first.
    """
    parts, clear = [], dict[str, bool]()
    for metric in of.scores:
        score, share = _units(of, of.scores[metric].to_numpy(float), of.shares[metric])
        found = rank_correlation(share, score)
        if np.isnan(found.rho):
            continue
        clear[metric] = found.low * found.high > 0
        verb = {True: "rises", False: "falls"}[found.rho > 0] if clear[metric] else "does not clearly move"
        parts.append(f"{_named(metric)} {verb} with the share of {of.subjects[metric]} ({_interval(found)})")
    if not parts:
        return
    lead = next(iter(of.scores))  # the loss, where it is known
    known = of.scores[lead].notna().to_numpy()
    values, left = (each[lead].to_numpy(float)[known] for each in (of.scores, of.left))
    weight = share_of_each(of.group[known])
    total = weight @ (values - np.average(values, weights=weight)) ** 2
    explained = float(1 - weight @ left**2 / total) if total > 0 else np.nan
    share = of.subjects[lead].share(of.samples)
    shown = share[known & (share > 0)]
    if not len(shown):
        return
    edge = min(float(f"{np.quantile(shown, TOP):.2g}"), float(shown.max()))
    statement = (
        f"{_sentence('; '.join(parts))} The share alone explains {explained:.0%} of {_named(lead)}'s "
        "variance over the images; what is said next holds at a given share."
    )
    inside = (share >= edge) & known
    kind = "share" if clear.get(lead) else "claim"
    row = _row(kind, str(of.subjects[lead]), statement, inside, of) | {"query": of.subjects[lead].query(edge)}
    row |= {"explained": explained, "metric": lead}
    yield row | (
        {"inside": values[inside[known]].mean(), "rest": values[~inside[known]].mean()} if kind == "share" else {}
    )


def _of_associations(table: pd.DataFrame, of: _Scored, fewest: int) -> Iterator[dict[str, Any]]:
    """Each column that moves a score with the share held, by those of its images at which the model is worse."""
    clear = table[(table["held_p_value"] < SIGNIFICANT) & (table["held"].abs() >= MIN_RHO)]
    for row in clear.to_dict("records"):
        name, metric = row["column"], row["metric"]
        if pd.api.types.is_bool_dtype(of.samples[name]) or "`" in name:
            continue  # a group, not a trend
        chosen = _worse_end(of.samples[name], row, of, fewest)
        wanted = 1 if metric == "loss" else -1
        found = _stated("association", describe(name), chosen, metric, of, fewest)
        if found and np.sign(found["difference"]) == wanted:
            trend = f" Over all of them the rank correlation is {row['held']:+.2f} at a given share."
            yield found | {"statement": found["statement"] + trend, "p_value": row["held_p_value"]}


def _worse_end(values: pd.Series, row: Mapping[str, Any], of: _Scored, fewest: int) -> Slice:
    """The images at that end of a column's bins at which the model is worse; at least `fewest` groups of them."""
    above = (row["held"] > 0) == (row["metric"] == "loss")
    bins = pd.DataFrame(list(row["bins"]))
    edges = (bins["low"][::-1] if above else bins["high"]).tolist()[: max(1, len(bins) - 1)]
    for edge in edges:
        chosen = Slice((Condition(str(values.name), ">=" if above else "<=", readable(values, edge)),))
        if len(np.unique(of.group[chosen.holds(of.samples)])) >= fewest:
            break
    return chosen


def _of_hard(hard: pd.DataFrame, of: _Scored, fewest: int) -> Iterator[dict[str, Any]]:
    for row in hard[hard["p_value"] < SIGNIFICANT].to_dict("records"):
        found = _stated("hard", row["name"], HARD[row["name"]], row["metric"], of, fewest)
        if found:
            yield found | {"p_value": row["p_value"]}


def _of_slices(found: list[tuple[Slice, float]], of: _Scored, fewest: int) -> Iterator[dict[str, Any]]:
    for chosen, p_value in found:
        row = _stated("slice", chosen.words(), chosen, "loss", of, fewest)
        if row:
            yield row | {"p_value": p_value}


def _stated(kind: str, name: str, chosen: Slice, metric: str, of: _Scored, fewest: int) -> dict[str, Any] | None:
    """A row about some images against the others of which their columns are known; None if it must not be stated."""
    columns = [condition.column for condition in chosen.conditions]
    known = of.samples[columns].notna().all(axis=1).to_numpy() & of.scores[metric].notna().to_numpy()
    inside = chosen.holds(of.samples)
    if not (inside & known).any() or (inside | ~known).all():
        return None
    left, raw = (
        compare(inside[known], each.loc[known, [metric]], of.group[known]).iloc[0] for each in (of.left, of.scores)
    )
    explained = of.explained(inside, metric)
    if (
        min(left["units"], left["rest_units"]) < fewest
        or explained < MIN_EXPLAINED
        or not left["low"] * left["high"] > 0
    ):
        return None
    difference = left["inside"] - left["rest"]
    counted = "images" if metric == "loss" else f"images that show {of.subjects[metric]}"
    counted += "" if len(np.unique(of.group)) == len(of.group) else ", near copies counted once"
    statement = (
        f"Images with {chosen.words()} have a {'higher' if difference > 0 else 'lower'} {_named(metric)[4:]} than "
        f"others with as large a share of {of.subjects[metric]}: by {_figure(abs(difference))} "
        f"({_ends(left['low'], left['high'], difference)}; "
        f"{left['units']} against {left['rest_units']} {counted}). "
        f"As they are: {_figure(raw['inside'])} against {_figure(raw['rest'])}."
    )
    figures = {"metric": metric, "inside": raw["inside"], "rest": raw["rest"], "difference": difference}
    figures |= {"low": left["low"], "high": left["high"], "p_value": left["p_value"], "explained": explained}
    row = _row(kind, name, statement, inside, of) | {"query": chosen.query()}
    return row | figures | {"columns": columns}


def _best(candidates: list[dict[str, Any]], of: _Scored) -> list[dict[str, Any]]:
    """The candidates that explain most, each saying something that none before it says."""
    kept: list[dict[str, Any]] = []
    for row in sorted(candidates, key=lambda each: -each["explained"]):
        if len(kept) == MOST:
            break
        if not any(_same(row, other, of) for other in kept):
            kept.append(row)
    return [{key: value for key, value in row.items() if key != "columns"} for row in kept]


def _same(a: Mapping[str, Any], b: Mapping[str, Any], of: _Scored) -> bool:
    """Whether two statements are of the same family of columns, or of nearly the same images."""
    ids, others = set(a["image_ids"]), set(b["image_ids"])
    if len(ids & others) > OVERLAP * min(len(ids), len(others)):
        return True
    return any(_related(x, y, of) for x in a["columns"] for y in b["columns"])


def _related(a: str, b: str, of: _Scored) -> bool:
    if _about(a) == _about(b):
        return True
    pair = [numbers(of.samples[name]) for name in (a, b)]
    if not all(pd.api.types.is_numeric_dtype(values) for values in pair):
        return False
    found = rank_correlation(*per_group(np.stack([values.to_numpy(float) for values in pair], 1), of.group).T)
    return abs(found.rho) >= FAMILY


def _about(column: str) -> str:
    """What a column counts or measures: `count.car` and `share.car` are of cars."""
    if column.startswith(USER):
        return column
    prefix, _, name = column.partition(".")
    return name.removeprefix("super.") or prefix


def _of_claims(of: _Scored) -> Iterator[dict[str, Any]]:
    """The reference's claim, of each class: the more of its instances, the higher the loss and the lower its IoU."""
    for metric in [name for name in of.scores if name != "loss"]:
        subject = of.subjects[metric]
        count, size, share = (each(of.samples) for each in (subject.count, subject.size, subject.share))
        for score in [name for name in ("loss", metric) if name in of.scores]:
            columns = _units(of, of.scores[score].to_numpy(float), count, size, share)
            answers = [
                f"{how}: {_answer(found, 1 if score == 'loss' else -1)}"
                for how, found in (
                    ("as they are", rank_correlation(columns[1], columns[0])),
                    (f"at a given mean size of {subject}", rank_correlation(columns[1], columns[0], columns[2])),
                    (f"at a given share of {subject}", rank_correlation(columns[1], columns[0], columns[3])),
                )
            ]
            question = (
                f"The more instances of {subject}, the {'higher' if score == 'loss' else 'lower'} {_named(score)}?"
            )
            statement = f"{question} {_sentence('; '.join(answers))}"
            row = _row("claim", f"{subject} {score}", statement, count > 0, of)
            query = f"{' + '.join(f'`count.{name}`' for name in subject.columns)} >= 1"
            yield row | {"query": query, "metric": score}


def _answer(found: Correlation, claimed: int) -> str:
    if np.isnan(found.rho):
        return f"too few images to say ({found.units})"
    if found.low * found.high <= 0:
        verdict = "not shown"
    else:
        verdict = "yes" if np.sign(found.rho) == claimed else "no, the opposite"
    return f"{verdict} ({_interval(found)}; {found.units} groups of images)"


def _units(of: _Scored, *columns: np.ndarray) -> np.ndarray:
    """The groups' means of columns float[N], one row a column."""
    return per_group(np.stack(columns, 1), of.group).T


def _row(kind: str, name: str, statement: str, inside: np.ndarray, of: _Scored) -> dict[str, Any]:
    ids = of.samples.loc[inside, "image_id"].tolist()
    row: dict[str, Any] = dict.fromkeys(("inside", "rest", "difference", "low", "high", "p_value", "explained"), np.nan)
    row |= {"kind": kind, "name": name, "statement": statement, "image_ids": ids, "images": len(ids), "metric": "loss"}
    return row | {"units": len(np.unique(of.group[inside]))}


def _figure(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 0.095 else f"{value:.3f}"


def _ends(low: float, high: float, difference: float) -> str:
    """An interval of an absolute difference, the smaller end first."""
    ends = sorted((low * np.sign(difference), high * np.sign(difference)))
    return f"{_figure(ends[0])} to {_figure(ends[1])}"


def _interval(found: Correlation) -> str:
    return f"rank correlation {found.rho:+.2f}, {found.low:+.2f} to {found.high:+.2f}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _named(metric: str) -> str:
    return f"the IoU of {metric.removeprefix('iou.')}" if metric.startswith("iou.") else f"the {metric}"
