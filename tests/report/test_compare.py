from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from browser import open_report
from PIL import Image

from segscope.artefacts.images import encode_png
from segscope.artefacts.measures import Measure, Measures, measure_table
from segscope.artefacts.schemas import predictions_schema, samples_schema
from segscope.errors import SegscopeError
from segscope.report.compare import RunOf, as_markdown, compare_runs, read_run
from segscope.report.compare_page import write_comparison
from segscope.run import Run
from segscope.taxonomy import Taxonomy

CATEGORIES = pd.DataFrame(
    {"category_id": [1, 3, 6], "name": ["person", "car", "bus"], "supercategory": ["person", "vehicle", "vehicle"]}
)
CATEGORY = {"person": ["person"], "car": ["car"]}
VEHICLE = {"person": ["person"], "vehicle": ["vehicle"]}
MEASURES = measure_table([Measure("separability", 0.9, split="val"), Measure("clusters", 4)])


def run(name: str, classes: dict[str, list[str]], counts: list, loss: list[float], ids: list[int]) -> RunOf:
    """Counts are pixels by predicted class and true category (unlabelled, person, car, bus) of each image."""
    predictions = pd.DataFrame({"image_id": ids, "split": "val", "loss": loss})
    predictions["counts"] = list(np.array(counts).reshape(len(ids), -1))
    predictions["mask"] = [encode_png(np.ones((4, 4), np.uint8))] * len(ids)
    points = pd.DataFrame({"image_id": ids, "x": 0.0, "y": np.arange(len(ids)) * 1.0, "cluster": 0})
    groups = pd.Series(ids, index=ids)
    return RunOf(name, name, Taxonomy(CATEGORIES, classes), predictions, groups, points, {}, Measures(MEASURES))


@pytest.fixture
def pair():
    """B takes buses for vehicles, and is better at each of 40 images by a loss of 0.1 but at the last."""
    n = 40
    person = [[50, 2, 0, 0], [0, 8, 0, 0]]
    category = run("a<b>", CATEGORY, [[*person, [0, 0, 6, 2]]] * n, [0.5] * n, list(range(n)))
    loss = [0.4] * (n - 1) + [0.9]
    vehicle = run("b", VEHICLE, [[*person, [4, 0, 6, 8]]] * n, loss, list(range(n)))
    return category, vehicle


def test_differences_by_hand(pair):
    found = compare_runs(*pair)
    table = found.metrics.set_index("metric")
    loss = table.loc["loss"]
    assert loss["difference"] == pytest.approx((39 * 0.4 + 0.9) / 40 - 0.5)
    assert loss["low"] < loss["difference"] < loss["high"]
    assert table.loc["iou.person", ["a", "b", "difference"]].tolist() == [0.8, 0.8, 0]
    assert table.loc["iou.person", ["low", "high"]].tolist() == [0, 0]
    assert table.loc["recall.car", ["a", "b"]].tolist() == [1, 1]
    assert table.loc["recall.bus", ["a", "b"]].tolist() == [1, 1]
    assert "iou.car" not in table.index  # the other variant has no such class
    assert table.loc["separability", ["a", "b", "difference"]].tolist() == [0.9, 0.9, 0]
    assert np.isnan(table.loc["separability", "low"])
    assert found.images["image_id"].iloc[-1] == 39
    assert found.images["change"].iloc[0] == pytest.approx(-0.1)
    assert found.note is None


def test_the_interval_is_paired():
    """Losses vary widely, their differences do not: the interval is that of the differences."""
    rng = np.random.default_rng(0)
    loss = rng.gamma(2.0, size=200)
    counts = [[[50, 2, 0, 0], [0, 8, 0, 0], [0, 0, 1, 0]]] * 200
    ids = list(range(200))
    change = rng.normal(0.05, 0.1, 200)
    found = compare_runs(run("a", CATEGORY, counts, loss, ids), run("b", CATEGORY, counts, loss + change, ids))
    row = found.metrics.set_index("metric").loc["loss"]
    error = change.std() / np.sqrt(200)
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_near_copies_are_drawn_together():
    """Ten copies of each image: the interval is that of the images, not three times as narrow."""
    rng = np.random.default_rng(0)
    loss, change = rng.gamma(2.0, size=40), rng.normal(0.05, 0.1, 40)
    counts = [[[50, 2, 0, 0], [0, 8, 0, 0], [0, 0, 1, 0]]]
    widths = []
    for copies in (1, 10):
        ids = list(range(40 * copies))
        a = run("a", CATEGORY, counts * 40 * copies, np.repeat(loss, copies), ids)
        a = replace(a, groups=pd.Series(np.repeat(np.arange(40), copies), index=ids))
        b = run("b", CATEGORY, counts * 40 * copies, np.repeat(loss + change, copies), ids)
        row = compare_runs(a, b).metrics.set_index("metric").loc["loss"]
        widths.append(row["high"] - row["low"])
    assert widths[1] == pytest.approx(widths[0])


def test_what_few_images_carry_has_no_interval(pair):
    table = compare_runs(*pair).metrics.set_index("metric")
    assert np.isfinite(table.loc["iou.person", "low"])
    a, b = (replace(each, groups=pd.Series(0, index=each.groups.index)) for each in pair)
    table = compare_runs(a, b).metrics.set_index("metric")
    assert table.loc["iou.person", "a"] == 0.8
    assert table[["low", "high"]].isna().all(axis=None)


