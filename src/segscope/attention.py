"""Where in the images the model sees what it makes of them. Letters: N images, H × W pixels, D dimensions, K classes.

Two kinds of maps. An *attention map* writes a direction of the latent space back onto an image, exactly. A *support
map* does the same for the logits, which are affine as long as no ReLU of the decoder switches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from segscope.images import encode_png
from segscope.latent import LatentSpace, spread
from segscope.masks import IGNORE
from segscope.model import BOTTLENECK, SKIP_LAYERS

# By cluster, the sum of its positive attention and its pixels, by category position: float64[C] each.
Under = dict[int, tuple[np.ndarray, np.ndarray]]


def cluster_direction(vectors: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Unit vector float[D] from the mean of the other images to the mean of those of bool[N] `inside`."""
    direction = vectors[inside].mean(0) - vectors[~inside].mean(0)
    return direction / np.linalg.norm(direction)


def choose_exemplars(vectors: np.ndarray, labels: np.ndarray, most: int) -> dict[int, np.ndarray]:
    """Each cluster's images that score highest on its direction, their positions among the N."""
    chosen = {}
    for cluster in range(labels.max() + 1):
        members = np.flatnonzero(labels == cluster)
        score = vectors[members] @ cluster_direction(vectors, labels == cluster)
        chosen[cluster] = members[np.argsort(-score, kind="stable")[:most]]
    return chosen


def attend(
    batches: Iterable[tuple[np.ndarray, np.ndarray, list[np.ndarray]]],
    space: LatentSpace,
    ids: np.ndarray,
    vectors: np.ndarray,
    labels: np.ndarray,
    category_position: np.ndarray,
    size: int,
    most: int,
) -> tuple[pd.DataFrame, Under]:
    """Attention maps of each cluster's exemplars, and what lies under the attention of all its images.

    batches: image_id int64[B], mask of category ids uint8 B × H × W, the space's layers' activations, of all N images
    in any order. ids, vectors, labels: of the N images. category_position: `evaluation.category_index`.

    Returns rows of heatmaps.parquet, at most `most` a cluster, and what lies under the attention.
    """
    directions = {c: cluster_direction(vectors, labels == c) for c in range(labels.max() + 1)}
    exemplars = {c: set(ids[chosen].tolist()) for c, chosen in choose_exemplars(vectors, labels, most).items()}
    cluster_of = dict(zip(ids.tolist(), labels.tolist(), strict=True))
    n_categories = int(category_position[category_position != IGNORE].max()) + 1
    under = {c: (np.zeros(n_categories), np.zeros(n_categories)) for c in directions}
    rows = []
    for batch_ids, masks, outputs in batches:
        cluster = np.array([cluster_of[i] for i in batch_ids.tolist()])
        for c in np.unique(cluster[cluster >= 0]):
            chosen = cluster == c
            maps = space.write_back(directions[c], [layer[chosen] for layer in outputs], size)
            attention, pixels = by_category(maps, category_position[masks[chosen]], n_categories)
            under[c] = under[c][0] + attention, under[c][1] + pixels
            rows += [
                {"cluster": c, "image_id": i, "score": m.sum(), "attention": m.ravel()}
                for i, m in zip(batch_ids[chosen].tolist(), maps, strict=True)
                if i in exemplars[c]
            ]
    table = pd.DataFrame(rows, columns=["cluster", "image_id", "score", "attention"])
    return table.sort_values(["cluster", "score"], ascending=[True, False]), under


def by_category(maps: np.ndarray, positions: np.ndarray, n_categories: int) -> tuple[np.ndarray, np.ndarray]:
    """The maps' positive part, summed, and the number of pixels, by category position: float64[C] each.

    maps: float N × H × W. positions: uint8 N × H × W (or 255, which counts nowhere).
    """
    known = positions != IGNORE
    attention = np.bincount(positions[known], np.maximum(maps, 0)[known], n_categories)
    return attention, np.bincount(positions[known], minlength=n_categories).astype(float)


