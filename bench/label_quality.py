"""How well suspect labels find planted faults, on the folders of finished runs, beside cleanlab's image scores.

python bench/label_quality.py FOLDER ...    # needs: pip install cleanlab (AGPL-3.0, so segscope does not depend on it)

Per annotation or region: precision among as many suspects as faults were planted, recall among twice as many, average
precision. Per image, as cleanlab judges them: average precision of telling the images with a fault of one kind from
those without any fault, by an image's highest score of that kind, and by cleanlab's.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from segscope.model.dataset import split_records
from segscope.model.folds import fold_model, fold_of
from segscope.model.inference import predict_records
from segscope.model.saving import load_model
from segscope.run import Run
from segscope.suspects.find import KINDS
from segscope.suspects.ranking import ranking_quality
from segscope.taxonomy import IGNORE


def judges(run: Run, split: str, ids: np.ndarray) -> Iterator[tuple[keras.Model, np.ndarray]]:
    """The models that have not seen images of a split, and which images each judges."""
    shape = len(run.taxonomy.class_names), run.params.data.image_size
    if split == "val":
        yield load_model(run.path("model"), *shape), ids
        return
    groups = run.table("groups").set_index("image_id")["group"]
    fold = fold_of(groups[ids].to_numpy(), run.params.labels.folds)
    for number in np.unique(fold):
        yield load_model(fold_model(run.path("folds"), number), *shape), ids[fold == number]


def cleanlab_scores(run: Run, split: str, ids: np.ndarray) -> pd.Series:
    """cleanlab's quality of each image's labels (softmin), turned so that higher is worse; by image_id."""
    from cleanlab.segmentation.rank import get_label_quality_scores

    scores = {}
    for model, chosen in judges(run, split, ids):
        judged = split_records(run.path("dataset"), run.params.data.image_size, split).of(chosen)
        for batch in predict_records(model, judged, run.params.predict.batch_size):
            labels = run.taxonomy.class_of_id[batch.masks].astype(int)
            labels[labels == IGNORE] = 0
            p = np.moveaxis(batch.probabilities.astype(np.float64), -1, 1)
            quality, _ = get_label_quality_scores(labels, p, method="softmin", verbose=False)
            scores |= dict(zip(batch.image_ids.tolist(), 1 - quality, strict=True))
    return pd.Series(scores)


def table(run: Run) -> pd.DataFrame:
    truth, samples = run.table("truth"), run.table("samples", ["image_id", "split"])
    truth = truth[truth["planted"].isin(KINDS)]
    rows = []
    for split, issues in run.table("label_issues").groupby("split"):
        ids = samples.loc[samples["split"] == split, "image_id"].to_numpy()
        faults = truth[truth["split"] == split]
        theirs = cleanlab_scores(run, split, ids)
        for kind, figures in ranking_quality(issues, faults).items():
            faulty = faults.loc[faults["planted"] == kind, "image_id"]
            compared = ids[np.isin(ids, faulty) | ~np.isin(ids, faults["image_id"])]
            ours = issues[issues["kind"] == kind].groupby("image_id")["score"].max()
            hit = np.isin(compared, faulty)
            rows.append(
                {
                    "run": run.folder.name,
                    "split": split,
                    "kind": kind,
                    **figures,
                    "image_ap": average_precision_score(hit, ours.reindex(compared, fill_value=0)),
                    "cleanlab_image_ap": average_precision_score(hit, theirs.loc[compared]),
                }
            )
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    found = pd.concat([table(Run(folder=folder)) for folder in parser.parse_args().folders], ignore_index=True)
    print(found.round(2).to_string(index=False))
    variant = found["run"].str.split("-").str[-1]
    numbers = found.columns.difference(["run", "split", "kind"], sort=False).tolist()
    print(found.groupby([variant, "split", "kind"], sort=False)[numbers].mean().round(2).to_string())


if __name__ == "__main__":
    main()
