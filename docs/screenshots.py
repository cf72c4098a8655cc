"""Pictures of every view of a report, or of a comparison, in both themes, wide and narrow.

python docs/screenshots.py reports docs/images/report      # VIEW-WIDTH-THEME.png
python docs/screenshots.py reports out --views overview clusters --widths 1440 --themes light
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
VIEWS = ("overview", "explore", "clusters", "objects", "review", "performance", "confusion", "duplicates", "image")
# A thumbnail is loaded when it comes near the screen: go through the page once.
SCROLL = """async () => {
  for (let y = 0; y < document.body.scrollHeight; y += 500) {
    scrollTo(0, y);
    await new Promise((done) => setTimeout(done, 60));
  }
  scrollTo(0, 0);
}"""


def hardest(report: Path) -> str:
    """Where the image of the highest loss is, if the report is one of a run."""
    from browser import chromium, shown

    with chromium() as browser, shown(browser, report) as page:
        first = page.locator("#ov-first [data-image] >> nth=0")
        return f"image/{first.get_attribute('data-image')}"


def views_of(report: Path, names: list[str]) -> dict[str, str]:
    """Each picture's name and what the address has for it."""
    if (report / "data" / "compare.js").is_file():
        return {"comparison": "metrics"}
    return {name: hardest(report) if name == "image" else name for name in names}


def settled(page: Any) -> None:
    """Wait until all that the page shows is there."""
    page.wait_for_selector("html[data-ready]")
    page.evaluate(SCROLL)
    page.wait_for_selector("main:not(:has([aria-busy=true]))")
    page.wait_for_timeout(300)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=VIEWS)
    parser.add_argument("--widths", nargs="+", type=int, default=[1440, 390])
    parser.add_argument("--themes", nargs="+", choices=("light", "dark"), default=["light", "dark"])
    options = parser.parse_args()
    from browser import chromium, shown

    options.out.mkdir(parents=True, exist_ok=True)
    views = views_of(options.report, options.views)
    with chromium() as browser:
        for width in options.widths:
            for theme in options.themes:
                with shown(browser, options.report, width=width, theme=theme) as page:
                    for name, place in views.items():
                        page.evaluate(f"location.hash = {json.dumps(place)}")
                        settled(page)
                        file = options.out / f"{name}-{width}-{theme}.png"
                        page.screenshot(path=file, full_page=True)
                        print(file)


if __name__ == "__main__":
    main()
