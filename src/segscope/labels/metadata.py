"""What is known of images without a model: photography, sizes, counts and shares.

Shares and sizes are fractions of the image's pixels; brightness and contrast are in units of 0…255.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from PIL import Image, ImageChops

from segscope.artefacts.images import to_rgb
from segscope.artefacts.schemas import USER
from segscope.taxonomy import IGNORE

LOW_LIGHT_BRIGHTNESS = 50.0
GRAY_CHROMA = 20.0
GRAY_CHROMA_SHARE = 0.2
PHOTOGRAPHY = {
    "brightness": float,
    "contrast": float,
    "sharpness": float,
    "saturation": float,
    "hue_std": float,
    "is_grayscale_file": bool,
    "is_colored": bool,
    "is_gray": bool,
    "low_light": bool,
}
_NAMES = {
    "is_grayscale_file": "a file of one channel",
    "is_gray": "no colour",
    "low_light": "low light",
    "hue_std": "spread of hue",
    "n_instances": "number of instances",
    "n_crowds": "number of crowd regions",
    "n_categories": "number of categories",
    "average_size": "average instance size",
    "smallest_size": "smallest instance size",
    "dominant": "most pixels of",
    "heavy": "heavy in one class",
    "pixel_accuracy": "pixel accuracy",
}
_PREFIXES = {
    "count": "number of {} instances",
    "crowd": "number of {} crowd regions",
    "share": "share of {} pixels",
    "size": "average {} size",
}
COLOUR_SIDE = 160  # pixels, at least: colour is measured on a picture that is shrunk to no less than this


def photography(image: Image.Image) -> dict[str, float | bool]:
    """Light and colour of an image.

    brightness: mean of the luma (ITU-R 601). contrast: its standard deviation. sharpness: variance of its
    Laplacian inside the frame. saturation: mean of HSV's S, 0…1. hue_std: standard deviation of HSV's H, 0…1.
    is_grayscale_file: the file has one colour channel. is_colored: it has several. is_gray: 95 % of the pixels
    show no colour (largest minus smallest channel at most 20, and at most a fifth of the brightness, lest every
    dark picture be gray), whatever the file. low_light: brightness below 50. saturation, hue_std and is_gray are
    of the picture shrunk by a whole factor: JPEG stores colour at half the resolution, and grain is not colour.
    """
    rgb = to_rgb(image)
    luma = rgb.convert("L")
    brightness, contrast = _moments(luma.histogram())
    small = rgb.reduce(max(1, min(rgb.size) // COLOUR_SIDE))
    hue, saturation, _ = np.reshape(small.convert("HSV").histogram(), (3, 256))
    chroma = np.cumsum(_chroma(small).histogram())
    visible_chroma = min(GRAY_CHROMA, GRAY_CHROMA_SHARE * brightness)
    single = image.mode not in ("P", "PA") and len(set(image.getbands()) - {"A", "a"}) == 1
    return {
        "brightness": brightness,
        "contrast": contrast,
        "sharpness": _sharpness(luma),
        "saturation": _moments(saturation)[0] / 255,
        "hue_std": _moments(hue)[1] / 255,
        "is_grayscale_file": single,
        "is_colored": not single,
        "is_gray": bool(chroma[int(visible_chroma)] >= 0.95 * chroma[-1]),
        "low_light": brightness < LOW_LIGHT_BRIGHTNESS,
    }


def _moments(histogram: np.ndarray | list[int]) -> tuple[float, float]:
    """Mean and standard deviation of the 256 levels of a histogram."""
    counts, levels = np.asarray(histogram, np.float64), np.arange(256.0)
    mean = counts @ levels / counts.sum()
    return float(mean), float(np.sqrt(counts @ (levels - mean) ** 2 / counts.sum()))


def _chroma(rgb: Image.Image) -> Image.Image:
    """Largest minus smallest channel, in 8 bits."""
    r, g, b = rgb.split()
    largest = ImageChops.lighter(ImageChops.lighter(r, g), b)
    return ImageChops.subtract(largest, ImageChops.darker(ImageChops.darker(r, g), b))


def _sharpness(luma: Image.Image) -> float:
    """Variance of the Laplacian; 0 where the picture has no inside."""
    y = np.asarray(luma).astype(np.int16)
    if min(y.shape) < 3:
        return 0.0
    laplacian = y[:-2, 1:-1] + y[2:, 1:-1]
    laplacian += y[1:-1, :-2]
    laplacian += y[1:-1, 2:]
    laplacian -= 4 * y[1:-1, 1:-1]
    values = laplacian.ravel().astype(np.float32)
    values -= values.mean()
    return float(values @ values / values.size)


def content(
    images: pd.DataFrame, instances: pd.DataFrame, pixels: np.ndarray, categories: pd.DataFrame
) -> pd.DataFrame:
    """What N images show, by their annotations: one row an image, in the order of `images`.

    images: image_id, width, height. instances: image_id, category_id, iscrowd, area (pixels). pixels: N × 256,
    each value's pixels in the image's mask (`visible_pixels`).

    Per category and super-category: `count.` instances without crowds, `crowd.` crowd regions, `share.` of pixels,
    `size.` share / count (NaN where the count is 0). n_instances, n_crowds, n_categories: totals. average_size,
    smallest_size: of the instances without crowds. share.background: pixels of no category. dominant: the
    super-category with the most pixels, or `none`.
    """
    n, ids = len(images), categories["category_id"].to_numpy()
    total = images["width"].to_numpy(np.int64) * images["height"].to_numpy(np.int64)
    row = pd.Index(images["image_id"]).get_indexer(instances["image_id"])
    crowd = instances["iscrowd"].to_numpy(bool)
    cell = row * 256 + instances["category_id"].to_numpy(np.int64)

    def tally(which: np.ndarray) -> np.ndarray:
        return np.bincount(cell[which], minlength=n * 256).reshape(n, 256)[:, ids]

    names, supers = categories["name"].tolist(), list(dict.fromkeys(categories["supercategory"]))
    member = categories["supercategory"].to_numpy()[:, None] == np.array(supers)
    groups = [*names, *(f"super.{s}" for s in supers)]
    counts, crowds, shares = (
        np.hstack([each, each @ member]) for each in (tally(~crowd), tally(crowd), pixels[:, ids] / total[:, None])
    )
    sizes = np.where(counts > 0, shares / np.maximum(counts, 1), np.nan)
    columns = {
        f"{prefix}.{group}": values[:, i]
        for prefix, values in (("count", counts), ("crowd", crowds), ("share", shares), ("size", sizes))
        for i, group in enumerate(groups)
    }
    kinds = len(names)
    sized = ~crowd & (instances["category_id"] != IGNORE).to_numpy()
    areas = pd.Series(instances["area"].to_numpy()[sized] / total[row[sized]]).groupby(row[sized])
    dominant = np.array(supers, object)[shares[:, kinds:].argmax(1)]
    return pd.DataFrame(
        columns
        | {
            "n_instances": counts[:, :kinds].sum(1),
            "n_crowds": crowds[:, :kinds].sum(1),
            "n_categories": ((counts + crowds)[:, :kinds] > 0).sum(1),
            "average_size": areas.mean().reindex(range(n)).to_numpy(),
            "smallest_size": areas.min().reindex(range(n)).to_numpy(),
            "share.background": pixels[:, 0] / total,
            "dominant": np.where(shares.any(1), dominant, "none"),
        }
    )


def describe(column: str) -> str:
    """A column of samples.parquet, or one derived from it, in words."""
    if column.startswith(USER):
        return column.removeprefix(USER)
    prefix, _, group = column.partition(".")
    if prefix not in _PREFIXES:
        return _NAMES.get(column, column)
    name = f"{group.removeprefix('super.')} (all kinds)" if group.startswith("super.") else group
    return _PREFIXES[prefix].format(name)


def numbers(column: pd.Series) -> pd.Series:
    """A column of dates as days since 1970, float64; any other column as it is."""
    if not pd.api.types.is_datetime64_any_dtype(column):
        return column
    return (column - pd.Timestamp(0)) / pd.Timedelta(days=1)
