"""What is taken along while images are looked at: what the latent space is made of, and features of pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from segscope.evaluation.merges import Heads
from segscope.evaluation.predicted import Look, Pixels, Predicted


class MeansTaker(Look):
    """Takes the means of layers' channels, which must be asked for."""

    def look(self, batch: Predicted) -> None:
        assert batch.means is not None
        self._rows.append((batch.image_ids, batch.means))

    def table(self, split: str, layers: Sequence[str]) -> pd.DataFrame:
        """Rows of activations.parquet; layers: whose they are."""
        ids, means = (np.concatenate(each) for each in zip(*self._rows, strict=True))
        return pd.DataFrame(
            {"image_id": ids, "split": split, "layers": [list(layers)] * len(ids), "means": list(means)}
        )


class PixelTaker(Look):
    """Takes the features of pixels, of those images of which they were asked for."""

    def look(self, batch: Predicted) -> None:
        self._rows += [batch.pixels] if batch.pixels else []

    def pixels(self) -> Pixels | None:
        """Of all images; None of none."""
        return Pixels(*map(np.concatenate, zip(*self._rows, strict=True))) if self._rows else None


def heads_of(train: PixelTaker, val: PixelTaker, groups: pd.Series) -> Heads | None:
    """Heads of train's pixels, measured on val's; None where no features were given. groups: by image_id."""
    of_train, of_val = train.pixels(), val.pixels()
    return Heads(of_train, of_val, groups[of_val.image_id].to_numpy()) if of_train and of_val else None
