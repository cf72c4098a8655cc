"""What is measured: images as a model sees them. Letters: N images, H × W pixels, K classes, C channels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from segscope.errors import SegscopeError
from segscope.taxonomy import Taxonomy


class Pixels(NamedTuple):
    """Some pixels of each image: features float32 N × P × C, position uint8 N × P (or 255), image_id int64[N]."""

    features: np.ndarray
    position: np.ndarray
    image_id: np.ndarray


@dataclass(frozen=True, eq=False)
class Predicted:
    """A batch of images as a model sees them.

    image_ids: int64[N]. masks: of category ids, uint8 N × H × W. probabilities: float32 N × H × W × K. steadier: the
    mean of these and of the mirror images', mirrored back; None where it was not asked for. sure: whether they say how
    sure the model is; else they are 0 and 1, as all that is known is each pixel's class. means: of some layers'
    channels over each image, float32 N × C; None where they were not asked for. pixels: of those of the images that
    some were asked of, or None.
    """

    image_ids: np.ndarray
    masks: np.ndarray
    probabilities: np.ndarray
    steadier: np.ndarray | None = None
    sure: bool = True
    means: np.ndarray | None = None
    pixels: Pixels | None = None

    @cached_property
    def classes(self) -> np.ndarray:
        """The most probable class of each pixel, uint8 N × H × W."""
        return self.probabilities.argmax(-1).astype(np.uint8)


Measured = Callable[[Predicted], Iterable[Predicted]]


class Known(NamedTuple):
    """What is known where images are looked at.

    annotations: each image's rows of instances.parquet, by image_id. measured: as of `measured_at`.
    """

    taxonomy: Taxonomy
    annotations: Mapping[int, Sequence[Any]] = MappingProxyType({})
    measured: Measured = lambda batch: [batch]


class Look(ABC):
    """Gathers rows of images, batch by batch, and what others gathered of those that follow."""

    def __init__(self, known: Known):
        self.known, self.taxonomy = known, known.taxonomy
        self._rows: list[Any] = []

    @abstractmethod
    def look(self, batch: Predicted) -> None:
        """Look at images."""

    def found(self) -> Any:
        """What was gathered."""
        return self._rows

    def add(self, found: Any) -> None:
        """Add what another gathered."""
        self._rows += found


def require_finite(what: str, ids: np.ndarray, values: np.ndarray) -> None:
    """Raise SegscopeError if what a model makes of some images, int64[N], is not finite; values: N × …"""
    if np.isfinite(values).all():
        return
    odd = ids[~np.isfinite(values.reshape(len(ids), -1)).all(1)]
    raise SegscopeError(
        f"the model's {what} of image {odd[0]} are not finite: its weights are damaged (`dvc repro train` makes it "
        "anew), or its pictures are prepared otherwise than those that it learned from (model.preprocessing)"
    )
