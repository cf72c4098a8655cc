import numpy as np
import pandas as pd
import pytest
from browser import open_report
from PIL import Image

from segscope.errors import SegscopeError
from segscope.images import encode_png
from segscope.versus import RunOf, as_markdown, cluster_purity, compare_runs
from segscope.versus_page import write_comparison

CATEGORIES = pd.DataFrame(
    {"category_id": [1, 3, 6], "name": ["person", "car", "bus"], "supercategory": ["person", "vehicle", "vehicle"]}
)
METRICS = {"embed": {"all": {"separability": 0.9}}, "predict": {}, "cluster": {"clusters": 4}}


def run(name: str, classes: dict[str, list[int]], counts: list, loss: list[float], ids: list[int]) -> RunOf:
    """Counts are pixels by predicted class and true category (unlabelled, person, car, bus) of each image."""
    class_of = np.zeros(4, np.uint8)
    for k, held in enumerate(classes.values(), start=1):
        class_of[held] = k
    predictions = pd.DataFrame({"image_id": ids, "split": "val", "loss": loss})
    predictions["counts"] = list(np.array(counts).reshape(len(ids), -1))
    predictions["mask"] = [encode_png(np.ones((4, 4), np.uint8))] * len(ids)
    points = pd.DataFrame({"image_id": ids, "x": 0.0, "y": np.arange(len(ids)) * 1.0, "cluster": 0})
    points["dominant"] = "person"
    return RunOf(name, name, list(classes), CATEGORIES, class_of, predictions, points, {}, METRICS)


@pytest.fixture
def pair():
    """B takes buses for vehicles, and is better at each of 20 images by a loss of 0.1 but at the last."""
    n = 20
    person = [[50, 2, 0, 0], [0, 8, 0, 0]]
    category = run("a<b>", {"person": [1], "car": [2]}, [[*person, [0, 0, 6, 2]]] * n, [0.5] * n, list(range(n)))
    loss = [0.4] * (n - 1) + [0.9]
    vehicle = run("b", {"person": [1], "vehicle": [2, 3]}, [[*person, [4, 0, 6, 8]]] * n, loss, list(range(n)))
    return category, vehicle


def test_differences_by_hand(pair):
    found = compare_runs(*pair)
    table = found.metrics.set_index("metric")
    loss = table.loc["loss"]
    assert loss["difference"] == pytest.approx((19 * 0.4 + 0.9) / 20 - 0.5)
    assert loss["low"] < loss["difference"] < loss["high"]
    assert table.loc["iou.person", ["a", "b", "difference"]].tolist() == [0.8, 0.8, 0]
    assert table.loc["iou.person", ["low", "high"]].tolist() == [0, 0]
    assert table.loc["recall.car", ["a", "b"]].tolist() == [1, 1]
    assert table.loc["recall.bus", ["a", "b"]].tolist() == [1, 1]
    assert "iou.car" not in table.index  # the other variant has no such class
    assert table.loc["separability", ["a", "b", "difference"]].tolist() == [0.9, 0.9, 0]
    assert np.isnan(table.loc["separability", "low"])
    assert found.images["image_id"].iloc[-1] == 19
    assert found.images["change"].iloc[0] == pytest.approx(-0.1)
    assert found.note is None


def test_the_interval_is_paired():
    """Losses vary widely, their differences do not: the interval is that of the differences."""
    rng = np.random.default_rng(0)
    loss = rng.gamma(2.0, size=200)
    counts = [[[50, 2, 0, 0], [0, 8, 0, 0], [0, 0, 1, 0]]] * 200
    classes, ids = {"person": [1], "car": [2]}, list(range(200))
    change = rng.normal(0.05, 0.1, 200)
    found = compare_runs(run("a", classes, counts, loss, ids), run("b", classes, counts, loss + change, ids))
    row = found.metrics.set_index("metric").loc["loss"]
    error = change.std() / np.sqrt(200)
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_other_images_are_said_and_left_out(pair):
    a, _ = pair
    other = run("c", {"person": [1], "car": [2]}, [[[50, 2, 0, 0], [0, 8, 0, 0], [0, 0, 6, 2]]] * 2, [1, 1], [0, 99])
    found = compare_runs(a, other)
    assert found.images["image_id"].tolist() == [0]
    assert found.note == "The runs were judged on different val images (20 and 2); compared are the 1 they share."
    nothing = run("d", {"person": [1]}, [[[50, 2, 0, 0], [0, 8, 0, 0]]], [1], [500])
    with pytest.raises(SegscopeError, match="no val image in common"):
        compare_runs(a, nothing)


def test_markdown_escapes_and_marks_what_changed(pair):
    text = as_markdown(*pair, compare_runs(*pair))
    assert text.startswith("| val | a&lt;b> | b | difference |\n| --- | --- | --- | --- |\n")
    assert "| iou.person | 0.800 | 0.800 | +0.000 (+0.000 to +0.000) |" in text
    assert "| separability | 0.900 | 0.900 | +0.000 |" in text


def test_the_page_links_the_two_maps(pair, tmp_path):
    for run_of in pair:
        for i in range(20):
            Image.new("RGB", (40, 30), (10 * i, 0, 0)).save(tmp_path / f"{i}.png")
            run_of.paths[i] = str(tmp_path / f"{i}.png")
    write_comparison(*pair, compare_runs(*pair), tmp_path / "page")
    page_text = (tmp_path / "page" / "index.html").read_text()
    assert "a<b>" not in page_text
    with open_report(tmp_path / "page") as page:
        assert page.inner_text("h1") == "a<b> and b"
        assert page.locator("#improved .triple").count() == 12
        assert page.locator("#worse .triple").count() == 1
        assert page.locator("#worse figcaption").inner_text() == "19 · loss 0.500 → 0.900"
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
        assert 0 < len(chosen[0]) < 20


def test_cluster_purity_by_hand():
    points = pd.DataFrame({"cluster": [0, 0, 0, 1, 1, -1], "dominant": ["a", "a", "b", "b", "b", "a"]})
    assert cluster_purity(points) == (2 + 2) / 5
    assert np.isnan(cluster_purity(points.assign(cluster=-1)))
