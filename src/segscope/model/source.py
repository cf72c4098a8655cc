"""The model that is analysed, wherever it is from: trained here, a user's network, or what any model predicted.

Letters: N images, S × S pixels of the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
import pandas as pd

from segscope.artefacts.records import Records
from segscope.artefacts.schemas import SKIPPED
from segscope.errors import SegscopeError
from segscope.evaluation.predicted import Predicted
from segscope.model.inference import NOTHING_MORE, Wanted, batches_of, predict_records, probe_of
from segscope.model.layers import chosen_layers
from segscope.model.saving import load_model, read_model
from segscope.model.unet import LIKENESS
from segscope.model.written import CLASSES, find_predictions, read_probabilities
from segscope.params import Params
from segscope.taxonomy import Taxonomy

_NAMED = 5  # missing predictions


class Source(Protocol):
    """What the stages ask of a model. It can be pickled.

    network: it, to look into; None of predictions alone. gives: what it must give of an image, H × W × K, if that is
    known.
    """

    @property
    def network(self) -> keras.Model | None: ...

    @property
    def gives(self) -> tuple[int, int, int] | None: ...

    def unpredicted(self, samples: pd.DataFrame) -> pd.DataFrame:
        """The images of which there is no prediction, as rows of unpredicted.parquet.

        samples: rows of samples.parquet. Raises SegscopeError if they are more of a split than data.max_missing.
        """

    def known(self, images: pd.DataFrame) -> pd.DataFrame:
        """The rows of those images of which there is a prediction. images: any table with image_id."""

    def of(self, image_ids: np.ndarray) -> Source:
        """It, for these images alone: to be sent to where they are looked at.

        image_ids: int64[n], of each of which there must be a prediction.
        """

    def layers(self, asked: Sequence[str]) -> tuple[str, ...]:
        """The layers whose activations the latent space is made of; asked: `embed.layers`."""

    def predict(self, records: Records, batch_size: int, wanted: Wanted = NOTHING_MORE) -> Iterator[Predicted]:
        """What it makes of the records' images, of each of which there must be a prediction.

        Of predictions alone there are no features of pixels, and steadier ones are they themselves.
        """


class Network:
    """A network in a file: one trained here, or a user's as `adopt` made it.

    gives: what it must give of an image, H × W × K; None: what it does. Raises SegscopeError, when it is first looked
    into, if it cannot be read or gives something else.
    """

    def __init__(self, path: Path, gives: tuple[int, int, int] | None = None):
        self._path, self.gives = path.absolute(), gives

    @property
    def network(self) -> keras.Model:
        return _loaded(self._path, self._path.stat().st_mtime_ns if self._path.exists() else 0, self.gives)

    def unpredicted(self, samples: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(columns=SKIPPED.names)

    def known(self, images: pd.DataFrame) -> pd.DataFrame:
        return images

    def of(self, image_ids: np.ndarray) -> Network:
        return self

    def layers(self, asked: Sequence[str]) -> tuple[str, ...]:
        return chosen_layers(self.network, asked)

    def predict(self, records: Records, batch_size: int, wanted: Wanted = NOTHING_MORE) -> Iterator[Predicted]:
        return predict_records(self.network, records, batch_size, wanted)


@lru_cache(maxsize=1)
def _loaded(path: Path, changed: int, gives: tuple[int, int, int] | None) -> keras.Model:
    """The network that a process works with, once for all its tasks; changed: when the file was."""
    return read_model(path) if gives is None else load_model(path, gives[2], gives[0])


class Written:
    """Predictions in files, and the pretrained encoder, which has the features that they lack.

    images: image_id, path, width and height of those that are asked for, as index.parquet has them.
    """

    network, gives = None, None

    def __init__(self, params: Params, classes: Sequence[str], encoder: Path, images: pd.DataFrame):
        self._options, self._most_missing = params.model, params.data.max_missing
        self._size, self._classes, self._encoder = params.data.image_size, classes, Network(encoder)
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

    def of(self, image_ids: np.ndarray) -> Written:
        part, ids = copy(self), image_ids.tolist()
        part._ratios = {i: self._ratios[i] for i in ids}
        part._paths = {i: self._paths[i] for i in ids}
        part._files = {i: self._files[i] for i in ids}
        return part

    def layers(self, asked: Sequence[str]) -> tuple[str, ...]:
        return chosen_layers(self._encoder.network, asked, LIKENESS)

    def predict(self, records: Records, batch_size: int, wanted: Wanted = NOTHING_MORE) -> Iterator[Predicted]:
        outputs = None if self._options.outputs is None else [self._options.outputs[name] for name in self._classes[1:]]
        probe = probe_of(self._encoder.network, wanted.layers) if wanted.layers else None
        for ids, pictures, masks in batches_of(records, self._size, batch_size):
            files = [self._files[i] for i in ids.tolist()]
            p = np.stack(
                [
                    read_probabilities(file, self._ratios[i], self._size, outputs, len(self._classes))
                    for i, file in zip(ids.tolist(), files, strict=True)
                ]
            )
            sure = files[0].suffix != CLASSES
            means = probe.means(pictures) if probe else None
            yield Predicted(ids, masks, p, p if wanted.mirrored else None, sure, means)


def open_model(params: Params, taxonomy: Taxonomy, path: Path, images: pd.DataFrame | None = None) -> Source:
    """The model of a run. path: of model.keras. images: as of `Written`, to be asked for predictions.

    Raises SegscopeError if predictions cannot be read.
    """
    if params.model.source == "predictions":
        none = pd.DataFrame(columns=["image_id", "path", "width", "height"])
        return Written(params, taxonomy.class_names, path, none if images is None else images)
    size = params.data.image_size
    return Network(path, (size, size, len(taxonomy.class_names)))
