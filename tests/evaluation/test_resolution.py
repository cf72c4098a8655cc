from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small import TAXONOMY
from test_evaluate import evaluate

from segscope.artefacts.rle import encode_rle
from segscope.evaluation.objects import annotations_by_image
from segscope.evaluation.predicted import Known, Predicted
from segscope.evaluation.resolution import measured_at
from segscope.params import Params

WIDTH, HEIGHT, SIZE = 60, 40, 8
IMAGES = pd.DataFrame({"image_id": [7], "width": [WIDTH], "height": [HEIGHT]})


def asked(resolution: str, crowd: str) -> Params:
    return Params.model_validate({"predict": {"resolution": resolution}, "masks": {"crowd": crowd}})


def known(resolution: str, crowd: str, annotations: dict) -> Known:
    return Known(TAXONOMY, annotations, measured_at(asked(resolution, crowd), IMAGES, annotations))


def of_photograph() -> tuple[Predicted, dict, np.ndarray]:
    """A person in the photograph's left half, predicted to be in the left quarter; a crowd in the last row."""
    masks = np.zeros((2, HEIGHT, WIDTH), bool)
    masks[0, :, :30], masks[1, -1] = True, True
    instances = pd.DataFrame(
        {
            "image_id": 7,
            "annotation_id": [1, 2],
            "category_id": 1,
            "area": masks.sum((1, 2)),
            "iscrowd": [False, True],
            "height": HEIGHT,
            "width": WIDTH,
            "rle": [encode_rle(mask) for mask in masks],
        }
    )
    p = np.zeros((1, SIZE, SIZE, 3), np.float32)
    p[:, :, :2, 1] = 1
    p[..., 0] = 1 - p[..., 1]
    small = np.zeros((1, SIZE, SIZE), np.uint8)
    small[:, :, :4] = 1
    return Predicted(np.array([7]), small, p), annotations_by_image(instances), masks


def test_at_the_photographs_resolution_its_own_pixels_are_counted():
    batch, annotations, masks = of_photograph()
    found = evaluate([batch], known("image", "ignore", annotations))
    assert found.counts.sum() == HEIGHT * WIDTH - 30  # the crowd is ignored where it shows
    assert found.counts[0, :, 1].sum() == 30 * HEIGHT
    # Interpolated, the edge of the prediction lies where two of eight columns end: at 15 of 60.
    assert found.counts[0, 1].tolist() == [0, 15 * HEIGHT, 0, 0, 0]
    included = evaluate([batch], known("image", "include", annotations))
    assert included.counts.sum((0, 1)).tolist() == [int((~masks.any(0)).sum()), int(masks.any(0).sum()), 0, 0, 0]


def test_at_the_models_resolution_the_pixels_are_its_own():
    batch, annotations, _ = of_photograph()
    plain, fine = (evaluate([batch], known(at, "ignore", annotations)) for at in ("model", "image"))
    assert plain.counts.sum() == SIZE**2
    assert set(plain.table) == set(fine.table)


def test_an_image_without_annotations_is_background():
    batch, _, _ = of_photograph()
    found = evaluate([batch], known("image", "include", {}))
    assert found.counts.sum((0, 1)).tolist() == [HEIGHT * WIDTH, 0, 0, 0, 0]
    assert found.table["loss"].iloc[0] > 0


def test_probabilities_stay_probabilities():
    batch, annotations, _ = of_photograph()
    p = np.random.default_rng(0).dirichlet(np.ones(3), (1, SIZE, SIZE)).astype(np.float32)
    (fine,) = measured_at(asked("image", "include"), IMAGES, annotations)(replace(batch, probabilities=p))
    assert fine.probabilities.shape == (1, HEIGHT, WIDTH, 3)
    assert fine.probabilities.sum(-1) == pytest.approx(np.ones((1, HEIGHT, WIDTH)), abs=1e-5)
