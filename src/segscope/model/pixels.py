"""Some pixels of a dataset with the network's features of all depths, and linear heads of them.

Letters: N images, P pixels of each, D features.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pandas as pd

from segscope.evaluation.bootstrap import SEED
from segscope.evaluation.merges import Heads, Pixels
from segscope.model.inference import Split, predict_batches
from segscope.model.layers import hypercolumn
from segscope.model.unet import activations
from segscope.taxonomy import Taxonomy

IMAGES = 2048  # of a split, at most
PIXELS = 32768  # of a split, at most
PER_IMAGE = 64  # at most


def pixel_heads(model: keras.Model, folder: Path, samples: pd.DataFrame, group: pd.Series, taxonomy: Taxonomy) -> Heads:
    """Heads of train's pixels, measured on val's; group: by image_id. Only a sample of either split is ever held.

    folder: of the TFRecord files. samples: image_id and split of all their images.
    """
    probe = activations(model, hypercolumn(model))
    ids = samples.groupby("split")["image_id"]
    train, val = (
        sample_pixels(probe, folder, name, ids.get_group(name).to_numpy(), taxonomy) for name in ("train", "val")
    )
    return Heads(train, val, group[val.image_id].to_numpy())


def sample_pixels(probe: keras.Model, folder: Path, name: str, image_ids: np.ndarray, taxonomy: Taxonomy) -> Pixels:
    """Pixels of some of a split's images, both drawn at random, with the activations that lie over them.

    probe: as of `activations`. image_ids: int64[N], of the split.
    """
    draw = np.random.default_rng(SEED)
    chosen = np.sort(draw.permutation(image_ids)[:IMAGES])
    split = Split(folder, name, len(chosen), chosen)
    each, size = min(PER_IMAGE, PIXELS // len(chosen)), probe.input_shape[1]
    features, positions, ids = [], [], []
    for found, masks, (*layers, _) in predict_batches(probe, split.examples(size), split.n, f"pixels {name}"):
        y, x = draw.integers(0, size, (2, len(found), each))
        i = np.arange(len(found))[:, None]
        over = [values[i, y * values.shape[1] // size, x * values.shape[2] // size] for values in layers]
        features.append(np.concatenate(over, -1))
        positions.append(taxonomy.position_of_id[masks[i, y, x]])
        ids.append(found)
    return Pixels(np.concatenate(features), np.concatenate(positions), np.concatenate(ids))
