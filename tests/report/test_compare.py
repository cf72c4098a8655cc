from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import violations
from conftest import instances_of
from PIL import Image
from playwright.sync_api import expect
from scipy import stats

from segscope.artefacts.files import sha256_of
from segscope.artefacts.images import encode_png
from segscope.artefacts.measures import Measure, Measures, measure_table
from segscope.artefacts.schemas import predictions_schema, samples_schema
from segscope.errors import SegscopeError
from segscope.report.compare import Comparison, RunOf, Side, as_markdown, compare_sides, side_of, spread
from segscope.report.compare_page import write_comparison
from segscope.report.gate import condition, judge
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
    columns = {"loss": loss, "boundary": [[1, 2] * len(classes)] * len(ids), "errors": [[1] * 10] * len(ids)}
    predictions = pd.DataFrame(columns, index=pd.Index(ids, name="image_id"))
    predictions["counts"] = list(np.array(counts).reshape(len(ids), -1))
    predictions["mask"] = [encode_png(np.ones((4, 4), np.uint8))] * len(ids)
    index = pd.DataFrame(
        {"image_id": ids, "source_id": "", "path": "", "exif": "ignore", "sha256": [f"of {i}" for i in ids]}
    )
    points = pd.DataFrame({"image_id": ids, "x": 0.0, "y": np.arange(len(ids)) * 1.0, "cluster": 0})
    groups = pd.Series(ids, index=ids)
    taxonomy = Taxonomy(CATEGORIES, classes)
    # A person over the left half of each.
    instances = instances_of([{"id": 7, "category_id": 1, "segmentation": [[0, 0, 20, 0, 20, 30, 0, 30]]}], 30, 40)
    instances = pd.concat([instances.assign(image_id=i) for i in ids], ignore_index=True)
    measures = Measures(MEASURES)
    return RunOf(
        name, name, taxonomy, index, predictions, {}, groups, points, measures, "model 8", instances, "include"
    )


def compare(*sides: RunOf | list[RunOf]) -> Comparison:
    a, b = (Side(side if isinstance(side, list) else [side]) for side in sides)
    return compare_sides(a, b)


PERSON = [[50, 2, 0, 0], [0, 8, 0, 0]]


def categories(name: str, loss: list[float]) -> RunOf:
    return run(name, CATEGORY, [[*PERSON, [0, 0, 6, 2]]] * len(loss), loss, list(range(len(loss))))


@pytest.fixture
def pair():
    """Both find all cars and buses in 40 images, but B none in the last; B paints 4 pixels too many."""
    n = 40
    vehicle = run(
        "b",
        VEHICLE,
        [[[46, 2, 0, 0], [0, 8, 0, 0], [4, 0, 6, 2]]] * (n - 1) + [[[46, 2, 6, 2], [0, 8, 0, 0], [4, 0, 0, 0]]],
        [0.4] * n,
        list(range(n)),
    )
    category = run("a<b>", CATEGORY, [[*PERSON, [0, 0, 6, 2]]] * n, [0.5] * n, list(range(n)))
    return category, vehicle


def test_images_that_are_labelled_otherwise_are_left_out():
    """In B the first image's car was corrected to a bus: whatever is predicted there, it is no change of the model."""
    n = 12
    corrected = [[[*PERSON, [0, 0, 2, 6]]], *[[[*PERSON, [0, 0, 6, 2]]]] * (n - 1)]
    a, b = categories("a", [0.5] * n), run("b", CATEGORY, corrected, [9.0] + [0.4] * (n - 1), list(range(n)))
    found = compare(a, b)
    assert (found.matched, found.relabelled) == ((n, n, n - 1), 1)
    assert 0 not in found.images["image_id"].tolist()
    assert found.metrics.set_index("metric").loc["loss", "difference"] == pytest.approx(-0.1)
    assert "1 more, which both have, are labelled otherwise in A than in B, and left out" in found.notes[0]
    with pytest.raises(SegscopeError, match="all 1 val images that a and b have in common are labelled otherwise"):
        compare(categories("a", [0.5]), run("b", CATEGORY, corrected[:1], [0.4], [0]))


