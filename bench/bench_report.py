"""The report of many images in headless Chromium: seconds until it can be used, its weight, and what a selection costs.

python bench/bench_report.py FOLDER [IMAGES ...]   # of a finished run, whose images are repeated; 20000 100000

Pictures are left out: they are loaded a few at a time, whatever their number.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from results import record

from segscope.report import page as report_page
from segscope.report.findings import Findings, read_findings
from segscope.run import Run

SIZES = (20_000, 100_000)
REPEATS = 3
SELECTIONS = 5
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
    samples = tile(findings.samples)
    floats = samples.select_dtypes("floating").columns
    noise = draw.uniform(0.9, 1.1, (len(samples), len(floats)))  # or they would take no room, as what repeats does not
    samples[floats] = (samples[floats] * noise).astype(samples[floats].dtypes)
    groups = pd.Series(embeddings["image_id"].to_numpy(), index=embeddings["image_id"])
    return replace(
        findings,
        embeddings=embeddings,
        neighbors=neighbors[neighbors["neighbor_id"].isin(embeddings["image_id"])],
        scores=pd.concat([findings.scores] * times, ignore_index=True),
        heavy=np.tile(findings.heavy, times),
        groups=groups,
        samples=samples,
        **{name: tile(getattr(findings, name)) for name in ("index", "predictions", "clusters")},
    )


def timed(page: Any, act: str) -> float:
    """Milliseconds from a change to the second frame after what it draws is drawn. act: a script's statement."""
    return page.evaluate(
        f"""() => new Promise((done) => {{
          const start = performance.now();
          {act};
          requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
        }})"""
    )


def opened(page: Any, button: str) -> float:
    """Milliseconds from a click on what opens an image to what is known of it standing there."""
    return page.evaluate(
        """(button) => new Promise((done) => {
          const start = performance.now();
          document.querySelector(button).click();
          const look = () => document.querySelector("#sample-metadata:not([aria-busy]) dl.meta")
            ? done(performance.now() - start) : requestAnimationFrame(look);
          requestAnimationFrame(() => requestAnimationFrame(look));
        })""",
        button,
    )


def main() -> None:
    os.chdir(sys.argv[1])  # the index's paths are relative to it
    findings = read_findings(Run())
    report_page.write_pictures = lambda *_: None
    from browser import chromium, shown

    found: dict[str, dict[str, float]] = {}
    for n in [int(argument) for argument in sys.argv[2:]] or SIZES:
        with tempfile.TemporaryDirectory() as scratch, chromium() as browser:
            out = Path(scratch) / "report"
            report_page.write_report(repeated(findings, n), out)
            index, data = (out / "index.html").stat().st_size, sum(f.stat().st_size for f in out.rglob("data/**/*.js"))
            print(f"{n} images: index.html {index / 1e3:.1f} kB, data {data / 1e6:.1f} MB")
            seconds: dict[str, list[float]] = {"overview": [], "explore": []}
            selecting, opening = [], []
            for _ in range(REPEATS):
                for view, taken in seconds.items():
                    missing = "ERR_FILE_NOT_FOUND"  # the pictures
                    with shown(browser, out, fragment=f"#{view}", allowed=missing) as page:
                        taken.append(page.evaluate("performance.now()") / 1000)
                        if view == "overview":
                            continue
                        clusters = page.locator("#legend [data-level]").evaluate_all(
                            "(all) => all.map((e) => e.dataset.level)"
                        )
                        page.fill("#find", "loss > 0.15")
                        for k in range(SELECTIONS):
                            query = f"cluster == {clusters[k % len(clusters)]}"
                            page.fill("#find", query)
                            selecting.append(timed(page, "document.querySelector('.find').requestSubmit()"))
                            page.wait_for_selector("#unusual:not([aria-busy])")
                        opening.append(opened(page, "#grid .thumb"))
                        opening += [opened(page, "[aria-label='Next image']") for _ in range(SELECTIONS - 1)]
            found[str(n)] = {
                "usable_s": round(float(np.median(seconds["explore"])), 2),
                "selected_ms": round(float(np.median(selecting))),
            }
            for view, taken in seconds.items():
                print(f"  {view}: usable after {np.median(taken):.1f} s (at most {max(taken):.1f})")
            print(f"  an image opened: told in {np.median(opening):.0f} ms (at most {max(opening):.0f})")
            print(f"  a cluster selected: drawn in {np.median(selecting):.0f} ms (at most {max(selecting):.0f})")
    record("report", found)


if __name__ == "__main__":
    main()
