"""What a trained model makes of each image of a split, and of its labels. Letters: N images, K classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from segscope import confusions, evaluation, labels
from segscope.images import encode_png
from segscope.params import Predict
from segscope.prediction import predict_batches


@dataclass(frozen=True)
class Judgement:
    """predictions: as predictions.parquet, without split. suspects: as label_issues.parquet, without split, the
    highest score first. reliability: `evaluation.reliability_counts` of each image.
    """

    predictions: pd.DataFrame
    suspects: pd.DataFrame
    reliability: np.ndarray


def judge(
    model: keras.Model,
    examples: tf.data.Dataset,
    samples: pd.DataFrame,
    instances: pd.DataFrame | None,
    categories: pd.DataFrame,
    class_of: np.ndarray,
    names: Sequence[str],
    title: str,
    batch_size: int,
) -> Judgement:
    """Predict, measure and look for suspect labels, image by image, with a progress bar.

    Labels are judged by the mean of what the model makes of an image and of its mirror image, which is steadier; all
    else is of the image itself. examples: of `read_examples`, in any order. samples: the images' rows. instances: of
    these and other images; None to look for no suspects. class_of: the lookup table of `masks.category_classes`.
    """
    class_of_category = evaluation.class_of_positions(class_of, categories)
    position = evaluation.category_index(categories["category_id"])
    shapes = dict(zip(samples["image_id"], zip(samples["height"], samples["width"], strict=True), strict=True))
    annotations = {} if instances is None else labels.annotations_by_image(instances)
    rows, found, reliability = [], {}, []
    batches = predict_batches(model, examples, len(samples), title, batch_size, mirrored=instances is not None)
    for ids, masks, (logits, *mirrored) in batches:
        p = tf.nn.softmax(logits).numpy()
        table = evaluation.image_table(p, position[masks], class_of_category, names)
        pictures = {"mask": p.argmax(-1).astype(np.uint8), "loss_map": evaluation.loss_maps(p, class_of[masks])}
        encoded = {name: [encode_png(each) for each in values] for name, values in pictures.items()}
        rows.append(table.assign(image_id=ids, **encoded))
        reliability.append(evaluation.reliability_counts(p, class_of[masks]))
        if instances is None:
            continue
        steadier = (p + tf.nn.softmax(mirrored[0]).numpy()) / 2
        for i, image_id in enumerate(ids.tolist()):
            own = annotations.get(image_id, [])
            found[image_id] = labels.suspects(steadier[i], masks[i], own, class_of, names, shapes[image_id])
    return Judgement(pd.concat(rows, ignore_index=True), labels.suspect_table(found), np.concatenate(reliability))


def metrics(
    judged: Judgement, categories: pd.DataFrame, class_of: np.ndarray, names: Sequence[str], options: Predict
) -> dict[str, object]:
    """All metrics of one split, with intervals."""
    class_of_category = evaluation.class_of_positions(class_of, categories)
    counts = pixel_counts(judged, names)
    matrix = evaluation.confusion(counts, class_of_category)
    loss = judged.predictions["loss"].to_numpy(float)
    draws = options.bootstrap, options.seed
    return {
        **evaluation.split_metrics(matrix, loss, names, *draws),
        "recall": evaluation.category_recall(counts.sum(0), categories, class_of_category),
        "calibration": evaluation.calibration(judged.reliability, *draws),
    }


def find_confusions(
    judged: Judgement, categories: pd.DataFrame, class_of: np.ndarray, names: Sequence[str], options: Predict
) -> dict[str, dict]:
    """`confusions.findings` of one split."""
    class_of_category = evaluation.class_of_positions(class_of, categories)
    counts, labels_of = pixel_counts(judged, names), list(categories["name"])
    return confusions.findings(counts, class_of_category, labels_of, names, options.bootstrap, options.seed)


def pixel_counts(judged: Judgement, names: Sequence[str]) -> np.ndarray:
    """The images' pixels by predicted class and true category, int N × K × C."""
    stacked = np.stack(judged.predictions["counts"].to_numpy())
    return stacked.reshape(len(stacked), len(names), -1)
