"""The curves of docs/speed.md, and its table, from what bench/scale.py measured.

python docs/curves.py    # docs/images/scale.svg; prints the table
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))
DRAW = "spec => vegaEmbed(document.body, spec, {actions: false}).then(result => result.view.toSVG())"


def spec(rows: list[dict]) -> dict:
    """Vega-Lite's description: seconds and memory against the number of images, both axes logarithmic."""
    x = {
        "field": "images",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False},
        "axis": {"values": sorted({row["images"] for row in rows}), "format": ","},
    }
    colour = {"field": "stage", "type": "nominal", "sort": None, "title": None}
    panels = [
        {
            "width": 300,
            "height": 260,
            "mark": {"type": "line", "point": True},
            "encoding": {
                "x": x,
                "y": {"field": field, "type": "quantitative", "title": title, "scale": {"type": "log"}},
                "color": colour,
            },
        }
        for field, title in (("seconds", "seconds"), ("mib", "peak memory, MiB"))
    ]
    return {"data": {"values": rows}, "hconcat": panels, "background": "white"}


def table(figures: dict[str, dict]) -> str:
    """Seconds and peak MiB of each stage, a column a number of images."""
    sizes = sorted(figures, key=int)
    lines = ["| stage | " + " | ".join(f"{int(n):,} images" for n in sizes) + " |", "| --- |" + " --- |" * len(sizes)]
    stages = [name for name in figures[sizes[0]] if name != "sizes"]
    lines += [
        f"| {stage} | "
        + " | ".join(f"{figures[n][stage]['seconds']:,.0f} s, {figures[n][stage]['mib']:,} MiB" for n in sizes)
        + " |"
        for stage in stages
    ]
    return "\n".join(lines)


def main() -> None:
    from browser import chromium

    figures = json.loads((ROOT / "bench" / "results.json").read_text())["scale"]["figures"]
    rows = [
        {"images": int(n), "stage": stage, **found}
        for n, stages in figures.items()
        for stage, found in stages.items()
        if stage not in ("sizes", "bare")
    ]
    with chromium() as browser:
        page = browser.new_page()
        page.set_content((ROOT / ".dvc" / "plots_page.html").read_text())
        svg = page.evaluate(DRAW, spec(rows))
    (ROOT / "docs" / "images" / "scale.svg").write_text(svg + "\n")
    print(table(figures))


if __name__ == "__main__":
    main()
