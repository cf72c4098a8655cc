"""The README's pictures: of the sample's report, of one of photographs (docs/photographs.py), and of a comparison.

python docs/front_page.py SAMPLE PHOTOGRAPHS OUT --query 'cluster == 2' --image 1 --comparison exports/comparison
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from urllib.parse import quote

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from screenshots import settled

WIDTH, SHOWN = 1440, 1080  # pixels, of the window and of the pictures


def main() -> None:
    from browser import chromium, shown

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("sample", "photographs", "out", "--comparison"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--query", required=True, help="what is selected on the map")
    parser.add_argument("--image", required=True, help="id of the photograph to show")
    options = parser.parse_args()
    pictures: dict[str, tuple[Path, str, int]] = {  # report, address, height of the window; 0: the whole page
        "population": (options.sample, "#overview", 1100),
        "map": (options.sample, f"#explore?query={quote(options.query)}", 900),
        "clusters": (options.sample, "#clusters", 1100),
        "suspects": (options.sample, "#review", 900),
        "sample": (options.photographs, f"#image/{options.image}?layout=side", 900),
    } | ({"compare": (options.comparison, "#metrics", 0)} if options.comparison else {})
    with chromium() as browser:
        for name, (report, address, height) in pictures.items():
            with shown(browser, report, WIDTH, address) as page:
                if height:
                    page.set_viewport_size({"width": WIDTH, "height": height})
                settled(page)
                file = options.out / f"{name}.png"
                page.screenshot(path=file, full_page=not height)
            picture = Image.open(file).convert("RGB")
            picture.resize((SHOWN, SHOWN * picture.height // WIDTH), Image.Resampling.LANCZOS).save(file, optimize=True)
            print(file)


if __name__ == "__main__":
    main()
