"""The report of a finished run in a real browser: what it shows is what the artefacts hold."""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import violations
from firefox import firefox
from playwright.sync_api import expect
from scipy import stats

VIEWS = ("overview", "explore", "clusters", "objects", "review", "performance", "confusion", "duplicates")


@pytest.fixture(scope="module")
def tables(finished):
    """The run's artefacts, by their names; predictions and what is by image by image_id."""
    names = ("embeddings", "predictions", "insights", "objects", "clusters", "groups", "samples", "neighbors")
    found = {name: pd.read_parquet(finished / "artifacts" / f"{name}.parquet") for name in names}
    found["index"] = pd.read_parquet(finished / "data" / "index.parquet")
    for name in ("predictions", "clusters", "groups", "samples", "index"):
        found[name] = found[name].set_index("image_id")
    return found


def settle(page) -> None:
    """Wait until nothing is being loaded."""
    page.wait_for_timeout(50)
    expect(page.locator("[aria-busy=true]")).to_have_count(0)


def over_groups(values: pd.Series, group: pd.Series) -> float:
    """The mean over groups of their images' means."""
    return float(values.groupby(group.loc[values.index]).mean().mean())


def test_every_view_opens_from_the_rail_and_the_first_says_how_good_the_model_is(finished, open_report):
    measures = pd.read_parquet(finished / "artifacts" / "measures.parquet" / "predict.parquet")
    val = measures[measures["split"] == "val"].set_index("measure")["value"]
    with open_report(finished / "reports") as page:
        for name in ("iou.person", "iou.car", "pixel_accuracy", "loss"):
            assert page.inner_text(f".tile[data-metric='{name}'] .v") == f"{val[name]:.3f}"
            assert page.inner_text(f"#metrics tr[data-metric='{name}'] td >> nth=0") == f"{val[name]:.3f}"
        for view in (*VIEWS[1:], "overview", "confusion", "duplicates"):
            page.click(f"#rail [data-view={view}]")
            page.wait_for_selector(f"#view-{view}")
            assert page.locator("h1").evaluate("h => h === document.activeElement")
            settle(page)
        page.go_back()
        page.wait_for_selector("#view-confusion")
        page.locator(".skip").focus()
        page.keyboard.press("Enter")
        assert page.locator("main").evaluate("main => main === document.activeElement")
        page.wait_for_selector("#view-confusion")
        # All views on paper: what is on the page when the browser is asked to print.
        page.evaluate(
            """() => {
              window.print = () => {
                const titles = [...document.querySelectorAll(".printed h1")].map((title) => title.textContent);
                document.documentElement.dataset.paper = titles.join("|");
              };
            }"""
        )
        page.click("#print-all")
        page.wait_for_selector("html[data-paper]")
        for title, view in zip(page.get_attribute("html", "data-paper").split("|"), VIEWS, strict=True):
            assert title.lower().startswith(view)
        page.wait_for_selector("#view-confusion:not(.printed)")
        page.emulate_media(media="print")
        expect(page.locator("#rail")).to_be_hidden()
        expect(page.locator("#confusion-classes")).to_be_visible()


def test_every_view_is_drawn_in_firefox(finished, tables):
    worst = int(tables["predictions"].query("split == 'val'")["loss"].idxmax())
    with firefox() as browser:
        browser.open(finished / "reports" / "index.html")
        for view in (*VIEWS, f"image/{worst}"):
            drawn = browser.run(
                """const [view] = a;
                location.hash = view;
                const pause = () => new Promise((go) => setTimeout(go, 60));
                const root = () => document.getElementById(`view-${view.split("/")[0]}`);
                do await pause(); while (!root() || root().querySelector("[aria-busy=true]"));
                const painted = (canvas) => {
                  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                  return data.some((value) => value > 0);
                };
                if (view.startsWith("image")) while (root().querySelectorAll(".shot canvas").length < 4) await pause();
                return {
                  title: root().querySelector("h1").innerText || root().querySelector("h1").textContent,
                  failed: [...document.querySelectorAll("[role=alert]")].map((each) => each.textContent),
                  canvases: [...root().querySelectorAll(".mapbox canvas:first-child, .shot canvas")].map(painted),
                  wide: document.documentElement.scrollWidth > innerWidth,
                }""",
                view,
            )
            assert drawn["title"].lower().startswith(view.replace("/", " "))
            assert drawn["failed"] == []
            assert any(drawn["canvases"]) or view not in ("explore", f"image/{worst}"), view
            assert not drawn["wide"], view
        found = browser.run(
            """document.getElementById("find").value = "`count.person` >= 1";
            document.querySelector(".find").requestSubmit();
            while (document.getElementById("bar").hidden) await new Promise((go) => setTimeout(go, 30));
            return document.querySelector("#bar b").innerText"""
        )
        assert found == f"{(tables['samples']['count.person'] >= 1).sum()} images selected"
        assert browser.errors() == []


