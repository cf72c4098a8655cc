"""At which resolution predictions are measured: the model's, or that of each photograph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from segscope.evaluation.predicted import Measured, Predicted
from segscope.labels.masks import compose_mask
from segscope.params import Params


def measured_at(params: Params, images: pd.DataFrame, annotations: Mapping[int, Sequence[Any]]) -> Measured:
    """What is measured of a batch: itself, or each of its images at the photograph's resolution (predict.resolution).

    images: image_id, width, height. annotations: rows of instances.parquet of each image, by image_id.
    """
    crowd = params.masks.crowd
    if params.predict.resolution == "model":
        return lambda batch: [batch]
    sizes = dict(zip(images["image_id"].tolist(), images[["height", "width"]].to_numpy().tolist(), strict=True))
    return partial(at_image_size, sizes=sizes, annotations=annotations, crowd=crowd)


def at_image_size(
    batch: Predicted, sizes: Mapping[int, Sequence[int]], annotations: Mapping[int, Sequence[Any]], crowd: str
) -> Iterator[Predicted]:
    """Each image by itself: its labels as they were drawn, the probabilities interpolated (bilinear).

    sizes: height and width in pixels, by image_id. annotations: as `measured_at`. crowd: as `compose_mask`.
    """
    columns = ("annotation_id", "category_id", "area", "iscrowd", "rle")
    for image_id, probabilities in zip(batch.image_ids.tolist(), batch.probabilities, strict=True):
        height, width = sizes[image_id]
        rows = annotations.get(image_id, [])
        mask = compose_mask({name: [getattr(row, name) for row in rows] for name in columns}, height, width, crowd)
        yield Predicted(
            np.array([image_id]), mask[None], _enlarged(probabilities, height, width)[None], sure=batch.sure
        )


def _enlarged(probabilities: np.ndarray, height: int, width: int) -> np.ndarray:
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(probabilities, -1, 0)]
    return np.stack([np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR)) for plane in planes], axis=-1)
