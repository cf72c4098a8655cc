"""Do the recommended merges pay when they are trained, and is none recommended of categories without meaning?

    python bench/merges.py recommend RUN             # what is recommended for a finished run, a folder of the project
    python bench/merges.py permuted RUN              # the same of categories permuted, 20 times
    python bench/merges.py trained RUN MERGED CLASS  # the IoU before, and of a run whose variant has the merge

Results of the drawn sample and of COCO's photographs are in docs/merges.md.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from segscope.evaluation.bootstrap import Bootstrap, interval
from segscope.evaluation.confusions import find_merges, findings
from segscope.evaluation.counts import confusion, iou, outcomes
from segscope.evaluation.merges import Heads
from segscope.evaluation.per_image import pixel_counts
from segscope.evaluation.predicted import Known, Pixels
from segscope.model.dataset import split_records
from segscope.model.inference import Wanted, predict_records, sampled
from segscope.model.pixels import PixelTaker
from segscope.model.saving import load_model
from segscope.run import Run
from segscope.taxonomy import IGNORE, Taxonomy

PERMUTATIONS = 20


@dataclass(frozen=True)
class Finished:
    """What a finished run is judged by: counts and image ids of each split, and the pixels of predict's heads."""

    taxonomy: Taxonomy
    image_ids: dict[str, np.ndarray]
    counts: dict[str, np.ndarray]
    pixels: dict[str, Pixels]

    @classmethod
    def read(cls, run: Run) -> Finished:
        """The heads' pixels are drawn as the predict stage draws them."""
        taxonomy, predictions = run.taxonomy, run.table("predictions")
        model = load_model(run.path("model"), len(taxonomy.class_names), run.params.data.image_size)
        ids, counts, pixels = {}, {}, {}
        for name, images in predictions.groupby("split"):
            ids[name], counts[name] = images["image_id"].to_numpy(), pixel_counts(images, taxonomy)
            taker, wanted = PixelTaker(Known(taxonomy)), Wanted(pixels=sampled(images, taxonomy))
            records = split_records(run.path("dataset"), run.params.data.image_size, name)
            for batch in predict_records(model, records, run.params.predict.batch_size, wanted):
                taker.look(batch)
            pixels[name] = taker.pixels()
        return cls(taxonomy, ids, counts, pixels)

    def findings(self) -> dict:
        """As predict's, each image being a group of its own."""
        heads = Heads(self.pixels["train"], self.pixels["val"], self.pixels["val"].image_id)
        merges = find_merges(self.counts["train"], self.image_ids["train"], self.taxonomy, heads)
        return findings(self.counts["val"], self.taxonomy, self.image_ids["val"], merges)


def recommend(run: Run) -> None:
    """Print each class's finding."""
    finished = Finished.read(run)
    start = time.perf_counter()
    for finding in finished.findings().values():
        print(finding["statement"], finding["merge"])
    print(f"{time.perf_counter() - start:.1f} s")


def permuted(run: Run) -> None:
    """Count the recommendations where every image's background categories are called by others' names, at random."""
    finished = Finished.read(run)
    false = 0
    for seed in range(PERMUTATIONS):
        for name, finding in renamed(finished, seed).findings().items():
            merge = finding["merge"]
            print(seed, name, merge["tried"], merge["categories"], merge["gain"], flush=True)
            false += bool(merge["categories"])
    print(f"{false} recommendations in {PERMUTATIONS} permutations of {len(finished.taxonomy.classes)} classes")


def renamed(finished: Finished, seed: int) -> Finished:
    """The same with each image's background categories called by others' names: what was one stays one."""
    draw, n = np.random.default_rng(seed), len(finished.taxonomy.category_names)
    seen = sum(counts.sum((0, 1)) for counts in finished.counts.values()) > 0
    free = np.flatnonzero(seen & (finished.taxonomy.class_of_position == 0))[1:]
    counts, pixels = {}, {}
    for split, ids in finished.image_ids.items():
        tables = np.tile(np.append(np.arange(n), np.full(256 - n, IGNORE)), (len(ids), 1))
        tables[:, free] = draw.permuted(np.tile(free, (len(ids), 1)), axis=1)
        counts[split] = np.take_along_axis(finished.counts[split], np.argsort(tables[:, None, :n], -1), -1)
        old = finished.pixels[split]
        rows = pd.Index(ids).get_indexer(old.image_id)
        new = np.take_along_axis(tables[rows], old.position.astype(np.intp), 1).astype(np.uint8)
        pixels[split] = replace(old, position=new)
    return Finished(finished.taxonomy, finished.image_ids, counts, pixels)


def trained(before: Run, after: Run, name: str) -> None:
    """Print the IoU of the class in both runs, and the recall of what it was before."""
    (image_id, first), (other, second) = (_of_val(run) for run in (before, after))
    assert (image_id == other).all()
    sums, recalls = [], []
    own = before.taxonomy.class_of_position == before.taxonomy.class_names.index(name)
    for run, counts in ((before, first), (after, second)):
        k = run.taxonomy.class_names.index(name)
        sums.append(np.stack([part[:, k] for part in outcomes(confusion(counts, run.taxonomy.class_of_position))], -1))
        recalls.append(counts[:, k, own].sum() / counts[:, :, own].sum())
    drawn = Bootstrap(image_id).sums(np.concatenate(sums, 1))
    low, high = interval(iou(*drawn[:, 3:].T) - iou(*drawn[:, :3].T))
    ious = [iou(*each.sum(0)) for each in sums]
    print(f"IoU {ious[0]:.3f} to {ious[1]:.3f} ({low:+.3f} to {high:+.3f}), recall of {name} {recalls}")


def _of_val(run: Run) -> tuple[np.ndarray, np.ndarray]:
    images = run.table("predictions").query("split == 'val'")
    return images["image_id"].to_numpy(), pixel_counts(images, run.taxonomy)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["recommend", "permuted", "trained"])
    parser.add_argument("runs", nargs="+")
    arguments = parser.parse_args()
    folders = [Run(folder=Path(each)) for each in arguments.runs[:2]]
    if arguments.action == "trained":
        trained(*folders, arguments.runs[2])
    else:
        {"recommend": recommend, "permuted": permuted}[arguments.action](folders[0])
