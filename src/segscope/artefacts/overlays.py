"""Pictures for people: class colours over photographs, and attention as heat. Letters: H × W pixels, K classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from segscope.artefacts.images import open_image

# Okabe and Ito's colours, distinguishable with any colour vision; background is not painted.
CLASS_COLORS = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2")
BAND = 1 << 20  # pixels that are blended at a time
_HEAT = np.array([(0, 0, 0), (120, 28, 109), (237, 105, 37), (252, 255, 164)], dtype=float)


def class_color(k: int) -> str:
    """The colour of class k; after seven classes they repeat."""
    return CLASS_COLORS[k] if k < len(CLASS_COLORS) else CLASS_COLORS[1 + (k - 1) % (len(CLASS_COLORS) - 1)]


def thumbnail(path: Path | str, longest: int, exif: str = "ignore") -> Image.Image:
    """The photograph as RGB, its longer side at most `longest` pixels. exif: as of `open_image`."""
    image = open_image(path, exif=exif).convert("RGB")
    image.thumbnail((longest, longest))
    return image


def class_overlay(picture: Image.Image, classes: np.ndarray, strength: float = 0.6) -> Image.Image:
    """Class colours over an RGB picture. classes: uint8, any H × W; scaled to the picture by nearest neighbour."""
    scaled = np.asarray(Image.fromarray(classes).resize(picture.size, Image.Resampling.NEAREST))
    lookup = np.zeros((256, 3))
    for k in range(1, int(scaled.max(initial=0)) + 1):
        lookup[k] = [int(class_color(k)[i : i + 2], 16) for i in (1, 3, 5)]
    lookup[255] = 128
    alpha = np.where(np.arange(256) > 0, strength, 0.0)[:, None, None]
    # The result of each class, level and channel.
    table = (np.arange(256)[:, None] * (1 - alpha) + lookup[:, None] * alpha).astype(np.uint8)
    blended = np.array(picture)
    rows = max(1, BAND // picture.width)
    for top in range(0, picture.height, rows):  # of the whole, the positions in the table would take gigabytes
        band = slice(top, top + rows)
        blended[band] = table[scaled[band, :, None], blended[band], np.arange(3)]
    return Image.fromarray(blended)


def heat_overlay(picture: Image.Image, attention: np.ndarray) -> Image.Image:
    """Positive attention (float H × W) as heat over the darkened picture; the strongest pixel is brightest."""
    positive = np.maximum(attention, 0)
    level = (255 * positive / max(positive.max(), 1e-12)).astype(np.uint8)
    scaled = np.asarray(Image.fromarray(level).resize(picture.size, Image.Resampling.BICUBIC)) / 255
    heat = heat_ramp(scaled)
    alpha = (0.25 + 0.6 * scaled)[..., None]
    return Image.fromarray((np.asarray(picture) * (1 - alpha) + heat * alpha).astype(np.uint8))


def heat_ramp(values: np.ndarray) -> np.ndarray:
    """Colours float … × 3 (0…255) of values 0…1, from black over purple and orange to light yellow."""
    steps = np.linspace(0, 1, len(_HEAT))
    return np.stack([np.interp(values, steps, channel) for channel in _HEAT.T], -1)


def contact_sheet(tiles: Sequence[tuple[Image.Image, str]], columns: int, side: int = 200) -> Image.Image:
    """RGB pictures in rows, each fitted into a square of `side` pixels, its caption below."""
    line = 18
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * (side + 8) + 8, rows * (side + line + 8) + 8), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for i, (picture, caption) in enumerate(tiles):
        left, top = 8 + i % columns * (side + 8), 8 + i // columns * (side + line + 8)
        sheet.paste(ImageOps.pad(picture, (side, side), color="white"), (left, top))
        draw.text((left, top + side + 2), caption, fill="black", font=font)
    return sheet
