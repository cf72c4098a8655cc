"""The report of a finished run in a real browser."""

import pandas as pd
import pytest
from browser import open_report

MAP = "document.getElementById('chart-map')"


def test_the_report_in_a_browser_shows_what_the_artefacts_hold(finished):
    artefacts = finished / "artifacts"
    embeddings = pd.read_parquet(artefacts / "embeddings.parquet")
    predictions = pd.read_parquet(artefacts / "predictions.parquet").set_index("image_id")
    insights = pd.read_parquet(artefacts / "insights.parquet")
    nearest = pd.read_parquet(artefacts / "neighbors.parquet").query("rank == 1").set_index("image_id")["neighbor_id"]
    count = f"{MAP}.data.reduce((sum, trace) => sum + trace.x.length, 0)"
    with open_report(finished / "reports") as page:
        for section in ("overview", "map", "clusters", "objects", "suspects", "performance", "confusion"):
            page.click(f'nav a[href="#{section}"]')
            assert page.locator(f"#{section} h2").is_visible()
        assert page.evaluate(count) == len(embeddings)
        page.select_option("#filter-split", "val")
        val = predictions[predictions["split"] == "val"]
        assert page.evaluate(count) == len(val)
        page.select_option("#color-by", "loss")
        page.fill("#filter-low", str(val["loss"].median()))
        page.press("#filter-low", "Enter")
        page.click("#select-shown")
        shown = val["loss"].map(lambda loss: float(f"{loss:.4g}"))  # as the page holds it
        high = val[shown >= val["loss"].median()]
        assert page.inner_text("#selection h3").startswith(f"{len(high)} images selected")
        row = page.inner_text("#selection tr:has-text('loss')").split()
        assert float(row[2]) == pytest.approx(high["loss"].mean(), rel=0.01)
        assert float(row[4]) == pytest.approx(val["loss"].drop(high.index).mean(), rel=0.01)
        page.click("#selection .view >> nth=0")
        worst = int(page.inner_text("#sample-title").split()[1])
        assert shown[worst] == shown.max()
        page.wait_for_selector("#sample-view .over")
        shared = page.url
        page.click("#sample-neighbors .view >> nth=0")
        page.wait_for_function(f"document.getElementById('sample-title').textContent === 'Image {nearest[worst]}'")
        page.keyboard.press("Escape")
        page.locator("#insights .link >> nth=0").click()
        assert page.inner_text("#selection h3").startswith(f"{insights['images'].iloc[0]} images selected")
        page.select_option("#plot-y", "loss")
        page.select_option("#plot-x", "brightness")
        points = page.evaluate("document.getElementById('chart-performance').data[0].x.length")
        assert points == len(val)
    with open_report(finished / "reports", fragment=f"#{shared.split('#')[1]}") as page:
        page.wait_for_selector("#sample[open]")
        assert page.inner_text("#sample-title") == f"Image {worst}"
        assert page.input_value("#color-by") == "loss"


def test_a_row_of_what_is_found_lists_the_objects_of_it(finished):
    objects = pd.read_parquet(finished / "artifacts" / "objects.parquet").query("split == 'val' and not crowd")
    own = objects[(objects["class"] == "person") & (objects["size"] == "small")]
    with open_report(finished / "reports") as page:
        row = "#found tr[data-class=person][data-size=small]"
        assert page.inner_text(f"{row} td >> nth=1") == f"{own['found'].sum()} of {own['found'].notna().sum()}"
        page.click(f"{row} button")
        for outcome in ("missed", "found", "extra"):
            page.select_option("#object-outcome", outcome)
            of = own["found"].isna() if outcome == "extra" else own["found"].eq(outcome == "found")
            assert page.inner_text("#objects-count").startswith(f"{of.sum()} {outcome}")
            assert page.locator("#objects-shown .view").count() == min(of.sum(), 24)


def test_a_lasso_on_the_map_selects_images(finished):
    with open_report(finished / "reports", fragment="#map") as page:
        page.locator("#chart-map").scroll_into_view_if_needed()
        box = page.locator("#chart-map .nsewdrag").bounding_box()
        corners = [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0.02)]
        places = [(box["x"] + 2 + (box["width"] - 4) * a, box["y"] + 2 + (box["height"] - 4) * b) for a, b in corners]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=8)
        page.mouse.up()
        page.wait_for_selector("#selection table")
        chosen = int(page.inner_text("#selection h3").split()[0])
        assert chosen == page.evaluate(f"{MAP}.data.reduce((sum, t) => sum + (t.selectedpoints ?? []).length, 0)") > 0


def test_the_report_fits_a_narrow_screen(finished):
    with open_report(finished / "reports", width=390) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