def test_differences_by_hand():
    """B is better at each of 40 images by a loss of 0.1 but at the last."""
    found = compare(categories("a", [0.5] * 40), categories("b", [0.4] * 39 + [0.9]))
    table = found.metrics.set_index("metric")
    loss = table.loc["loss"]
    assert loss["difference"] == pytest.approx((39 * 0.4 + 0.9) / 40 - 0.5)
    assert loss["low"] < loss["difference"] < loss["high"]
    assert table.loc["iou.person", ["a", "b", "difference"]].tolist() == [0.8, 0.8, 0]
    assert table.loc["iou.person", ["low", "high"]].tolist() == [0, 0]
    assert found.images["image_id"].iloc[-1] == 39
    assert found.images["change"].iloc[0] == pytest.approx(-0.1)
    assert (found.score, found.same_question, found.matched) == ("loss", True, (40, 40, 40))
    apart = found.apart.set_index("metric")
    assert apart.to_dict("index") == {
        "separability": {"a": [0.9], "b": [0.9]},
        "clusters": {"a": [4], "b": [4]},
    }


def test_other_classes_are_compared_by_what_both_answer(pair):
    found = compare(*pair)
    table = found.metrics.set_index("metric")
    assert not {"loss", "pixel_accuracy", "errors.person.missed"} & set(table.index)
    assert table.loc["recall.bus", ["a", "b"]].tolist() == pytest.approx([1, 39 / 40])
    assert table.loc["iou.vehicle", ["a", "b"]].tolist() == pytest.approx([1, 8 * 39 / (12 * 40)])
    assert {"iou.car", "mean_iou.car", "boundary_iou.person"} <= set(table.index)
    assert {"boundary_iou.vehicle", "boundary_iou.car"}.isdisjoint(table.index)
    assert found.by == {"car": ("car", "vehicle"), "vehicle": ("car", "vehicle")}
    # An image's change is that of the mean IoU of person, car and vehicle that it shows.
    assert found.score == "IoU"
    assert found.images["image_id"].iloc[-1] == 39
    first = found.images.iloc[0]
    assert first["a"] == pytest.approx((0.8 + 6 / 8 + 1) / 3)
    assert first["b"] == pytest.approx((0.8 + 6 / 12 + 8 / 12) / 3)


def test_single_trainings_are_said_to_be_and_nothing_is_a_change():
    found = compare(categories("a", [0.5] * 40), categories("b", [0.1] * 40))
    assert not found.metrics["changed"].any()
    assert found.notes[1].startswith("Of two single trainings: intervals are over images alone")


def test_trainings_of_other_seeds_are_a_side():
    """Three of each: B's loss is less in each by far more than the seeds differ, all else is the same."""
    noise = np.random.default_rng(0).gamma(2, 0.1, 40)
    a, b = ([categories(f"{x}{k}", noise + loss + k / 1000) for k in range(3)] for x, loss in (("a", 0.5), ("b", 0.4)))
    found = compare(a, b)
    table = found.metrics.set_index("metric")
    assert table["changed"][table["changed"]].index.tolist() == ["loss"]
    assert table.loc["loss", "difference"] == pytest.approx(-0.1)
    # 0.001 is the deviation over the seeds; the paired images add nothing.
    half = stats.t.ppf(0.975, 4) * 0.001 * np.sqrt(2 / 3)
    assert table.loc["loss", "high"] - table.loc["loss", "low"] == pytest.approx(2 * half)
    assert found.trainings == (3, 3)
    assert found.notes[1].startswith("A and B are of 3 and 3 trainings")
    assert found.images.loc[0, "a"] == pytest.approx(noise[found.images.loc[0, "image_id"]] + 0.501)


