"""The model that is analysed, wherever it is from: trained here, a user's network, or what any model predicted.

Letters: N images, S × S pixels of the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
import pandas as pd

from segscope.artefacts.schemas import SKIPPED
from segscope.errors import SegscopeError
from segscope.evaluation.merges import Heads
from segscope.evaluation.predicted import Predicted
from segscope.model.inference import Batch, Split, layer_batches, predict_split
from segscope.model.layers import chosen_layers
from segscope.model.pixels import pixel_heads
from segscope.model.saving import load_model, read_model
from segscope.model.unet import LIKENESS
from segscope.model.written import CLASSES, find_predictions, read_probabilities
from segscope.params import Params
from segscope.taxonomy import Taxonomy

_NAMED = 5  # missing predictions


class Source(Protocol):
    """What the stages ask of a model.

    network: it, to look into; None of predictions alone.
    """

    @property
    def network(self) -> keras.Model | None: ...

    def unpredicted(self, samples: pd.DataFrame) -> pd.DataFrame:
        """The images of which there is no prediction, as rows of unpredicted.parquet.

        samples: rows of samples.parquet. Raises SegscopeError if they are more of a split than data.max_missing.
        """

    def known(self, images: pd.DataFrame) -> pd.DataFrame:
        """The rows of those images of which there is a prediction. images: any table with image_id."""

    def predict(self, split: Split, batch_size: int, mirrored: bool = False) -> Iterator[Predicted]:
        """What it makes of a split's images, those left out that it says nothing of; mirrored: steadier, too."""

    def layers(self, asked: Sequence[str]) -> tuple[str, ...]:
        """The layers whose activations the latent space is made of; asked: `embed.layers`."""

    def features(self, layers: Sequence[str], splits: Iterable[Split], title: str) -> Iterator[Batch]:
        """Their activations, of all images of the splits."""

    def heads(self, folder: Path, samples: pd.DataFrame, group: pd.Series, taxonomy: Taxonomy) -> Heads | None:
        """See `pixel_heads`; None of predictions alone."""


class Network:
    """A network: the one trained here, or a user's as `adopt` made it."""

    def __init__(self, network: keras.Model):
        self.network = network

    def unpredicted(self, samples: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(columns=SKIPPED.names)

    def known(self, images: pd.DataFrame) -> pd.DataFrame:
        return images

    def predict(self, split: Split, batch_size: int, mirrored: bool = False) -> Iterator[Predicted]:
        return predict_split(self.network, split, batch_size, mirrored)

    def layers(self, asked: Sequence[str]) -> tuple[str, ...]:
        return chosen_layers(self.network, asked)

    def features(self, layers: Sequence[str], splits: Iterable[Split], title: str) -> Iterator[Batch]:
        return layer_batches(self.network, layers, splits, title)

    def heads(self, folder: Path, samples: pd.DataFrame, group: pd.Series, taxonomy: Taxonomy) -> Heads | None:
        return pixel_heads(self.network, folder, samples, group, taxonomy)


class Written:
    """Predictions in files, and the pretrained encoder, which has the features that they lack.

    images: image_id, path, width and height of those that are asked for, as index.parquet has them.
    """

    network = None

    def __init__(self, params: Params, classes: Sequence[str], encoder: Path, images: pd.DataFrame):
        self._options, self._most_missing = params.model, params.data.max_missing
        self._size, self._classes, self._encoder = params.data.image_size, classes, encoder
        images = images.set_index("image_id")
        self._ratios = dict(zip(images.index, images[["width", "height"]].to_numpy().tolist(), strict=True))
        self._paths = images["path"].to_dict()
        self._files = find_predictions(Path(self._options.path), self._paths) if self._paths else {}

    def unpredicted(self, samples: pd.DataFrame) -> pd.DataFrame:
        rows = samples.loc[~samples["image_id"].isin(self._files.keys()), ["split", "image_id"]]
        for split, ids in samples.groupby("split")["image_id"]:
            missing = rows.loc[rows["split"] == split, "image_id"]
            if len(missing) == len(ids) or len(missing) > self._most_missing * len(ids):
                names = ", ".join(Path(self._paths[i]).stem for i in missing[:_NAMED])
                raise SegscopeError(
                    f"{self._options.path} has no prediction of {len(missing)} of {len(ids)} {split} images, more than "
                    f"data.max_missing ({self._most_missing}): {names}{', …' if len(missing) > _NAMED else ''}; a "
                    f"prediction is called as its image, but for the ending {CLASSES} or .npz"
                )
        names = rows["image_id"].map(self._paths).map(lambda path: Path(path).name)
        rows = rows.assign(file_name=names, reason="no_prediction", detail=f"not in {self._options.path}")
        return rows.reindex(columns=SKIPPED.names)

    def known(self, images: pd.DataFrame) -> pd.DataFrame:
        return images[images["image_id"].isin(self._files.keys())]

    def predict(self, split: Split, batch_size: int, mirrored: bool = False) -> Iterator[Predicted]:
        outputs = None if self._options.outputs is None else [self._options.outputs[name] for name in self._classes[1:]]
        for ids, _, masks in split.batches(self._size, batch_size, f"read {split.name}"):
            there = np.array([i in self._files for i in ids.tolist()])
            if not there.any():
                continue
            files = [self._files[i] for i in ids[there].tolist()]
            p = np.stack(
                [
                    read_probabilities(file, self._ratios[i], self._size, outputs, len(self._classes))
                    for i, file in zip(ids[there].tolist(), files, strict=True)
                ]
            )
            sure = files[0].suffix != CLASSES
            yield Predicted(ids[there], masks[there], p, p if mirrored else None, sure)

    def layers(self, asked: Sequence[str]) -> tuple[str, ...]:
        return chosen_layers(read_model(self._encoder), asked, LIKENESS)

    def features(self, layers: Sequence[str], splits: Iterable[Split], title: str) -> Iterator[Batch]:
        return layer_batches(read_model(self._encoder), layers, splits, title)

    def heads(self, folder: Path, samples: pd.DataFrame, group: pd.Series, taxonomy: Taxonomy) -> Heads | None:
        return None


def open_model(params: Params, taxonomy: Taxonomy, path: Path, images: pd.DataFrame | None = None) -> Source:
    """The model of a run. path: of model.keras. images: as of `Written`, to be asked for predictions.

    Raises SegscopeError if it cannot be read, or does not fit the params.
    """
    if params.model.source == "predictions":
        none = pd.DataFrame(columns=["image_id", "path", "width", "height"])
        return Written(params, taxonomy.class_names, path, none if images is None else images)
    return Network(load_model(path, len(taxonomy.class_names), params.data.image_size))
