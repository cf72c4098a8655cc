"""The pictures of docs/findings.md, of the reports of both variants: maps and charts, no photographs.

python bench/findings_pictures.py CATEGORY_REPORT SUPERCATEGORY_REPORT docs/images
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops, ImageDraw, ImageFont

sys.path += [str(Path(__file__).parents[1] / name) for name in ("tests", "docs")]
SCALE = 0.65
VARIANTS = ("category", "super-category")
COLORS = {"cluster": "clusters", "dominant": "most pixels of"}
HIDE = (
    "for (const tool of document.querySelectorAll('.ex .map .grp, .ex .map summary')) tool.style.visibility = 'hidden'"
)


def shot(element: Any) -> Image.Image:
    return Image.open(io.BytesIO(element.screenshot())).convert("RGB")


def map_by(page: Any, color: str) -> Image.Image:
    """Legend and map, coloured by a column, without the map's empty rim."""
    from screenshots import settled

    page.evaluate(f"location.hash = 'explore?color={color}'")
    settled(page)
    page.evaluate(f"() => {{ {HIDE} }}")
    legend, points = (shot(page.locator(place).first) for place in (".ex .side > div", ".ex .map canvas"))
    edge = points.getpixel((2, 2))
    inside = ImageChops.difference(points, Image.new("RGB", points.size, edge)).getbbox()
    return beside([legend, points.crop(inside)])


def titled(picture: Image.Image, title: str) -> Image.Image:
    whole = Image.new("RGB", (picture.width, picture.height + 40), "white")
    ImageDraw.Draw(whole).text((0, 4), title, fill="black", font=ImageFont.load_default(22))
    whole.paste(picture, (0, 40))
    return whole


def beside(pictures: list[Image.Image], below: bool = False) -> Image.Image:
    """The pictures in a row, or one below the other."""
    size = [max(p.width for p in pictures), max(p.height for p in pictures)]
    size[below] = sum(p.size[below] for p in pictures) + 24 * (len(pictures) - 1)
    whole, at = Image.new("RGB", tuple(size), "white"), 0
    for picture in pictures:
        whole.paste(picture, (0, at) if below else (at, 0))
        at += picture.size[below] + 24
    return whole


def save(picture: Image.Image, path: Path) -> None:
    size = round(picture.width * SCALE), round(picture.height * SCALE)
    picture.resize(size, Image.Resampling.LANCZOS).save(path, "WEBP", quality=80)
    print(f"{path}: {path.stat().st_size} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("category", type=Path)
    parser.add_argument("supercategory", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    from browser import chromium, shown
    from screenshots import settled

    maps = []
    with chromium() as browser:
        for name, report in zip(VARIANTS, (options.category, options.supercategory), strict=True):
            with shown(browser, report, width=1440) as page:
                each = [titled(map_by(page, color), f"{name} model: {words}") for color, words in COLORS.items()]
                maps.append(beside(each, below=True))
                page.evaluate("location.hash = 'performance'")
                settled(page)
                charts = shot(page.locator("#pf-dash"))
    save(beside(maps), options.out / "findings-map.webp")
    save(charts, options.out / "findings-charts.webp")


if __name__ == "__main__":
    main()