def test_filters_selection_image_and_link_tell_one_story(finished, tables, open_report):
    val = tables["predictions"].query("split == 'val'")
    nearest = tables["neighbors"].query("rank == 1").set_index("image_id")["neighbor_id"]
    n, group = len(tables["embeddings"]), tables["groups"]["group"]
    with open_report(finished / "reports", fragment="#explore") as page:
        assert page.inner_text("#count") == f"all {n} shown"
        page.click("#split >> text=val")
        expect(page.locator("#count")).to_have_text(f"{len(val)} of {n} shown, the rest faint")
        median = float(np.float32(val["loss"].median()))
        page.fill("[data-column=loss] [data-typed=low]", str(median))
        page.press("[data-column=loss] [data-typed=low]", "Enter")
        high, rest = val[val["loss"] >= median], val[val["loss"] < median]
        expect(page.locator("#count")).to_have_text(f"{len(high)} of {n} shown, the rest faint")
        page.click("#select-shown")
        expect(page.locator("#bar b >> nth=0")).to_have_text(f"{len(high)} images selected")
        settle(page)
        means = page.inner_text("#scores [data-score=loss]").split()
        expected = over_groups(high["loss"], group), over_groups(rest["loss"], group)
        assert [float(mean) for mean in means[:2]] == pytest.approx(expected, abs=0.005)
        # Welch's t over groups, as an independent implementation has it.
        sides = [side["loss"].groupby(group.loc[side.index]).mean() for side in (high, rest)]
        ends = stats.ttest_ind(*sides, equal_var=False).confidence_interval()
        told = page.locator("#scores [data-score=loss] .vh").text_content().replace("−", "-").split()
        if min(map(len, sides)) >= 10:
            assert [float(told[k]) for k in (-3, -1)] == pytest.approx([ends.low, ends.high], abs=0.002)
        assert page.inner_text("#grid-count") == str(len(high))
        worst = int(high["loss"].idxmax())
        page.click("#grid .thumb >> nth=0")
        expect(page.locator("#sample-title")).to_have_text(f"Image {worst}")
        assert page.inner_text("[data-score=loss]") == f"{val['loss'].max():.3f}"
        path, source_id = tables["index"].loc[worst, ["path", "source_id"]]
        assert page.inner_text("#sample-file") == Path(path).name
        assert page.inner_text("#sample-names").split("\n")[1::2][:2] == [path, source_id]
        settle(page)
        for name, value in (("brightness", "brightness"), ("share.background", "share.background")):
            known = tables["samples"][value]
            shown = page.locator(f"#sample-metadata [data-column='{name}']")
            assert float(shown.inner_text()) == pytest.approx(known[worst], rel=0.01)
            below = 100 * (known < known[worst]).mean()
            assert shown.locator(".p").get_attribute("title") == f"more than in {int(below + 1e-9)} % of the images"
        page.wait_for_selector(".shot canvas")
        assert page.locator(".shot").count() == 4
        settle(page)
        shared = page.url.split("#")[1]
        assert page.get_attribute("#similar .thumb >> nth=0", "data-image") == str(nearest[worst])
        page.keyboard.press("ArrowRight")
        second = high["loss"].drop(worst).idxmax()
        expect(page.locator("#sample-title")).to_have_text(f"Image {second}")
        page.go_back()
        expect(page.locator("#sample-title")).to_have_text(f"Image {worst}")
        page.go_back()
        page.wait_for_selector("#view-explore")
        for view in ("clusters", "explore"):
            page.click(f"#rail [data-view={view}]")
            page.wait_for_selector(f"#view-{view}")
        expect(page.locator("#bar b >> nth=0")).to_have_text(f"{len(high)} images selected")
        expect(page.locator("#count")).to_have_text(f"{len(high)} of {n} shown, the rest faint")
    with open_report(finished / "reports", fragment=f"#{shared}") as page:
        expect(page.locator("#sample-title")).to_have_text(f"Image {worst}")
        expect(page.locator("#bar b >> nth=0")).to_have_text(f"{len(high)} images selected")
        page.click("#close-image")
        expect(page.locator("#count")).to_have_text(f"{len(high)} of {n} shown, the rest faint")