def test_other_seeds_within_a_run_count_as_trainings_and_the_same_one_only_once():
    losses = [[0.5 + k / 100] * 40 for k in range(3)]
    runs = [categories(f"a{k}", loss) for k, loss in enumerate(losses)]
    one = replace(runs[0], repeats={1: runs[1].predictions, 2: runs[2].predictions})
    assert compare(one, runs).metrics.equals(compare(runs, runs).metrics)
    assert compare([runs[0], runs[0]], runs).trainings == (1, 3)


def test_a_single_training_beside_several_is_said_to_vary_alike():
    runs = [categories(f"a{k}", [0.5 + k / 100] * 40) for k in range(3)]
    found = compare(runs, categories("b", [0.9] * 40))
    assert found.metrics.set_index("metric").loc["loss", "changed"]
    assert found.notes[1].endswith("The single training is taken to vary as those of the other side do.")


def test_near_copies_are_drawn_together():
    """Ten copies of each image: the interval is that of the images, not three times as narrow."""
    rng = np.random.default_rng(0)
    loss, change = rng.gamma(2.0, size=40), rng.normal(0.05, 0.1, 40)
    widths = []
    for copies in (1, 10):
        a, b = categories("a", np.repeat(loss, copies)), categories("b", np.repeat(loss + change, copies))
        a = replace(a, groups=pd.Series(np.repeat(np.arange(40), copies), index=a.groups.index))
        row = compare(a, b).metrics.set_index("metric").loc["loss"]
        widths.append(row["high"] - row["low"])
    assert widths[1] == pytest.approx(widths[0])


