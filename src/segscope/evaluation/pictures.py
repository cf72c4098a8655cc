"""The pictures of predictions.parquet: what is predicted in each image, and where it is wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd

from segscope.artefacts.images import encode_png
from segscope.evaluation.loss import loss_maps
from segscope.evaluation.predicted import Look, Predicted


class PictureTaker(Look):
    """Takes the pictures of images."""

    def look(self, batch: Predicted) -> None:
        losses = loss_maps(batch.probabilities, self.taxonomy.class_of_id[batch.masks])
        losses = losses if batch.sure else np.zeros_like(losses)  # there is none
        self._rows += [(encode_png(a), encode_png(b)) for a, b in zip(batch.classes, losses, strict=True)]

    def table(self) -> pd.DataFrame:
        """The columns mask and loss_map of predictions.parquet, a row an image in the order they were seen."""
        return pd.DataFrame(self._rows, columns=["mask", "loss_map"])