def test_a_lasso_selects_and_the_legend_filters(finished, tables, open_report):
    n = len(tables["embeddings"])
    sizes = tables["clusters"]["cluster"].value_counts()
    with open_report(finished / "reports", fragment="#explore") as page:

        def drag(*corners: tuple[float, float], key: str | None = None) -> int:
            drawn, box = page.get_attribute("html", "data-drawn"), page.locator(".mapbox").bounding_box()
            places = [(box["x"] + box["width"] * a, box["y"] + box["height"] * b) for a, b in corners]
            if key:
                page.keyboard.down(key)
            page.mouse.move(*places[0])
            page.mouse.down()
            for place in places[1:]:
                page.mouse.move(*place, steps=8)
            page.mouse.up()
            if key:
                page.keyboard.up(key)
            page.wait_for_selector(f"html:not([data-drawn='{drawn}'])")
            return int(page.inner_text("#bar b >> nth=0").split()[0]) if page.locator("#bar").is_visible() else 0

        left = drag((0.5, 0.01), (0.5, 0.99), (0.12, 0.99), (0.12, 0.4), (0.01, 0.4), (0.01, 0.39), (0.12, 0.01))
        assert 0 < left < n
        assert page.inner_text("#grid-count") == str(left)
        page.click("[data-tool=box]")
        both = drag((0.2, 0.99), (0.99, 0.01), key="Shift")
        assert left < both <= n
        assert drag((0.2, 0.99), (0.99, 0.01), key="Alt") < left + 1
        page.keyboard.press("Escape")
        expect(page.locator("#bar")).to_be_hidden()
        largest = sizes.index[0]
        page.click(f"#legend [data-level='{largest}']")
        expect(page.locator("#count")).to_have_text(f"{sizes.iloc[0]} of {n} shown, the rest faint")
        page.click(f"#legend [data-level='{largest}']")
        expect(page.locator("#count")).to_have_text(f"all {n} shown")
        page.click(f"#legend [data-level='{largest}']", modifiers=["Shift"])
        expect(page.locator("#count")).to_have_text(f"{n - sizes.iloc[0]} of {n} shown, the rest faint")
        for name in ("brightness", "dominant", "is_gray"):
            page.select_option("#color-by", name)
            page.wait_for_timeout(60)
        page.select_option("#size-by", "loss")
        page.select_option("#order", "id")
        first = str(tables["clusters"].query(f"cluster != {largest}").index.min())
        expect(page.locator("#grid .id >> nth=0")).to_have_text(first)