def test_images_are_drawn_together_if_they_are_so_on_either_side():
    """Pairs on one side and threes on the other, whichever is called A."""
    losses = np.random.default_rng(0).gamma(2.0, size=(2, 300))
    a, b = (categories(name, loss) for name, loss in zip("ab", losses, strict=True))
    a = replace(a, groups=pd.Series(np.arange(300) // 2, index=a.groups.index))
    b = replace(b, groups=pd.Series(np.arange(300) // 3, index=b.groups.index))
    sixes = pd.Series(np.arange(300) // 6, index=a.groups.index)
    there, back, both = (
        compare(*pair).metrics.set_index("metric").loc["loss", ["low", "high"]].to_numpy(float)
        for pair in ((a, b), (b, a), [replace(each, groups=sixes) for each in (a, b)])
    )
    assert there == pytest.approx(both)
    assert back == pytest.approx(-both[::-1])


def test_figures_of_two_resolutions_are_no_change():
    """The same trainings, measured at the model's pixels and at the photographs'."""
    a, b = ([categories(f"{x}{k}", [loss + k / 1000] * 40) for k in range(3)] for x, loss in (("a", 0.5), ("b", 0.4)))
    assert compare(a, b).metrics["changed"].any()
    found = compare(a, [replace(run, resolution="each photograph's own pixels") for run in b])
    assert not found.metrics["changed"].any()
    assert found.metrics["adjusted"].isna().all()
    assert found.notes[1].startswith(
        "A and B are measured at different resolutions (A: model 8; B: each photograph's own pixels), which alone moves"
    )
    with pytest.raises(SegscopeError, match="the sides are measured at different resolutions"):
        judge(found, [condition("loss < 0")], [])


def test_what_few_images_carry_has_no_interval(pair):
    table = compare(*pair).metrics.set_index("metric")
    assert np.isfinite(table.loc["iou.person", "low"])
    a, b = (replace(each, groups=pd.Series(0, index=each.groups.index)) for each in pair)
    table = compare(a, b).metrics.set_index("metric")
    assert table.loc["iou.person", "a"] == 0.8
    assert table[["low", "high"]].isna().all(axis=None)


def test_other_images_are_said_and_left_out():
    a, b = categories("a", [0.5] * 40), categories("b", [0.5] * 3)
    found = compare(a, b)
    assert found.images["image_id"].tolist() == [0, 1, 2]
    assert found.notes[0].endswith(
        "Compared are the 3 val images that both judged, the same by id and by bytes; A judged 40, B 3."
    )
    assert compare(a, a).notes[0].endswith("the same by id and by bytes.")
    elsewhere = run("d", CATEGORY, [[*PERSON, [0, 0, 6, 2]]], [1], [500])
    with pytest.raises(SegscopeError, match=r"no val image in common \(no id is in both\)"):
        compare(a, elsewhere)


def test_an_image_of_the_same_id_but_other_bytes_is_another():
    """As those of the drawn sample with another data.seed."""
    a, b = categories("a", [0.5] * 40), categories("b", [0.4] * 40)
    changed = b.index["sha256"].where(b.index["image_id"] < 30, "another")
    found = compare(a, replace(b, index=b.index.assign(sha256=changed)))
    assert found.images["image_id"].sort_values().tolist() == list(range(30))
    assert found.matched == (40, 40, 30)
    with pytest.raises(SegscopeError, match="40 have the same id, and other bytes"):
        compare(a, replace(b, index=b.index.assign(sha256="another")))


def test_markdown_escapes_and_says_what_is_not_compared(pair):
    text = as_markdown(*(Side([each]) for each in pair), compare(*pair))
    assert text.startswith("| val | a&lt;b&gt; | b | difference |\n| --- | --- | --- | --- |\n")
    assert "| iou.person | 0.800 | 0.800 | +0.000 (+0.000 to +0.000) |" in text
    assert "| separability | 0.900 | 0.900 | not compared |" in text
    assert "**" not in text
    assert "car: A finds it as car, B as vehicle." in text
    a, b = ([categories(f"{x}{k}", [loss + k / 1000] * 40) for k in range(3)] for x, loss in (("a", 0.5), ("b", 0.4)))
    assert "| loss | 0.501 | 0.401 | **-0.100 (-0.10" in as_markdown(Side(a), Side(b), compare(a, b))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("![x](https://a.example/i.png)", r"\!\[x\]\(https:<!-- -->//a.example/i.png\)"),
        ("@everyone `a` *b*", r"@<!-- -->everyone \`a\` \*b\*"),
        ("a\n# b | c <img>", r"a \# b \| c &lt;img&gt;"),
        ("www.a.example", "www<!-- -->.a.example"),
        ("boundary_iou.person", "boundary_iou.person"),
    ],
)
def test_names_are_nothing_but_text_in_markdown(pair, name, shown):
    text = as_markdown(Side([replace(pair[0], name=name)]), Side([pair[1]]), compare(*pair))
    assert text.startswith(f"| val | {shown} | ")


def test_several_runs_show_the_least_and_the_greatest_of_what_is_not_compared():
    a, b = categories("a", [0.5] * 40), categories("b", [0.6] * 40)
    other = replace(a, measures=Measures(measure_table([Measure("separability", 0.95, split="val")])))
    found = compare([a, other], b)
    assert found.apart.set_index("metric")["a"].to_dict() == {"separability": [0.9, 0.95], "clusters": [4]}
    assert [spread(values) for values in ([0.9, 0.95], [0.9], [])] == ["0.900 to 0.950", "0.900", "–"]


@pytest.fixture
def page_of(pair, tmp_path, monkeypatch):
    """The page of two sides, as written of 40 photographs."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("{}\n")
    for i in range(40):
        Image.new("RGB", (40, 30), (6 * i, 0, 0)).save(tmp_path / f"{i}.png")
    paths = [str(tmp_path / f"{i}.png") for i in range(40)]
    sums = [sha256_of(Path(path)) for path in paths]

    def write(*runs: RunOf | list[RunOf]) -> Path:
        sides = [
            Side([replace(each, index=each.index.assign(path=paths, sha256=sums)) for each in of])
            for of in (run if isinstance(run, list) else [run] for run in runs)
        ]
        write_comparison(*sides, compare_sides(*sides), tmp_path / "page")
        return tmp_path / "page"

    return write


def test_the_page_links_the_two_maps(pair, page_of, open_report):
    folder = page_of(*pair)
    assert "a<b>" not in (folder / "index.html").read_text()
    with open_report(folder) as page:
        assert page.inner_text("h1") == "a<b> and b"
        assert "Nothing is shown to have changed" in page.inner_text(".lede")
        assert page.locator("#improved .triple").count() == 0
        assert page.locator("#worse .triple").count() == 24
        assert page.locator("#worse figcaption").first.inner_text().split("\n") == ["39", "IoU 0.850 → 0.267", "−0.58"]
        assert "car: A finds its pixels as car, B as vehicle." in page.inner_text("#yardsticks")
        assert "separability\t0.900\t0.900\nclusters\t4\t4" in page.inner_text("#apart")
        page.click("[data-category=bus]")
        assert page.locator("#worse .triple").count() == 24
        # The prediction is person everywhere, of which the left half is one.
        first = page.locator("#worse .triple[data-image='39'] canvas.l")
        middle = "c => [...c.getContext('2d').getImageData(0, 2, 4, 1).data].filter((_, k) => k % 4 == 3)"
        expect(first).to_have_count(2)
        assert first.first.evaluate(middle) == [255] * 4
        page.click(".layers [data-value=labels]")
        expect(first).to_have_count(2)
        assert first.last.evaluate(middle) == [255, 255, 0, 0]
        page.click(".layers [data-value=errors]")
        expect(first).to_have_count(2)
        assert first.last.evaluate(middle) == [0, 0, 255, 255]
        page.click(".layers [data-value='']")
        assert page.locator(".triple canvas").count() == 0
        page.keyboard.press("/")
        page.keyboard.type("9.PNG")
        page.keyboard.press("Enter")
        assert page.inner_text("#selected") == "4 images are selected"
        shown = page.locator(".triple .mono").all_inner_texts()
        assert shown
        assert all(name in ("9.png", "19.png", "29.png", "39.png") for name in shown)
        page.fill("#find", "39")
        page.press("#find", "Enter")
        assert page.locator(".triple").count() == 1
        page.click("#no-search")
        assert page.locator("#worse .triple").count() == 24
        page.locator("#map-a .mapbox").scroll_into_view_if_needed()
        box = page.locator("#map-a .mapbox").bounding_box()
        # Past the buttons at its left: the points lie in a column in its middle.
        page.mouse.move(box["x"] + 60, box["y"] + 2)
        page.mouse.down()
        for a, b in ((0.95, 0.01), (0.95, 0.5), (0.15, 0.5)):
            page.mouse.move(box["x"] + box["width"] * a, box["y"] + box["height"] * b, steps=8)
        page.mouse.up()
        chosen = int(page.inner_text("#selected").split()[0])
        assert 15 < chosen < 25
        with page.expect_download() as download:
            page.click("#bar >> text=Image ids")
        ids = Path(download.value.path()).read_text().split()
        assert sorted(map(int, ids)) == list(range(40 - chosen, 40))  # those that lie higher
        assert not violations(page)
        page.keyboard.press("Escape")
        assert page.inner_text("#selected") == "nothing is selected"


def test_the_page_gives_verdicts_where_trainings_tell_a_change(page_of, open_report):
    a, b = ([categories(f"{x}{k}", [loss + k / 1000] * 40) for k in range(3)] for x, loss in (("a", 0.5), ("b", 0.4)))
    with open_report(page_of(a, b), width=390, theme="dark") as page:
        assert "shown to be better in 1, worse in 0" in page.inner_text(".lede")
        assert "better" in page.inner_text("tr[data-metric=loss]")
        assert "unclear" in page.inner_text("tr[data-metric='iou.person']")
        assert page.locator("#improved .triple").count() == 24
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_pictures_from_elsewhere_are_not_shown(pair, tmp_path, monkeypatch):
    other, here = tmp_path / "private.png", tmp_path / "project"
    Image.new("RGB", (40, 30)).save(other)
    here.mkdir()
    monkeypatch.chdir(here)
    Path("params.yaml").write_text("{}\n")
    sides = [Side([replace(each, index=each.index.assign(path=str(other), sha256=sha256_of(other)))]) for each in pair]
    with pytest.raises(SegscopeError, match=r"private\.png is not shown: it lies neither in this folder"):
        write_comparison(*sides, compare_sides(*sides), tmp_path / "page")


def test_a_run_is_read_from_its_revision(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text("variant: supercategory\nembed: {dimensions: 2}\n")
    own = Run(folder=tmp_path)
    ids = [5, 7]
    own.write("categories", CATEGORIES.assign(source_id=CATEGORIES["category_id"].astype(str)))
    tables = {
        "index": {
            "source_id": [str(i) for i in ids],
            "split": "val",
            "path": ["a.jpg", "b.jpg"],
            "width": 4,
            "height": 3,
            "sha256": "0",
        },
        "groups": {"group": [5, 5]},
        "embeddings": {"split": "val", "latent": [[0, 1], [2, 3]], "x": [0, 1], "y": [2, 3]},
        "clusters": {"cluster": [0, -1], "probability": 1},
        "samples": dict.fromkeys(samples_schema(own.categories).names, 0)
        | {"split": "val", "dominant": ["person", "vehicle"]}
        | dict.fromkeys(("is_grayscale_file", "is_colored", "is_gray", "low_light"), False),
        "predictions": dict.fromkeys(predictions_schema(own.taxonomy).names, 0.5)
        | {"split": "val", "mask": b"", "loss_map": b"", "counts": [[0] * 12] * 2}
        | {"boundary": [[0] * 4] * 2, "errors": [[0] * 10] * 2},
    }
    for name, columns in tables.items():
        table = pd.DataFrame(columns | {"image_id": ids})
        own.write(name, table[::-1] if name == "clusters" else table)
    own.write(
        "repeats",
        pd.DataFrame(
            {
                "seed": [2],
                **{name: [tables["predictions"][name][0]] for name in ("counts", "boundary", "errors")},
                "loss": [0.7],
                "image_id": [7],
            }
        ),
    )
    square = {"id": 9, "category_id": 1, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}
    instances = instances_of([square], 3, 4)
    own.write("instances", pd.concat([instances.assign(image_id=i, split=s) for i, s in ((5, "train"), (7, "val"))]))
    for stage in ("predict", "embed", "cluster"):
        own.write_measures(stage, measure_table([Measure(f"of.{stage}", 1)]))
    monkeypatch.chdir(tmp_path)
    (found,) = side_of(["workspace"]).runs
    assert (found.name, found.variant, list(found.taxonomy.classes)) == ("workspace", "supercategory", list(VEHICLE))
    assert found.instances["image_id"].tolist() == [7]
    assert found.points.to_dict("list") == {
        "image_id": ids,
        "x": [0, 1],
        "y": [2, 3],
        "cluster": [0, -1],
    }
    assert found.index["path"].tolist() == ["a.jpg", "b.jpg"]
    assert found.images.tolist() == [(5, "0"), (7, "0")]
    assert {seed: table["loss"].tolist() for seed, table in found.repeats.items()} == {2: [pytest.approx(0.7)]}
    assert found.groups.to_dict() == {5: 5, 7: 5}
    assert found.predictions["loss"].tolist() == [0.5, 0.5]
    assert [found.measures.value(f"of.{stage}") for stage in ("predict", "embed", "cluster")] == [1, 1, 1]
