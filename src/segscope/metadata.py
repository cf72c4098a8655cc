"""What is known of an image without a model: photography, sizes, counts and shares.

Shares and sizes are fractions of the image's pixels; brightness, contrast in units of 0…255.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import laplace

LOW_LIGHT_BRIGHTNESS = 50.0
GRAY_CHROMA = 20.0
GRAY_CHROMA_SHARE = 0.2


def photography(image: Image.Image) -> dict[str, float | bool]:
    """Light and colour of an image.

    brightness: mean of the luma (ITU-R 601). contrast: its standard deviation. sharpness: variance of its
    Laplacian. saturation: mean of HSV's S, 0…1. hue_std: standard deviation of HSV's H, 0…1.
    is_grayscale_file: the file has one colour channel. is_colored: it has several. is_gray: 95 % of the pixels
    show no colour (largest minus smallest channel at most 20, and at most a fifth of the brightness, lest every
    dark picture be gray), whatever the file. low_light: brightness below 50.
    """
    rgb = image.convert("RGB")
    luma = np.asarray(rgb.convert("L"), dtype=np.float32)
    hsv = np.asarray(rgb.convert("HSV"), dtype=np.float32) / 255
    pixels = np.asarray(rgb)
    chroma = pixels.max(-1).astype(np.int16) - pixels.min(-1)
    visible_chroma = min(GRAY_CHROMA, GRAY_CHROMA_SHARE * luma.mean())
    single = len(image.getbands()) == 1 and image.mode != "P"
    return {
        "brightness": float(luma.mean()),
        "contrast": float(luma.std()),
        "sharpness": float(laplace(luma).var()),
        "saturation": float(hsv[..., 1].mean()),
        "hue_std": float(hsv[..., 0].std()),
        "is_grayscale_file": single,
        "is_colored": not single,
        "is_gray": bool(np.percentile(chroma, 95) <= visible_chroma),
        "low_light": bool(luma.mean() < LOW_LIGHT_BRIGHTNESS),
    }


def content(instances: pd.DataFrame, mask: np.ndarray, categories: pd.DataFrame) -> dict[str, object]:
    """What an image shows, by its annotations.

    Per category and super-category: `count.` instances without crowds, `crowd.` crowd regions, `share.` of pixels
    in `mask` (uint8 H × W of category ids), `size.` share / count (NaN where the count is 0).
    n_instances, n_crowds, n_categories: totals. average_size, smallest_size: of the instances without crowds.
    share.background: pixels of no category. dominant: the super-category with the most pixels, or `none`.
    """
    values: dict[str, object] = {}
    ids = categories["category_id"].to_numpy()
    crowd = instances["iscrowd"].to_numpy(bool)
    category_of = instances["category_id"].to_numpy(int)
    per_category = {
        "count": np.bincount(category_of[~crowd], minlength=256)[ids],
        "crowd": np.bincount(category_of[crowd], minlength=256)[ids],
        "share": np.bincount(mask.ravel(), minlength=256)[ids] / mask.size,
    }
    names, supers = categories["name"].to_numpy(), categories["supercategory"].to_numpy()
    unique = list(dict.fromkeys(supers))
    member = np.array([[s == u for s in supers] for u in unique])
    for prefix, each in per_category.items():
        values |= {f"{prefix}.{n}": v for n, v in zip(names, each.tolist(), strict=True)}
        values |= {f"{prefix}.super.{u}": v for u, v in zip(unique, (member @ each).tolist(), strict=True)}
    for name in [*names, *(f"super.{u}" for u in unique)]:
        count = values[f"count.{name}"]
        values[f"size.{name}"] = values[f"share.{name}"] / count if count else np.nan
    areas = instances.loc[~crowd, "area"].to_numpy() / mask.size
    shares = member @ per_category["share"]
    return values | {
        "n_instances": int((~crowd).sum()),
        "n_crowds": int(crowd.sum()),
        "n_categories": len(np.unique(category_of)),
        "average_size": float(areas.mean()) if len(areas) else np.nan,
        "smallest_size": float(areas.min()) if len(areas) else np.nan,
        "share.background": float((mask == 0).mean()),
        "dominant": unique[int(shares.argmax())] if shares.any() else "none",
    }