def test_other_images_are_said_and_left_out(pair):
    a, _ = pair
    other = run("c", CATEGORY, [[[50, 2, 0, 0], [0, 8, 0, 0], [0, 0, 6, 2]]] * 2, [1, 1], [0, 99])
    found = compare_runs(a, other)
    assert found.images["image_id"].tolist() == [0]
    assert found.note == "The runs were judged on different val images (40 and 2); compared are the 1 they share."
    nothing = run("d", {"person": ["person"]}, [[[50, 2, 0, 0], [0, 8, 0, 0]]], [1], [500])
    with pytest.raises(SegscopeError, match="no val image in common"):
        compare_runs(a, nothing)


def test_markdown_escapes_and_marks_nothing_as_changed(pair):
    text = as_markdown(*pair, compare_runs(*pair))
    assert text.startswith("| val | a&lt;b> | b | difference |\n| --- | --- | --- | --- |\n")
    assert "| iou.person | 0.800 | 0.800 | +0.000 (+0.000 to +0.000) |" in text
    assert "| separability | 0.900 | 0.900 | +0.000 |" in text
    assert "**" not in text
    assert text.endswith("Of two single trainings: another seed of the same configuration moves these figures, too.\n")


def test_markdown_has_no_number_where_one_run_knows_none(pair):
    a, b = pair
    rows = b.measures.table
    b = replace(b, measures=Measures(rows[rows["measure"] != "separability"]))
    assert "| separability | 0.900 | – | – |" in as_markdown(a, b, compare_runs(a, b))


def test_the_page_links_the_two_maps(pair, tmp_path):
    for run_of in pair:
        for i in range(40):
            Image.new("RGB", (40, 30), (6 * i, 0, 0)).save(tmp_path / f"{i}.png")
            run_of.paths[i] = str(tmp_path / f"{i}.png")
    write_comparison(*pair, compare_runs(*pair), tmp_path / "page")
    page_text = (tmp_path / "page" / "index.html").read_text()
    assert "a<b>" not in page_text
    with open_report(tmp_path / "page") as page:
        assert page.inner_text("h1") == "a<b> and b"
        assert page.locator("#improved .triple").count() == 12
        assert page.locator("#worse .triple").count() == 1
        assert page.locator("#worse figcaption").inner_text() == "39 · loss 0.500 → 0.900"
        page.locator("#map-a").scroll_into_view_if_needed()
        box = page.locator("#map-a .nsewdrag").bounding_box()
        page.mouse.move(box["x"] + 2, box["y"] + 2)
        page.mouse.down()
        for a, b in ((1, 0), (1, 0.5), (0, 0.5), (0, 0.02)):
            page.mouse.move(box["x"] + 2 + (box["width"] - 4) * a, box["y"] + 2 + (box["height"] - 4) * b, steps=8)
        page.mouse.up()
        page.wait_for_function("document.getElementById('selected').textContent.endsWith('images are selected')")
        chosen = [page.evaluate(f"document.getElementById('map-{m}').data[0].selectedpoints") for m in "ab"]
        assert chosen[0] == chosen[1]
        assert 0 < len(chosen[0]) < 40


def test_a_run_is_read_from_its_revision(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text("variant: supercategory\nembed: {dimensions: 2}\n")
    own = Run(folder=tmp_path)
    ids = [5, 7]
    own.write("categories", CATEGORIES.assign(source_id=CATEGORIES["category_id"]))
    tables = {
        "index": {"source_id": ids, "split": "val", "path": ["a.jpg", "b.jpg"], "width": 4, "height": 3, "sha256": "0"},
        "groups": {"group": [5, 5]},
        "embeddings": {"split": "val", "latent": [[0, 1], [2, 3]], "x": [0, 1], "y": [2, 3]},
        "clusters": {"cluster": [0, -1], "probability": 1},
        "samples": dict.fromkeys(samples_schema(own.categories).names, 0)
        | {"split": "val", "dominant": ["person", "vehicle"]}
        | dict.fromkeys(("is_grayscale_file", "is_colored", "is_gray", "low_light"), False),
        "predictions": dict.fromkeys(predictions_schema(own.taxonomy).names, 0.5)
        | {"split": "val", "mask": b"", "loss_map": b"", "counts": [[0] * 12] * 2},
    }
    for name, columns in tables.items():
        table = pd.DataFrame(columns | {"image_id": ids})
        own.write(name, table[::-1] if name == "clusters" else table)
    for stage in ("predict", "embed", "cluster"):
        own.write_measures(stage, measure_table([Measure(f"of.{stage}", 1)]))
    monkeypatch.chdir(tmp_path)
    found = read_run("workspace")
    assert (found.name, found.variant, list(found.taxonomy.classes)) == ("workspace", "supercategory", list(VEHICLE))
    assert found.points.to_dict("list") == {
        "image_id": ids,
        "x": [0, 1],
        "y": [2, 3],
        "cluster": [0, -1],
    }
    assert found.paths == {5: "a.jpg", 7: "b.jpg"}
    assert found.groups.to_dict() == {5: 5, 7: 5}
    assert found.predictions["loss"].tolist() == [0.5, 0.5]
    assert [found.measures.value(f"of.{stage}") for stage in ("predict", "embed", "cluster")] == [1, 1, 1]
