"""Eight pictures with masks, as the masks stage writes them, and a small model to train on them."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
from PIL import Image

from segscope.artefacts.images import encode_png
from segscope.artefacts.records import example, open_shard, shard_name
from segscope.model.training import Training, prepare_training
from segscope.model.unet import BOTTLENECK, NARROW_LAYERS, SKIP_LAYERS, draw_kernels
from segscope.params import Train
from segscope.taxonomy import Taxonomy

CATEGORIES = pd.DataFrame({"category_id": [1, 3], "name": ["person", "car"], "supercategory": ["person", "vehicle"]})
TAXONOMY = Taxonomy(CATEGORIES, {"person": ["person"], "car": ["car"]})
NAMES = TAXONOMY.class_names
SIZE = 16


def write_examples(
    folder: Path,
    images: np.ndarray,
    masks: np.ndarray,
    split: str = "train",
    first: int = 0,
    number: int = 0,
    of: int = 1,
) -> list[str]:
    """Write images, uint8 N × H × W × 3, and masks of category ids, uint8 N × H × W; returns the file.

    first: the first image's id. number, of: of the file.
    """
    with open_shard(folder, split, number, of) as writer:
        for i, (image, mask) in enumerate(zip(images, masks, strict=True), first):
            encoded = {"image": encode_png(Image.fromarray(image)), "mask": encode_png(mask)}
            writer.write(example({"image_id": i, **encoded}))
    return [str(folder / shard_name(split, number, of))]


def write_pictures(folder: Path, size: int = SIZE) -> list[str]:
    """Of each, the left half is category 1 and red, the right half category 3 and blue or nothing."""
    masks = np.zeros((8, size, size), np.uint8)
    masks[:, :, : size // 2] = 1
    masks[1::2, : size // 2, size // 2 :] = 3
    masks[:, -1] = 255
    images = np.zeros((*masks.shape, 3), np.uint8)
    shade = np.broadcast_to(250 - np.arange(8)[:, None, None], masks.shape)
    images[..., 0] = np.where(masks == 1, shade, 0)
    images[..., 2] = np.where(masks == 3, shade, 0)
    return write_examples(folder, images, masks)


def training_of(files: list[str], val: list[str] | None = None, size: int = SIZE, **options) -> Training:
    """A training on the files, measured on them or on others, without class weights."""
    chosen = Train(**({"batch_size": 4, "class_weights": "none", "patience": 100} | options))
    return prepare_training({"train": files, "val": val or files}, size, TAXONOMY, chosen)


def tiny_model() -> keras.Model:
    image = keras.Input((SIZE, SIZE, 3), name="image")
    scaled = keras.layers.Rescaling(1 / 255, name="scale")(image)
    return keras.Model(image, keras.layers.Conv2D(3, 1, name="logits")(scaled), name="tiny")


def tiny_encoder(kind: str, weights: Path | None, image_size: int, enlarge: int = 1) -> keras.Model:
    """In place of `build_encoder`'s: a convolution for each size, of the names that decoders begin with."""
    image = keras.Input((image_size, image_size, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="preprocess")(image)
    x = keras.layers.UpSampling2D(enlarge, name="enlarge")(x)
    for narrow, skip in zip(reversed(NARROW_LAYERS), reversed(SKIP_LAYERS), strict=True):
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name=narrow)(x)
        x = keras.layers.ReLU(name=skip)(x)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name=BOTTLENECK)(x)
    encoder = keras.Model(image, x, name="encoder")
    draw_kernels(encoder.variables, 0)
    return encoder
