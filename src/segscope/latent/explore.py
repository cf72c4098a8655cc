"""Questions to a finished run: which images are like this one, what they share, and why the model sees a class.

Letters: N images, H × W pixels at the model's size, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image

from segscope.artefacts.images import open_image, resize_image, to_rgb
from segscope.errors import SegscopeError
from segscope.labels.masks import compose_mask
from segscope.latent.attention import by_category, most_on
from segscope.latent.space import LatentSpace, load_latent_space, pool
from segscope.run import Run

if TYPE_CHECKING:  # TensorFlow takes seconds to start, and many questions need no model
    import keras

    from segscope.latent.support import Support


@dataclass(frozen=True)
class Photograph:
    """picture: RGB, of any size. image_id: None of a file that is not of the dataset."""

    name: str
    picture: Image.Image
    image_id: int | None = None


class Explorer:
    """Questions to a finished run; what they need is read when it is needed.

    What is asked for raises SegscopeError where an artefact is missing or does not fit the params.
    """

    def __init__(self, run: Run):
        self.run = run
        self.size = run.params.data.image_size

    @cached_property
    def index(self) -> pd.DataFrame:
        """Rows of index.parquet by image_id."""
        table = self.run.table("index")
        self.run.require_own(str(self.run.folder / path) for path in table["path"])
        return table.set_index("image_id")

    @cached_property
    def embeddings(self) -> pd.DataFrame:
        """Rows of embeddings.parquet by image_id."""
        return self.run.table("embeddings").set_index("image_id")

    @cached_property
    def instances(self) -> pd.DataFrame:
        """Rows of instances.parquet."""
        return self.run.table("instances")

    @cached_property
    def vectors(self) -> np.ndarray:
        """The latent vectors, float64 N × D, in the embeddings' order."""
        return np.stack(self.embeddings["latent"]).astype(float)

    @cached_property
    def model(self) -> keras.Model:
        """The model. Raises SegscopeError of one that is known by its predictions alone."""
        from segscope.model.source import open_model

        network = open_model(self.run.params, self.run.taxonomy, self.run.path("model")).network
        if network is None:
            raise SegscopeError(
                "the run's model is known by its predictions alone (model.source): none can be explained"
            )
        return network

    @cached_property
    def space(self) -> LatentSpace:
        """The run's latent space."""
        return load_latent_space(self.run.path("latent_space"))

    @cached_property
    def _probe(self) -> keras.Model:
        from segscope.model.saving import read_model
        from segscope.model.unet import activations

        return activations(read_model(self.run.path("model")), self.space.layers)

    def photograph(self, query: str) -> Photograph:
        """The image of an id of the dataset, or of a file, turned as its EXIF orientation says.

        Raises SegscopeError if there is none.
        """
        if Path(query).is_file():
            return Photograph(query, to_rgb(open_image(query, exif="apply")))
        if query.isdecimal() and int(query) in self.index.index:
            image_id = int(query)
            path, exif = self.run.folder / self.index.loc[image_id, "path"], self.run.params.data.exif
            return Photograph(query, to_rgb(open_image(path, exif=exif)), image_id)
        raise SegscopeError(f"{query} is neither a file nor an image_id of data/index.parquet")

    def layers_of(self, photographs: Sequence[Photograph]) -> list[np.ndarray]:
        """The activations that the latent space is made of."""
        return self._probe.predict_on_batch(self.pixels(photographs))[:-1]

    def pixels(self, photographs: Sequence[Photograph]) -> np.ndarray:
        """What the model is given: float32 N × H × W × 3."""
        return np.stack([np.asarray(resize_image(p.picture, self.size), np.float32) for p in photographs])

    def vector(self, photograph: Photograph) -> np.ndarray:
        """Its latent vector, float64[D]; that of a file is computed."""
        if photograph.image_id is not None and photograph.image_id in self.embeddings.index:
            return self.vectors[self.embeddings.index.get_loc(photograph.image_id)]
        return self.space.transform(pool(self.layers_of([photograph])))[0]

    def similar(self, photograph: Photograph, k: int) -> pd.DataFrame:
        """The k nearest images of the dataset, itself left out: image_id, split, distance, path, nearest first."""
        distance = np.linalg.norm(self.vectors - self.vector(photograph), axis=1)
        table = self.embeddings[["split"]].assign(distance=distance, path=self.index["path"]).reset_index()
        others = table[table["image_id"] != photograph.image_id]
        return others.nsmallest(k, "distance").reset_index(drop=True)

    def shared(self, photograph: Photograph, others: Sequence[Photograph]) -> np.ndarray:
        """What an image and its neighbours share: attention maps of them all, float64 N × H × W.

        Written back is the direction from the mean of the dataset to the mean of these images.
        """
        own = np.stack([self.vector(p) for p in (photograph, *others)])
        direction = own.mean(0) - self.vectors.mean(0)
        direction /= np.linalg.norm(direction)
        return self.space.write_back(direction, self.layers_of([photograph, *others]), self.size)

    def category_mask(self, photograph: Photograph) -> np.ndarray | None:
        """COCO category ids, uint8 H × W, of an image of the dataset."""
        if photograph.image_id is None:
            return None
        row = self.index.loc[photograph.image_id]
        own = self.instances[self.instances["image_id"] == photograph.image_id]
        return compose_mask(own, row["height"], row["width"], self.run.params.masks.crowd, size=self.size)

    def lies_on(self, photographs: Sequence[Photograph], maps: np.ndarray) -> dict[str, float]:
        """The three categories with most of the maps' positive part, and their shares; empty without any labels."""
        masks = {i: self.category_mask(p) for i, p in enumerate(photographs)}
        known = {i: mask for i, mask in masks.items() if mask is not None}
        if not known:
            return {}
        names = self.run.taxonomy.category_names
        positions = self.run.taxonomy.position_of_id[np.stack(list(known.values()))]
        attention, _ = by_category(maps[list(known)], positions, len(names))
        return most_on(attention, names)

    def explain(
        self, photograph: Photograph, name: str, box: Sequence[int] | None = None
    ) -> tuple[np.ndarray, Support]:
        """Where the model sees a class, bool H × W, and what in the image supports it there.

        box: left, top, width, height in the picture's pixels, to look only there. Raises SegscopeError if there is no
        such class, or the model does not see it.
        """
        classes = self.run.taxonomy.class_names
        if name not in classes[1:]:
            raise SegscopeError(
                f"variant {self.run.params.variant} has no class {name}; choices: {', '.join(classes[1:])}"
            )
        from segscope.latent.support import Supporter

        k = classes.index(name)
        supporter = Supporter(self.model)
        pixels = self.pixels([photograph])
        region = (supporter.predict(pixels) == k) & self._inside(photograph, box)
        if not region.any():
            where = "there" if box else "in this image"
            raise SegscopeError(f"the model predicts no pixel of {name} {where}")
        return region[0], supporter.support(pixels, k, region)

    def _inside(self, photograph: Photograph, box: Sequence[int] | None) -> np.ndarray:
        inside = np.ones((self.size, self.size), bool)
        if box:
            left, top, width, height = box
            columns = (np.arange(self.size) + 0.5) * photograph.picture.width / self.size
            rows = (np.arange(self.size) + 0.5) * photograph.picture.height / self.size
            inside &= ((columns >= left) & (columns < left + width))[None]
            inside &= ((rows >= top) & (rows < top + height))[:, None]
        return inside