def test_the_keyboard_does_it_all(finished, tables, open_report):
    samples = tables["samples"]
    with open_report(finished / "reports") as page:
        page.keyboard.press("/")
        page.keyboard.type("`count.person` >= 2 and split == 'val'")
        page.keyboard.press("Enter")
        found = ((samples["count.person"] >= 2) & (samples["split"] == "val")).sum()
        page.wait_for_selector("#view-explore")
        expect(page.locator("#bar b >> nth=0")).to_have_text(f"{found} images selected")
        page.locator("#grid .thumb >> nth=0").focus()
        page.keyboard.press("x")
        expect(page.locator("#bar b >> nth=0")).to_have_text(f"{found - 1} images selected")
        page.locator("#grid .thumb >> nth=0").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        page.wait_for_selector("#sample-title")
        page.keyboard.press("3")
        expect(page.locator(".shot")).to_have_count(3)
        page.keyboard.press("s")
        expect(page.locator(".shot")).to_have_count(1)
        page.keyboard.press("2")
        expect(page.locator(".shot[data-layer=predicted]")).to_have_count(1)
        page.keyboard.press("+")
        expect(page.locator(".canvas.zoomed")).to_have_count(1)
        page.keyboard.press("[")
        page.keyboard.press("Escape")
        page.wait_for_selector("#view-explore")
        page.keyboard.press("Escape")
        expect(page.locator("#bar")).to_be_hidden()
        for key, view in (
            ("c", "clusters"),
            ("b", "objects"),
            ("f", "confusion"),
            ("p", "performance"),
            ("o", "overview"),
        ):
            page.keyboard.press("g")
            page.keyboard.press(key)
            page.wait_for_selector(f"#view-{view}")
        page.keyboard.press("?")
        expect(page.locator("#help")).to_be_visible()
        page.keyboard.press("Escape")
        known = samples.drop(columns="split").join(tables["predictions"][["split", "loss", "iou.car"]])
        for query in (
            "`share.person` + `share.car` >= 0.17",
            "not (is_gray or low_light) and 50 < brightness <= 120",
            'dominant in ["person", "vehicle"] and `iou.car` != 1',
            "n_instances * 2 - n_categories / 2 > 6 or loss > 0.5",
            "split == 'train' and is_gray == False",
            r"split == 'tr\x61in'",
            f"brightness >= {known['brightness'].round(3).median():g}",
            f"`share.person` <= {known['share.person'].round(2).median():g}",
        ):
            page.fill("#find", query)
            page.press("#find", "Enter")
            expect(page.locator("#bar b >> nth=0")).to_have_text(f"{len(known.query(query))} images selected")
        page.fill("#find", "loss >")
        page.press("#find", "Enter")
        expect(page.locator(".found-none")).to_have_text("the condition ends too soon")
        page.fill("#find", "nothing_such > 1")
        page.press("#find", "Enter")
        expect(page.locator(".found-none")).to_have_text("there is no column “nothing_such”")
        name = Path(tables["index"].loc[samples.index[5], "path"]).name
        page.fill("#find", name)
        page.press("#find", "Enter")
        expect(page.locator("#sample-title")).to_have_text(f"Image {samples.index[5]}")
        page.fill("#find", "sample/val")
        page.press("#find", "Enter")
        expect(page.locator("#bar b >> nth=0")).to_have_text(f"{(samples['split'] == 'val').sum()} images selected")
        page.fill("#find", str(samples.index[3]))
        page.press("#find", "Enter")
        expect(page.locator("#sample-title")).to_have_text(f"Image {samples.index[3]}")


def test_findings_clusters_and_confusions_select_their_images(finished, tables, open_report):
    insights, clusters = tables["insights"], tables["clusters"]["cluster"]
    confusion = pd.read_json(finished / "artifacts" / "plots" / "confusion.json")
    with open_report(finished / "reports", fragment="#performance") as page:
        settle(page)
        rows = insights[insights["kind"] != "claim"]
        for row in rows.head(2).itertuples():
            page.evaluate("location.hash = 'performance'")
            page.locator("#insights [data-selects]").nth(row.Index).click()
            expect(page.locator("#bar b >> nth=0")).to_have_text(f"{row.images} images selected")
        page.evaluate("location.hash = 'performance'")
        page.keyboard.press("Escape")
        expect(page.locator("#bar")).to_be_hidden()
        page.select_option("#plot-x", "contrast")
        settle(page)
        chart = page.locator(".cell[data-column=contrast][data-score=loss] svg.chart")
        chart.scroll_into_view_if_needed()
        box = chart.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 4)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] + 5, box["y"] + 4, steps=5)
        page.mouse.up()
        page.wait_for_selector("#bar code")
        query = page.inner_text("#bar code")
        chosen = tables["samples"].drop(columns="split").join(tables["predictions"]["split"]).query(query)
        expect(page.locator("#bar b >> nth=0")).to_have_text(f"{len(chosen)} images selected")
        page.evaluate("location.hash = 'clusters'")
        settle(page)
        own = clusters[clusters >= 0].value_counts()
        cluster = int(page.get_attribute("tr[data-cluster] >> nth=0", "data-cluster"))
        assert page.inner_text("tr[data-cluster] .link >> nth=0") == str(own[cluster])
        for descending in (False, True):
            page.click("#cl-table th button >> text=Images")
            sizes = [int(text) for text in page.locator("#cl-table tr[data-cluster] [data-selects]").all_inner_texts()]
            assert sizes == sorted(sizes, reverse=descending)
        page.click(".seg [data-value=photo]")
        expect(page.locator("#cl-detail canvas")).to_have_count(0)
        page.click(f"[data-select-cluster='{cluster}']")
        expect(page.locator("#bar b >> nth=0")).to_have_text(f"{own[cluster]} images selected")
        page.evaluate("location.hash = 'confusion'")
        settle(page)
        cell = page.locator("#confusion-classes [data-cell='background|person']")
        share = confusion.query("actual == 'person' and predicted == 'background'")["share"].item()
        assert cell.inner_text() == f"{100 * share:.1f}"
        cell.click()
        page.wait_for_selector("#view-explore")
        assert "most pixels of person predicted as background" in page.inner_text("#bar")


