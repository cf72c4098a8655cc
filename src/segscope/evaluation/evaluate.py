"""What a trained model makes of each image of a split. Letters: N images, H × W pixels, K classes, C positions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from segscope.artefacts.images import encode_png
from segscope.artefacts.measures import Measure
from segscope.evaluation.bootstrap import Bootstrap
from segscope.evaluation.calibration import calibration_measures, reliability_counts
from segscope.evaluation.loss import loss_maps
from segscope.evaluation.metrics import ratio_measures, ratios
from segscope.evaluation.per_image import image_table, pixel_counts
from segscope.evaluation.predicted import Predicted
from segscope.taxonomy import Taxonomy


@dataclass(frozen=True)
class Evaluation:
    """table: rows of predictions.parquet, without split. reliability: `reliability_counts` of each image."""

    taxonomy: Taxonomy
    table: pd.DataFrame
    reliability: np.ndarray

    @cached_property
    def counts(self) -> np.ndarray:
        """The images' pixels by predicted class and category position, int N × K × C."""
        return pixel_counts(self.table, self.taxonomy)

    def groups(self, groups: pd.Series) -> np.ndarray:
        """The images' groups, int[N]; groups: by image_id."""
        return groups[self.table["image_id"]].to_numpy()

    def measures(self, groups: pd.Series) -> list[Measure]:
        """All metrics, with intervals; groups: by image_id."""
        found = ratios(self.counts, self.table["loss"].to_numpy(float), self.taxonomy)
        bootstrap = Bootstrap(self.groups(groups))
        counted = [Measure("images", len(self.table)), Measure("groups", bootstrap.groups)]
        sure = calibration_measures(self.reliability, self.taxonomy.class_names, bootstrap)
        return [*counted, *ratio_measures(found, bootstrap), *sure]


def evaluate(
    batches: Iterable[Predicted], taxonomy: Taxonomy, look: Callable[[Predicted], None] | None = None
) -> Evaluation:
    """Count and measure, image by image. look: is shown each batch, too."""
    tables, reliability = [], []
    for batch in batches:
        p, target = batch.probabilities, taxonomy.class_of_id[batch.masks]
        pictures = {"mask": p.argmax(-1).astype(np.uint8), "loss_map": loss_maps(p, target)}
        encoded = {name: [encode_png(each) for each in values] for name, values in pictures.items()}
        table = image_table(p, taxonomy.position_of_id[batch.masks], taxonomy)
        tables.append(table.assign(image_id=batch.image_ids, **encoded))
        reliability.append(reliability_counts(p, target))
        if look:
            look(batch)
    return Evaluation(taxonomy, pd.concat(tables, ignore_index=True), np.concatenate(reliability))