def attention_profile(attention: np.ndarray, pixels: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """What lies under a cluster's attention, as profile rows: the share of positive attention on each category.

    attention, pixels: float[C] of the same images; C categories, the first unlabelled. inside: share of attention;
    rest: share of pixels; lift: their ratio.
    """
    share, area = attention / max(attention.sum(), 1e-12), pixels / pixels.sum()
    table = pd.DataFrame({"kind": "attention", "feature": names, "inside": share, "rest": area})
    table["lift"] = table["inside"] / table["rest"]
    return table[pixels > 0].assign(recall=np.nan, low=np.nan, high=np.nan, p_value=np.nan)


@dataclass(frozen=True)
class Support:
    """maps: float64 N × H × W. score: float64[N]. constant: float64[N]; a map's sum and it are the score."""

    maps: np.ndarray
    score: np.ndarray
    constant: np.ndarray


class Supporter:
    """Support maps of a U-Net of `segscope.model`: what in an image makes the model see a class somewhere.

    The score is the class's logit less the mean of all classes', averaged over a region. Its gradient with respect to
    what the decoder is given (the bottleneck and the skip connections), times that, is how much each cell gives to the
    score: gradient × input, Shrikumar et al. 2016 (https://arxiv.org/abs/1605.01713). The decoder's biases are the
    constant.
    """

    def __init__(self, model: keras.Model):
        given = [model.get_layer(name).output for name in (BOTTLENECK, *SKIP_LAYERS)]
        self._encoder = keras.Model(model.input, given)
        self._decoder = keras.Model(given, model.output)
        self.size = model.input_shape[1]

    def given(self, pictures: np.ndarray) -> list[np.ndarray]:
        """What the decoder is given of float32 N × H × W × 3 pictures, RGB 0…255."""
        return self._encoder.predict_on_batch(pictures)

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
        maps = sum(
            spread((layer.numpy() * gradient.numpy()).sum(-1, dtype=np.float64), self.size)
            for layer, gradient in zip(given, gradients, strict=True)
        )
        value = score.numpy().astype(np.float64)
        return Support(maps, value, value - maps.sum((1, 2)))


def most_wrong(
    predictions: pd.DataFrame, class_of_category: np.ndarray, classes: Collection[str], most: int
) -> dict[int, list[int]]:
    """By class, the images with most pixels wrongly predicted as it, at most `most`, the worst first.

    predictions: rows of predictions.parquet. class_of_category: uint8[C]. classes: without background.
    """
    counts = np.stack(predictions["counts"].to_numpy()).reshape(len(predictions), len(classes) + 1, -1)
    ids = predictions["image_id"].to_numpy()
    chosen = {}
    for k in range(1, len(classes) + 1):
        wrong = counts[:, k, class_of_category != k].sum(1)
        order = np.argsort(-wrong, kind="stable")[:most]
        chosen[k] = ids[order[wrong[order] > 0]].tolist()
    return chosen


def explain_errors(
    supporter: Supporter,
    examples: tf.data.Dataset,
    images: Mapping[int, Sequence[int]],
    classes: Sequence[str],
    class_of: np.ndarray,
    category_position: np.ndarray,
    names: Sequence[str],
) -> pd.DataFrame:
    """What supports each class where it is predicted wrongly, as rows of supports.parquet, in the images' order.

    examples: of `read_examples`. images: of `most_wrong`. class_of: of `masks.category_classes`. category_position:
    `evaluation.category_index`. names: of the C categories, the first unlabelled.
    """
    wanted = tf.constant(sorted({i for ids in images.values() for i in ids}), tf.int64)
    chosen = examples.filter(lambda image_id, picture, mask: tf.reduce_any(image_id == wanted))
    rows = {}
    for image_id, picture, mask in chosen.as_numpy_iterator():
        pixels = picture[None].astype(np.float32)
        predicted = supporter.predict(pixels)
        for k, ids in images.items():
            if image_id not in ids:
                continue
            region = wrong_regions(predicted, class_of[mask][None], k)
            found = supporter.support(pixels, k, region)
            attention, _ = by_category(found.maps, category_position[mask][None], len(names))
            rows[k, int(image_id)] = {
                "image_id": image_id,
                "class": classes[k - 1],
                "pixels": region.sum(),
                "score": found.score[0],
                "constant": found.constant[0],
                "region": encode_png(region[0].astype(np.uint8)),
                "support": found.maps[0].ravel(),
                "on": list(most_on(attention, names).items()),
            }
    columns = ["image_id", "class", "pixels", "score", "constant", "region", "support", "on"]
    return pd.DataFrame([rows[k, i] for k, ids in images.items() for i in ids], columns=columns)


def wrong_regions(predicted: np.ndarray, target: np.ndarray, k: int) -> np.ndarray:
    """Pixels predicted as class k that are of another class, bool …; predicted, target: uint8 … (or 255 in target)."""
    return (predicted == k) & (target != k) & (target != IGNORE)


def most_on(attention: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """The three categories with most of a map's positive part, and their shares; attention: float[C]."""
    share = pd.Series(attention / max(attention.sum(), 1e-12), index=names)
    return share.nlargest(3).to_dict()