def test_objects_are_counted_and_listed(finished, tables, open_report):
    objects = tables["objects"].query("split == 'val' and not crowd")
    own = objects[(objects["class"] == "person") & (objects["size"] == "small")]
    with open_report(finished / "reports", fragment="#objects") as page:
        settle(page)
        row = "#found tr[data-class=person][data-size=small]"
        assert page.inner_text(f"{row} td >> nth=2") == f"{own['found'].sum()} of {own['found'].notna().sum()}"
        page.click(f"{row} button")
        for outcome in ("missed", "found", "extra"):
            page.select_option("#object-outcome", outcome)
            of = own["found"].isna() if outcome == "extra" else own["found"].eq(outcome == "found")
            expect(page.locator("#objects-count")).to_contain_text(f"{of.sum()} {outcome}")
            expect(page.locator("#objects-shown .thumb")).to_have_count(int(min(of.sum(), 24)))


def test_a_selection_and_a_chart_are_saved(finished, tables, open_report):
    samples = tables["samples"]
    chosen = samples[(samples["split"] == "val") & (samples["count.person"] >= 1)]
    with open_report(
        finished / "reports", fragment="#explore?query=split%20==%20'val'%20and%20`count.person`>=1"
    ) as page:
        expect(page.locator("#bar b >> nth=0")).to_have_text(f"{len(chosen)} images selected")

        def saved(selector: str) -> str:
            with page.expect_download() as download:
                page.click(selector)
            return Path(download.value.path()).read_bytes()

        page.click("#bar summary")
        assert sorted(map(int, saved("[data-export=ids]").split())) == sorted(chosen.index)
        table = list(csv.DictReader(io.StringIO(saved("[data-export=csv]").decode())))
        losses = {int(row["image_id"]): float(row["loss"]) for row in table}
        assert losses == pytest.approx(tables["predictions"].loc[chosen.index, "loss"].to_dict(), rel=1e-6)
        query = saved("[data-export=query]").decode().strip()
        assert list(samples.query(query).index) == list(chosen.index)
        page.evaluate("location.hash = 'overview'")
        settle(page)
        page.click("#ov-made .saves summary >> nth=0")
        history = list(csv.reader(io.StringIO(saved("#ov-made [data-save=csv] >> nth=0").decode())))
        training = pd.read_json(finished / "artifacts" / "training" / "history.json")
        assert [float(row[1]) for row in history[1:]] == pytest.approx(training["val_loss"].tolist())
        page.click("#ov-made .saves summary >> nth=0")
        page.click("#ov-made [data-save=data] >> nth=0")
        rows = page.locator("#chart-data tbody tr")
        expect(rows).to_have_count(len(training))
        last = rows.last.locator("td").nth(1).inner_text()
        assert float(last) == pytest.approx(training["val_loss"].iloc[-1], rel=0.01)
        assert not violations(page)
        page.keyboard.press("Escape")
        expect(page.locator("#chart-data")).to_have_count(0)
        page.click("#ov-made .saves summary >> nth=0")
        assert saved("#ov-made [data-save=svg] >> nth=0").startswith(b"<svg")
        page.click("#ov-made .saves summary >> nth=0")
        assert saved("#ov-made [data-save=png] >> nth=0").startswith(b"\x89PNG")


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
def test_every_view_is_accessible_and_fits(finished, open_report, width, theme):
    """No violation of WCAG 2.2 AA that axe-core finds."""
    found = {}
    with open_report(finished / "reports", width=width, theme=theme, fragment="#explore?query=loss>0.2") as page:
        ids = page.evaluate("location.hash") and page.get_attribute("#grid .thumb >> nth=0", "data-image")
        for view in (*VIEWS, f"image/{ids}"):
            page.evaluate(f"location.hash = '{view}'")
            page.wait_for_selector(f"#view-{view.split('/')[0]}")
            settle(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, view
            broken = violations(page)
            if broken:
                found[view] = broken
    assert not found, "\n".join(f"{view}: {each}" for view, list_ in found.items() for each in list_)
