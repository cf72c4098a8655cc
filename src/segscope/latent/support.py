"""What in an image supports a class where the model sees it. Letters: N images, H × W pixels, K classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from segscope.artefacts.images import encode_png
from segscope.artefacts.records import Records
from segscope.errors import SegscopeError
from segscope.evaluation.per_image import pixel_counts
from segscope.latent.attention import by_category, most_on
from segscope.latent.space import spread
from segscope.model.dataset import read_records
from segscope.model.layers import decoder_inputs
from segscope.taxonomy import IGNORE, Taxonomy


@dataclass(frozen=True)
class Support:
    """maps: float64 N × H × W. score: float64[N]. constant: float64[N]; a map's sum and it are the score."""

    maps: np.ndarray
    score: np.ndarray
    constant: np.ndarray


class Supporter:
    """Support maps of a network: what in an image makes the model see a class somewhere.

    The score is the class's logit less the mean of all classes', averaged over a region. Its gradient with respect to
    what the decoder is given (the bottleneck and the skip connections; of another network the last feature map before
    the logits), times that, is how much each cell gives to the score: gradient × input, Shrikumar et al. 2016
    (https://arxiv.org/abs/1605.01713). The rest is the constant: of the U-Net the decoder's biases.

    Raises SegscopeError if the model's logits are not made of these alone.
    """

    def __init__(self, model: keras.Model):
        given = decoder_inputs(model)
        if given is None:
            raise SegscopeError("the model has no one feature map before its logits")
        try:
            self._encoder = keras.Model(model.input, given)
            self._decoder = keras.Model(given, model.output)
        except ValueError as error:
            raise SegscopeError("the model's logits are not made of one feature map alone") from error
        self.size = model.input_shape[1]

    def given(self, pictures: np.ndarray) -> list[np.ndarray]:
        """What the decoder is given of float32 N × H × W × 3 pictures, RGB 0…255."""
        given = self._encoder.predict_on_batch(pictures)
        return given if isinstance(given, list) else [given]

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        """The classes of the pictures' pixels, int64 N × H × W."""
        return self._decoder.predict_on_batch(self.given(pictures)).argmax(-1)

    def score(self, given: Sequence[np.ndarray], k: int, regions: np.ndarray) -> tf.Tensor:
        """The score of class k, float32[N]. regions: bool N × H × W, none of them empty."""
        logits = self._decoder(list(given), training=False)
        margin = logits[..., k] - tf.reduce_mean(logits, -1)
        weight = regions / regions.sum((1, 2), keepdims=True)
        return tf.reduce_sum(margin * tf.cast(weight, margin.dtype), (1, 2))

    def support(self, pictures: np.ndarray, k: int, regions: np.ndarray) -> Support:
        """What supports class k in the regions, bool N × H × W, of the pictures."""
        given = [tf.convert_to_tensor(layer) for layer in self.given(pictures)]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(given)
            score = self.score(given, k, regions)
        gradients = tape.gradient(score, given)
        parts = [
            spread((layer.numpy() * gradient.numpy()).sum(-1, dtype=np.float64), self.size)
            for layer, gradient in zip(given, gradients, strict=True)
        ]
        maps = reduce(np.add, parts)
        value = score.numpy().astype(np.float64)
        return Support(maps, value, value - maps.sum((1, 2)))


def supporter_of(model: keras.Model | None) -> Supporter | None:
    """The Supporter of a model; None of none, and of one whose logits are not made of one feature map alone."""
    if model is None:
        return None
    try:
        return Supporter(model)
    except SegscopeError:
        return None


def most_wrong(predictions: pd.DataFrame, taxonomy: Taxonomy, most: int) -> dict[int, list[int]]:
    """By class, the images with most pixels wrongly predicted as it, at most `most`, the worst first.

    predictions: rows of predictions.parquet.
    """
    counts = pixel_counts(predictions, taxonomy)
    ids = predictions["image_id"].to_numpy()
    chosen = {}
    for k in range(1, len(taxonomy.class_names)):
        wrong = counts[:, k, taxonomy.class_of_position != k].sum(1)
        order = np.argsort(-wrong, kind="stable")[:most]
        chosen[k] = ids[order[wrong[order] > 0]].tolist()
    return chosen


def explain_errors(
    supporter: Supporter | None,
    records: Records,
    images: Mapping[int, Sequence[int]],
    taxonomy: Taxonomy,
) -> pd.DataFrame:
    """What supports each class where it is predicted wrongly, as rows of supports.parquet, in the images' order.

    supporter: of `supporter_of`; without one there are none. records: of at least these images. images: of
    `most_wrong`.
    """
    columns = ["image_id", "class", "pixels", "score", "constant", "region", "support", "on"]
    if supporter is None:
        return pd.DataFrame(columns=columns)
    names = taxonomy.category_names
    wanted = np.array(sorted({i for ids in images.values() for i in ids}), np.int64)
    rows = {}
    for image_id, picture, mask in read_records(records.of(wanted), supporter.size).as_numpy_iterator():
        pixels = picture[None].astype(np.float32)
        predicted = supporter.predict(pixels)
        for k, ids in images.items():
            if image_id not in ids:
                continue
            region = wrong_regions(predicted, taxonomy.class_of_id[mask][None], k)
            found = supporter.support(pixels, k, region)
            attention, _ = by_category(found.maps, taxonomy.position_of_id[mask][None], len(names))
            rows[k, int(image_id)] = {
                "image_id": image_id,
                "class": taxonomy.class_names[k],
                "pixels": region.sum(),
                "score": found.score[0],
                "constant": found.constant[0],
                "region": encode_png(region[0].astype(np.uint8)),
                "support": found.maps[0].ravel(),
                "on": list(most_on(attention, names).items()),
            }
    return pd.DataFrame([rows[k, i] for k, ids in images.items() for i in ids], columns=columns)


def wrong_regions(predicted: np.ndarray, target: np.ndarray, k: int) -> np.ndarray:
    """Pixels predicted as class k that are of another class, bool …; predicted, target: uint8 … (or 255 in target)."""
    return (predicted == k) & (target != k) & (target != IGNORE)
