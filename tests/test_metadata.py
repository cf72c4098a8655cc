import numpy as np
import pandas as pd
import pytest
from conftest import CATEGORIES, square
from PIL import Image

from segscope.masks import compose_mask, instances_table
from segscope.metadata import content, photography

RNG = np.random.default_rng(0)
CATEGORY_TABLE = pd.DataFrame(CATEGORIES).rename(columns={"id": "category_id"})


def test_a_uniform_picture():
    values = photography(Image.new("RGB", (20, 10), (255, 0, 0)))
    assert values["brightness"] == 76  # 0.299 · 255
    assert values["contrast"] == 0
    assert values["sharpness"] == 0
    assert values["saturation"] == 1
    assert values["hue_std"] == 0
    assert not values["is_gray"]
    assert values["is_colored"]


def test_hue_and_contrast_of_two_halves():
    picture = Image.new("RGB", (20, 10), (255, 0, 0))
    picture.paste((0, 255, 255), (10, 0, 20, 10))
    values = photography(picture)
    assert values["hue_std"] == pytest.approx(0.25, abs=0.01)  # hues 0 and 1/2, half of the pixels each
    assert values["contrast"] == pytest.approx((179 - 76) / 2, abs=0.5)


def test_sharpness_is_the_variance_of_the_laplacian():
    pixels = RNG.integers(0, 256, (12, 9), dtype=np.uint8)
    padded = np.pad(pixels.astype(float), 1, mode="symmetric")
    laplacian = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * padded[1:-1, 1:-1]
    assert photography(Image.fromarray(pixels))["sharpness"] == pytest.approx(laplacian.var(), rel=1e-4)


@pytest.mark.parametrize(
    ("mode", "is_file", "is_gray"), [("L", True, True), ("gray RGB", False, True), ("RGB", False, False)]
)
def test_gray_by_file_and_by_look(mode, is_file, is_gray):
    picture = Image.fromarray(RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8))
    picture = {"L": picture.convert("L"), "gray RGB": picture.convert("L").convert("RGB"), "RGB": picture}[mode]
    values = photography(picture)
    assert (values["is_grayscale_file"], values["is_colored"], values["is_gray"]) == (
        is_file,
        not is_file,
        is_gray,
    )


def test_a_dark_picture_is_not_gray_for_its_darkness():
    dark = Image.new("RGB", (20, 20), (24, 12, 12))
    assert not photography(dark)["is_gray"]
    assert photography(dark.convert("L").convert("RGB"))["is_gray"]


@pytest.mark.parametrize(("level", "dark"), [(30, True), (49, True), (51, False), (200, False)])
def test_low_light(level, dark):
    assert photography(Image.new("RGB", (8, 8), (level,) * 3))["low_light"] is dark


def test_counts_shares_and_sizes():
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": square(0, 0, 10)},
        {"id": 2, "image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": square(20, 0, 4)},
        {"id": 3, "image_id": 1, "category_id": 1, "iscrowd": 1, "segmentation": square(30, 20, 5)},
        {"id": 4, "image_id": 1, "category_id": 3, "iscrowd": 0, "segmentation": square(0, 10, 8)},
        {"id": 5, "image_id": 1, "category_id": 6, "iscrowd": 0, "segmentation": square(10, 10, 12)},
    ]
    instances = instances_table(annotations, 30, 40)
    values = content(instances, compose_mask(instances, 30, 40), CATEGORY_TABLE)
    total = 30 * 40
    assert (values["count.person"], values["crowd.person"], values["count.super.person"]) == (2, 1, 2)
    assert (values["count.car"], values["count.bus"], values["count.super.vehicle"]) == (1, 1, 2)
    assert values["share.person"] == pytest.approx((100 + 16 + 25) / total)
    assert values["share.super.vehicle"] == pytest.approx((64 + 144) / total)
    assert values["share.background"] == pytest.approx(1 - (141 + 208) / total)
    assert values["size.person"] == pytest.approx(141 / total / 2)
    assert np.isnan(values["size.dog"])
    assert values["average_size"] == pytest.approx((100 + 16 + 64 + 144) / total / 4)
    assert values["smallest_size"] == pytest.approx(16 / total)
    assert (values["n_instances"], values["n_crowds"], values["n_categories"]) == (4, 1, 3)
    assert values["dominant"] == "vehicle"


def test_an_empty_image():
    instances = instances_table([], 30, 40)
    values = content(instances, compose_mask(instances, 30, 40), CATEGORY_TABLE)
    assert values["share.background"] == 1
    assert values["dominant"] == "none"
    assert values["n_categories"] == 0
