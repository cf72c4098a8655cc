import numpy as np
import pandas as pd
import pytest
from conftest import CATEGORIES, instances_of, square
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy.signal import convolve2d

from segscope.labels.masks import compose_mask
from segscope.labels.metadata import content, photography

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
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    expected = convolve2d(pixels.astype(float), kernel, mode="valid").var()
    assert photography(Image.fromarray(pixels))["sharpness"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (2, 50), (50, 2)])
def test_a_picture_without_inside_has_no_sharpness(size):
    assert photography(Image.new("RGB", size, (9, 9, 9)))["sharpness"] == 0


@settings(max_examples=50)
@given(arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))))
def test_light_and_colour_are_moments_of_pillows_channels(pixels):
    picture = Image.fromarray(pixels)
    values = photography(picture)
    luma, hsv = np.asarray(picture.convert("L")), np.asarray(picture.convert("HSV")) / 255
    assert values["brightness"] == pytest.approx(luma.mean())
    assert values["contrast"] == pytest.approx(luma.std(), abs=1e-9)
    assert values["saturation"] == pytest.approx(hsv[..., 1].mean())
    assert values["hue_std"] == pytest.approx(hsv[..., 0].std(), abs=1e-9)


@pytest.mark.parametrize(
    ("mode", "single"), [("1", True), ("L", True), ("LA", True), ("P", False), ("RGB", False), ("CMYK", False)]
)
def test_a_grayscale_file_has_one_channel(mode, single):
    assert photography(Image.new("RGB", (4, 4), (9, 90, 9)).convert(mode))["is_grayscale_file"] is single


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


def content_of(*images: list[dict]) -> pd.DataFrame:
    """`content` of images of 40 × 30 pixels, ids 1, 2, …"""
    tables = [instances_of(rows, 30, 40).assign(image_id=i) for i, rows in enumerate(images, start=1)]
    pixels = np.stack([np.bincount(compose_mask(t, 30, 40).ravel(), minlength=256) for t in tables])
    shown = pd.DataFrame({"image_id": range(1, len(images) + 1), "width": 40, "height": 30})
    return content(shown, pd.concat([t for t in tables if len(t)]), pixels, CATEGORY_TABLE)


TRAFFIC = [
    {"id": 1, "category_id": 1, "iscrowd": 0, "segmentation": square(0, 0, 10)},
    {"id": 2, "category_id": 1, "iscrowd": 0, "segmentation": square(20, 0, 4)},
    {"id": 3, "category_id": 1, "iscrowd": 1, "segmentation": square(30, 20, 5)},
    {"id": 4, "category_id": 3, "iscrowd": 0, "segmentation": square(0, 10, 8)},
    {"id": 5, "category_id": 6, "iscrowd": 0, "segmentation": square(10, 10, 12)},
]


def test_counts_shares_and_sizes():
    _, values, _ = content_of([], TRAFFIC, TRAFFIC[:1]).to_dict("records")
    total = 30 * 40
    assert (values["count.person"], values["crowd.person"], values["count.super.person"]) == (2, 1, 2)
    assert (values["count.car"], values["count.bus"], values["count.super.vehicle"]) == (1, 1, 2)
    assert (values["crowd.super.person"], values["crowd.super.vehicle"]) == (1, 0)
    assert values["share.person"] == pytest.approx((100 + 16 + 25) / total)
    assert values["share.super.vehicle"] == pytest.approx((64 + 144) / total)
    assert values["share.background"] == pytest.approx(1 - (141 + 208) / total)
    assert values["size.person"] == pytest.approx(141 / total / 2)
    assert values["size.super.vehicle"] == pytest.approx((64 + 144) / total / 2)
    assert np.isnan(values["size.dog"])
    assert values["average_size"] == pytest.approx((100 + 16 + 64 + 144) / total / 4)
    assert values["smallest_size"] == pytest.approx(16 / total)
    assert (values["n_instances"], values["n_crowds"], values["n_categories"]) == (4, 1, 3)
    assert values["dominant"] == "vehicle"


def test_an_empty_image_among_others():
    values, other = content_of([], TRAFFIC[:1]).to_dict("records")
    assert values["share.background"] == 1
    assert values["dominant"] == "none"
    assert (values["n_instances"], values["n_crowds"], values["n_categories"]) == (0, 0, 0)
    assert np.isnan(values["average_size"])
    assert np.isnan(values["smallest_size"])
    assert other["dominant"] == "person"


def test_an_image_of_a_crowd_alone_has_no_size():
    (values,) = content_of([TRAFFIC[2]]).to_dict("records")
    assert (values["n_instances"], values["n_crowds"], values["n_categories"]) == (0, 1, 1)
    assert np.isnan(values["size.person"])
    assert np.isnan(values["average_size"])
    assert values["share.person"] == pytest.approx(25 / 1200)


@settings(max_examples=50)
@given(st.lists(st.lists(st.sampled_from(TRAFFIC), unique_by=lambda a: a["id"]), min_size=1, max_size=5).filter(any))
def test_shares_are_of_the_whole_and_groups_are_sums(images):
    rows = content_of(*images)
    names, groups = CATEGORY_TABLE["name"], CATEGORY_TABLE["supercategory"].unique()
    assert np.allclose(rows[[f"share.{n}" for n in ("background", *names)]].sum(axis=1), 1)
    for prefix in ("count", "crowd", "share"):
        assert np.allclose(
            rows[[f"{prefix}.{n}" for n in names]].sum(axis=1),
            rows[[f"{prefix}.super.{g}" for g in groups]].sum(axis=1),
        )
    assert rows["n_instances"].tolist() == [sum(not a["iscrowd"] for a in image) for image in images]
