"""What a suspect's score is worth, on the folders of finished runs with planted faults.

python bench/suspects.py FOLDER ...

Prints the share of faults among suspects of each band of scores, the rank correlation of score and size where nothing
is planted, and `ODDS` of segscope.suspects.find as these runs would have it: a logistic regression a kind, of all that
is contradicted at all, whatever its score; every folder weighs the same.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from label_quality import judges
from sklearn.linear_model import LogisticRegression

from segscope.evaluation.objects import annotations_by_image
from segscope.evaluation.predicted import Known
from segscope.model.dataset import split_records
from segscope.model.inference import Wanted, predict_records
from segscope.run import Run
from segscope.suspects import find
from segscope.suspects.ranking import hits

BANDS = [0, 0.2, 0.4, 0.6, 0.8, 1]


def contradicted(run: Run, split: str) -> pd.DataFrame:
    """All that the model contradicts in a split; `hit`: it was planted as this kind; `size`: its box's share."""
    samples = run.table("samples")
    finder = find.SuspectFinder(Known(run.taxonomy, annotations_by_image(run.table("instances"))))
    ids = samples.loc[samples["split"] == split, "image_id"].to_numpy()
    for model, chosen in judges(run, split, ids):
        judged = split_records(run.path("dataset"), run.params.data.image_size, split).of(chosen)
        for batch in predict_records(model, judged, run.params.predict.batch_size, Wanted(mirrored=True)):
            finder.look(batch)
    truth = run.table("truth")
    return with_truth(finder, truth[truth["split"] == split], samples).assign(run=str(run.folder))


def with_truth(finder: find.SuspectFinder, truth: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """The finder's table, with `hit`, `size` and `trusted`: the probability times the precision of its class."""
    found = finder.table(samples, 0).assign(hit=False)
    for kind, rows in found.groupby("kind"):
        found.loc[rows.index, "hit"] = hits(rows, truth[truth["planted"] == kind])
    shape = samples.set_index("image_id").loc[found["image_id"], ["width", "height"]].prod(axis=1)
    precision = dict(zip(finder.taxonomy.class_names, finder.precision(), strict=True))
    return found.assign(
        size=[box[2] * box[3] for box in found["bbox"]] / shape.to_numpy(),
        trusted=found["probability"] * found["suggested"].map(precision),
    )


def fitted(found: pd.DataFrame) -> dict[str, tuple[float, ...]]:
    """ODDS of the suspects of runs; slopes are not negative."""
    odds = {}
    for kind, rows in found.groupby("kind"):
        x = find.strength(rows["trusted"], rows["depth"]).T
        weight = len(rows) / rows["run"].nunique() / rows.groupby("run")["hit"].transform("size")
        kept = np.ones(2, bool)
        while True:
            model = LogisticRegression(C=10).fit(x[:, kept], rows["hit"], weight)
            if (model.coef_[0] >= 0).all():
                break
            kept[np.flatnonzero(kept)[model.coef_[0].argmin()]] = False
        slopes = np.zeros(2)
        slopes[kept] = model.coef_[0]
        odds[kind] = (*model.intercept_.round(2).tolist(), *slopes.round(2).tolist())
    return odds


def bands(found: pd.DataFrame) -> pd.DataFrame:
    """Of each band of scores and each kind, and of all: how many suspects, and the share of faults."""
    every = pd.concat([found, found.assign(kind="all")])
    by = every.groupby(["kind", pd.cut(every["score"], BANDS, right=False)], observed=False)
    return by.agg(suspects=("hit", "size"), faults=("hit", "mean")).unstack(0)


def size_correlation(found: pd.DataFrame) -> pd.Series:
    """Spearman's, of the score and the size of the listed suspects that were not planted, by kind."""
    clean = found[~found["hit"] & (found["score"] >= find.MIN_SCORE)]
    return pd.Series(
        {kind: rows["score"].corr(rows["size"], method="spearman") for kind, rows in clean.groupby("kind")}
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    runs = [Run(folder=folder) for folder in parser.parse_args().folders]
    found = pd.concat([contradicted(run, "val") for run in runs], ignore_index=True)
    print(bands(found).round(2).to_string())
    print(size_correlation(found).round(2).to_string())
    print("ODDS =", fitted(found))


if __name__ == "__main__":
    main()
