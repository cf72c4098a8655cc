"""What a trained model makes of each image of a split. Letters: N images, H × W pixels, K classes, C positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from segscope.artefacts.measures import Measure
from segscope.evaluation.bootstrap import Bootstrap
from segscope.evaluation.boundary import boundary_counts, boundary_ratios
from segscope.evaluation.calibration import calibration_measures, reliability_counts
from segscope.evaluation.counts import confusion
from segscope.evaluation.errors import error_counts, error_ratios
from segscope.evaluation.metrics import Ratio, ratio_measures, ratios
from segscope.evaluation.per_image import image_table, pixel_counts
from segscope.evaluation.predicted import Look, Predicted
from segscope.taxonomy import Taxonomy


@dataclass(frozen=True)
class Evaluation:
    """table: rows of predictions.parquet, without split and pictures. reliability: `reliability_counts` of each."""

    taxonomy: Taxonomy
    table: pd.DataFrame
    reliability: np.ndarray

    @cached_property
    def counts(self) -> np.ndarray:
        """The images' pixels by predicted class and category position, int N × K × C."""
        return pixel_counts(self.table, self.taxonomy)

    @property
    def image_ids(self) -> np.ndarray:
        """Of the images, int64[N]."""
        return self.table["image_id"].to_numpy()

    def joined(self, other: Evaluation) -> Evaluation:
        """Of the images of both."""
        table = pd.concat([self.table, other.table], ignore_index=True)
        return Evaluation(self.taxonomy, table, np.concatenate([self.reliability, other.reliability]))

    def groups(self, groups: pd.Series) -> np.ndarray:
        """The images' groups, int[N]; groups: by image_id."""
        return groups[self.table["image_id"]].to_numpy()

    def measures(self, groups: pd.Series) -> list[Measure]:
        """All metrics, with intervals; groups: by image_id."""
        found = table_ratios(self.table, self.taxonomy)
        bootstrap = Bootstrap(self.groups(groups))
        counted = [Measure("images", len(self.table)), Measure("groups", bootstrap.groups)]
        sure = calibration_measures(self.reliability, self.taxonomy.class_names, bootstrap)
        return [*counted, *ratio_measures(found, bootstrap), *sure]


def table_ratios(table: pd.DataFrame, taxonomy: Taxonomy) -> dict[str, Ratio]:
    """Every metric that is the ratio of two sums over the images, which are rows of predictions.parquet."""
    counts, classes = pixel_counts(table, taxonomy), list(taxonomy.classes)
    shown = confusion(counts, taxonomy.class_of_position).sum(1)[:, 1:] > 0
    boundary, errors = (
        np.stack(table[name].to_numpy()).reshape(len(table), len(classes), -1) for name in ("boundary", "errors")
    )
    return {
        **ratios(counts, table["loss"].to_numpy(float), taxonomy),
        **boundary_ratios(boundary, shown, classes),
        **error_ratios(errors, classes),
    }


def repeats_table(others: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """Rows of repeats.parquet; others: of each seed's training the rows of predictions.parquet."""
    columns = ["seed", "image_id", "loss", "counts", "boundary", "errors"]
    tables = [table.assign(seed=seed)[columns] for seed, table in others.items()]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def spread_measures(trainings: Sequence[pd.DataFrame], taxonomy: Taxonomy) -> list[Measure]:
    """trainings: their number; spread.METRIC: the standard deviation that another seed alone makes of a metric.

    trainings: of each, rows of predictions.parquet of the same images. Of a single one nothing is known.
    """
    each = [table_ratios(table, taxonomy) for table in trainings]
    values = {name: [found[name].value() for found in each] for name in each[0]}
    spread = [Measure(f"spread.{name}", float(np.std(of, ddof=1))) for name, of in values.items() if len(of) > 1]
    return [Measure("trainings", len(trainings)), *spread]


class Measurer(Look):
    """Counts and measures, image by image."""

    def look(self, batch: Predicted) -> None:
        self._rows += [_figures(each, self.taxonomy) for each in self.known.measured(batch)]

    def evaluation(self) -> Evaluation:
        """Of all images, of which there must be one."""
        tables, reliability = zip(*self._rows, strict=True)
        return Evaluation(self.taxonomy, pd.concat(tables, ignore_index=True), np.concatenate(reliability))


def _figures(batch: Predicted, taxonomy: Taxonomy) -> tuple[pd.DataFrame, np.ndarray]:
    """The images' figures in predictions.parquet, and `reliability_counts`."""
    target = taxonomy.class_of_id[batch.masks]
    table = image_table(batch.probabilities, batch.classes, taxonomy.position_of_id[batch.masks], taxonomy)
    reliability = reliability_counts(batch.probabilities, batch.classes, target)
    if not batch.sure:  # then they have no meaning
        table[["loss", *(name for name in table if name.startswith("confidence"))]] = np.nan
        reliability[:] = 0
    sides = batch.classes, target, len(taxonomy.class_names)
    parts = {"boundary": boundary_counts(*sides), "errors": error_counts(*sides)}
    counts = {name: list(each.reshape(len(each), -1)) for name, each in parts.items()}
    return table.assign(image_id=batch.image_ids, **counts), reliability
