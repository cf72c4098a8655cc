"""All that is found in the images of a split, part by part: a task for each TFRecord file, wherever it runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import pandas as pd
from tqdm import tqdm

from segscope.artefacts.parallel import in_turn
from segscope.artefacts.records import Records
from segscope.evaluation.objects import annotations_by_image
from segscope.evaluation.predicted import Known, Look, Predicted
from segscope.evaluation.resolution import measured_at
from segscope.model.inference import NOTHING_MORE, Wanted
from segscope.model.source import Source
from segscope.params import Params
from segscope.taxonomy import Taxonomy

L = TypeVar("L", bound=Look)


class Part(NamedTuple):
    """Images of one TFRecord file: their rows of a table of image_id, width, height, and of instances.parquet."""

    records: Records
    images: pd.DataFrame
    instances: pd.DataFrame

    def of(self, chosen: np.ndarray) -> Part:
        """Those of its images that are chosen: bool[n]."""
        images = self.images[chosen]
        own = self.instances[self.instances["image_id"].isin(images["image_id"])]
        return Part(self.records[chosen], images, own)


Task = tuple[Source, Part]  # images, and the model that they are to be looked at with


def tasks_of(source: Source, records: Records, images: pd.DataFrame, instances: pd.DataFrame) -> list[Task]:
    """The records' TFRecord files, each as a task for the model.

    images: rows of samples.parquet or copies.parquet; images of which there is none are left out. instances: rows of
    instances.parquet of any images.
    """
    known = images[["image_id", "width", "height"]].set_index("image_id", drop=False)
    of_image = instances.groupby("image_id", sort=False).indices
    tasks = []
    for file in records.of(known.index.to_numpy()).by_file():
        ids = file.image_id
        rows = [of_image[i] for i in ids.tolist() if i in of_image]
        own = instances.iloc[np.concatenate(rows)] if rows else instances.iloc[:0]
        tasks.append((source.of(ids), Part(file, known.loc[ids].reset_index(drop=True), own)))
    return tasks


class Looks:
    """Looks taken, by their kind."""

    def __init__(self, known: Known, kinds: Sequence[type[Look]]):
        self._looks = {kind: kind(known) for kind in kinds}

    def __getitem__(self, kind: type[L]) -> L:
        return cast(L, self._looks[kind])

    def look(self, batch: Predicted) -> None:
        """Take each at images."""
        for look in self._looks.values():
            look.look(batch)

    def found(self) -> list[Any]:
        """What each found."""
        return [look.found() for look in self._looks.values()]

    def add(self, found: Sequence[Any]) -> None:
        """Add what looks of these kinds found."""
        for look, own in zip(self._looks.values(), found, strict=True):
            look.add(own)


def examine(
    tasks: Sequence[Task],
    kinds: Sequence[type[Look]],
    title: str,
    wanted: Wanted = NOTHING_MORE,
    *,
    taxonomy: Taxonomy,
    params: Params,
) -> Looks:
    """Looks of these kinds at the parts, each as its model sees it, on all cores; with a progress bar."""
    looks = Looks(Known(taxonomy), kinds)
    look = partial(_found, kinds=kinds, wanted=wanted, taxonomy=taxonomy, params=params)
    images = [len(part.images) for _, part in tasks]
    with tqdm(total=sum(images), desc=f"predict {title}", unit="image", disable=None) as bar:
        for n, found in zip(images, in_turn(look, tasks), strict=True):
            looks.add(found)
            bar.update(n)
    return looks


def _found(task: Task, kinds: Sequence[type[Look]], wanted: Wanted, taxonomy: Taxonomy, params: Params) -> list[Any]:
    source, part = task
    annotations = annotations_by_image(part.instances)
    looks = Looks(Known(taxonomy, annotations, measured_at(params, part.images, annotations)), kinds)
    for batch in source.predict(part.records, params.predict.batch_size, wanted):
        looks.look(batch)
    return looks.found()
