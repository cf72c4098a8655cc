"""The report of many images in headless Chromium: seconds until it can be used, its weight, and a selection's cost.

python bench/bench_report.py FOLDER [IMAGES ...]   # the folder of a finished run, whose images are repeated; 5000 40000

Views are left out: they are loaded a few at a time, whatever their number.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import sync_playwright

from segscope.report import page as report_page
from segscope.report.findings import Findings, read_findings
from segscope.run import Run

SIZES = (5_000, 40_000)
REPEATS = 3
SELECTED = 1000
TIMED_SELECTION = "(rows) => { const start = performance.now(); select(rows); return performance.now() - start; }"
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))


def repeated(findings: Findings, n: int) -> Findings:
    """The findings with their images repeated, under new ids and at places of their own, to be n."""
    times = -(-n // len(findings.embeddings))
    step = int(findings.index["image_id"].abs().max()) + 1
    draw = np.random.default_rng(0)

    def tile(table: pd.DataFrame) -> pd.DataFrame:
        parts = [table.assign(image_id=table["image_id"] + step * i) for i in range(times)]
        return pd.concat(parts, ignore_index=True)

    embeddings = tile(findings.embeddings).head(n)
    embeddings[["x", "y"]] += draw.normal(0, 0.3, (n, 2))
    neighbors = tile(findings.neighbors)
    neighbors["neighbor_id"] += neighbors["image_id"] // step * step
    return replace(
        findings,
        embeddings=embeddings,
        neighbors=neighbors[neighbors["neighbor_id"].isin(embeddings["image_id"])],
        scores=pd.concat([findings.scores] * times, ignore_index=True),
        heavy=np.tile(findings.heavy, times),
        **{name: tile(getattr(findings, name)) for name in ("samples", "index", "predictions", "clusters")},
    )


def main() -> None:
    os.chdir(sys.argv[1])  # the index's paths are relative to it
    findings = read_findings(Run())
    report_page.write_views = lambda *_: None
    from browser import ARGUMENTS, CHROMIUM

    for n in [int(argument) for argument in sys.argv[2:]] or SIZES:
        with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
            out = Path(scratch) / "report"
            report_page.write_report(repeated(findings, n), out)
            page_size = sum(file.stat().st_size for file in out.iterdir() if file.is_file())
            seconds, selecting = [], []
            for _ in range(REPEATS):
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                page.goto(f"{out.as_uri()}/index.html")
                page.wait_for_selector("html[data-ready]", timeout=120_000)
                seconds.append(page.evaluate("performance.now()") / 1000)
                rows = np.random.default_rng(0).choice(n, SELECTED, replace=False).tolist()
                for _ in range(5):
                    selecting.append(page.evaluate(TIMED_SELECTION, rows))
                browser.close()
            usable = f"usable after {np.median(seconds):.1f} s (at most {max(seconds):.1f})"
            print(f"{n} images: {usable}, page {page_size / 1e6:.1f} MB")
            first, later = np.median(selecting[::5]), np.median(selecting)
            print(f"  {SELECTED} points selected: panel updated in {later:.0f} ms, the first time {first:.0f} ms")


if __name__ == "__main__":
    main()
