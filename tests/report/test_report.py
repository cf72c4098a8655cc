import html
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from browser import open_report
from conftest import instances_of
from PIL import Image

from segscope.artefacts.images import encode_png
from segscope.artefacts.measures import Measure, Measures, measure_table, of_split
from segscope.labels.exclusion import Exclusion, read_exclusion
from segscope.params import Data, Params, Report
from segscope.report.findings import Findings
from segscope.report.objects import ERROR_KINDS, cells, described, listed
from segscope.report.page import write_report
from segscope.suspects.find import KINDS
from segscope.taxonomy import Taxonomy

HOSTILE = "<img src=x onerror=alert(1)>"
SIDE = 32  # pixels, of the model's pictures
# No params file can name a variant so, but the data's categories are called as they are.
PARAMS = Params(data=Data(source="directory", image_size=SIDE), report=Report(title=HOSTILE, thumbnail=64))
OTHER = f"other {HOSTILE}"
CATEGORIES = pd.DataFrame({"category_id": [1, 2], "name": [HOSTILE, OTHER], "supercategory": HOSTILE})
TAXONOMY = Taxonomy(CATEGORIES, {HOSTILE: [HOSTILE, OTHER]})
OF_A_SPLIT = [
    Measure("images", 2),
    Measure("groups", 2),
    Measure("loss", 0.4),
    Measure("pixel_accuracy", 0.9),
    Measure(f"confidence.{HOSTILE}", 0.8, 2, 0.7, 0.9, carriers=25),
    Measure(f"right.{HOSTILE}", 0.7, 2, 0.6, 0.8, carriers=25),
    Measure(f"gap.{HOSTILE}", 0.1, 2, 0.05, 0.15, carriers=25),
    Measure(f"iou.{HOSTILE}", 0.5, 2, 0.4, 0.6, carriers=30),
    Measure(f"mean_iou.{HOSTILE}", 0.55, 2, 0.4, 0.6, carriers=1.5),
    Measure(f"boundary_iou.{HOSTILE}", 0.25, 2, 0.2, 0.3, carriers=30),
    *(Measure(f"errors.{HOSTILE}.{kind}", 0.2, 2, 0.1, 0.3, carriers=30) for kind in ERROR_KINDS),
    Measure(f"found_objects.{HOSTILE}", 0.5, 2, 0.4, 0.625, carriers=30),
    Measure(f"found_objects.{HOSTILE}.small", 0.5, 1, 0.3, 0.7, carriers=2),
    *(Measure(f"suspects.{kind}", 1) for kind in KINDS),
]
# Of one grayscale file there is no interval.
OF_VAL = [
    Measure("inside.grayscale file.loss", 0.5, 1),
    Measure("difference.grayscale file.loss", 0.25, 1, carriers=1),
    Measure("held.grayscale file.loss", 0.2, 1, carriers=1),
    Measure("person_heavy", 1),
    Measure("vehicle_heavy", 1),
    Measure("trainings", 3),
    Measure("spread.loss", 0.03125),
    Measure(f"spread.iou.{HOSTILE}", 0.0625),
    Measure(f"spread.boundary_iou.{HOSTILE}", 0.125),
]
OF_ALL = [Measure("neighbor_purity", 0.5), Measure("chance.neighbor_purity", 0.3)]
OF_THE_RUN = [
    Measure("trustworthiness", 0.9),
    Measure("unclustered", 0.5),
    Measure("stability.seeds", 0.75),
    Measure("stability.subsamples", 0.625),
    Measure("gray", 1),
    Measure("grayscale_files", 1),
    Measure("gray_rgb_files", 0),
]
MEASURES = [
    *of_split("train", OF_A_SPLIT),
    *of_split("val", [*OF_A_SPLIT, *OF_VAL]),
    *of_split("all", OF_ALL),
    *OF_THE_RUN,
]

# Of val's two images: a large one missed, a small one found, a crowd, and a region of no annotation.
OBJECTS = pd.DataFrame(
    {
        "object_id": range(4),
        "image_id": [1, 1, 1, 2],
        "split": "val",
        "annotation_id": pd.array([7, 8, 9, None], "Int64"),
        "class": HOSTILE,
        "category_id": pd.array([1, 2, 1, None], "Int32"),
        "crowd": [False, False, True, False],
        "area": [0.1, 0.01, 0.5, 0.2],
        "size": ["large", "small", "large", "medium"],
        "recall": [0.125, 0.75, 0.5, np.nan],
        "iou": [0.0625, 0.5, 0.5, np.nan],
        "found": pd.array([False, True, True, None], "boolean"),
        "probability": [0.2, 0.8, 0.6, 0.9375],
        "bbox": [[10.0, 15.0, 20.0, 6.0], [0.0, 0.0, 4.0, 3.0], [0.0, 0.0, 40.0, 30.0], [4.0, 3.0, 8.0, 9.0]],
    }
)


@pytest.fixture
def findings(tmp_path) -> Findings:
    """A run of two images whose every name tries to break out of its place."""
    ids = [1, 2]
    paths = []
    for i in ids:
        paths.append(str(tmp_path / f"{i}<b>.png"))
        Image.new("RGB", (40, 30), (100, 50 * i, 0)).save(paths[-1])
    square = [[4, 4, 24, 4, 24, 24, 4, 24]]
    instances = instances_of([{"id": 7, "category_id": 1, "segmentation": square}], 30, 40).assign(image_id=1)
    scores = pd.DataFrame({"loss": [0.5, 0.25], f"iou.{HOSTILE}": [0.5, np.nan]})
    predictions = scores.assign(image_id=ids, split="val", pixel_accuracy=[0.9, 0.8], confidence=0.7)
    predictions["mask"] = [encode_png(np.ones((SIDE, SIDE), np.uint8))] * 2
    predictions["loss_map"] = [encode_png(np.full((SIDE // 2, SIDE // 2), 64, np.uint8))] * 2
    profile = {"cluster": 0, "name": HOSTILE, "size": 2, "groups": 2, "inside": 1.0, "rest": 0.5, "lift": 2.0}
    profile |= {"recall": 0.4, "low": 0.1, "high": 0.2, "p_value": 0.001}
    profiles = pd.DataFrame([profile | {"kind": k, "feature": HOSTILE} for k in ("fact", "performance", "attention")])
    issue = {"image_id": 1, "split": "val", "annotation_id": 7, "kind": "mislabeled", "score": 0.9, "labelled": HOSTILE}
    issue |= {"object_id": 0, "suggested": "background", "evidence": f"background 90% under {HOSTILE}"}
    issues = pd.DataFrame([issue, issue | {"annotation_id": None, "object_id": None, "kind": "missing"}])
    issues["bbox"] = [[10.0, 15.0, 20.0, 6.0]] * 2
    supports = {"image_id": [2], "class": [HOSTILE], "pixels": [64], "score": [1.5], "constant": [0.5]}
    supports |= {"region": [encode_png(np.ones((SIDE, SIDE), np.uint8))], "support": [np.arange(SIDE**2) * 1.0]}
    insight = {"kind": "hard", "statement": HOSTILE, "query": f"`{HOSTILE}` >= 1", "images": 2, "explained": 0.5}
    bins = {"low": 0.0, "high": 9.0, "images": 2, "mean": 0.4, "mean_low": np.nan, "mean_high": np.nan}
    associations = pd.DataFrame({"column": ["brightness"], "metric": ["loss"], "bins": [[bins]]})
    return Findings(
        params=PARAMS.model_copy(update={"variant": HOSTILE}),
        taxonomy=TAXONOMY,
        produced=HOSTILE,
        samples=pd.DataFrame(
            {
                "image_id": ids,
                "split": "val",
                "brightness": [9.0, 7.0],
                "share.background": 0.5,
                "n_instances": [1, 2],
                "is_gray": [True, False],
                "dominant": ["</script>" + HOSTILE, "none"],
            }
        ),
        heavy=np.array([1, -1]),
        index=pd.DataFrame({"image_id": ids, "path": paths, "width": 40, "height": 30}),
        instances=instances.assign(image_id=1),
        predictions=predictions,
        scores=scores,
        objects=OBJECTS,
        label_issues=issues,
        embeddings=pd.DataFrame({"image_id": ids, "split": "val", "x": [0.0, 1.0], "y": [2.0, 3.0]}),
        neighbors=pd.DataFrame({"image_id": ids, "neighbor_id": ids[::-1]}),
        clusters=pd.DataFrame({"image_id": ids, "cluster": [0, -1]}),
        profiles=profiles,
        heatmaps=pd.DataFrame(
            {"cluster": [0], "image_id": [1], "score": [1.0], "attention": [np.arange(SIDE**2) * 1.0]}
        ),
        supports=pd.DataFrame(supports | {"on": [[(HOSTILE, 0.9), ("unlabelled", 0.1)]]}),
        groups=pd.Series(ids, index=ids),
        associations=associations,
        insights=pd.DataFrame([insight | {"image_ids": np.array(ids)}]),
        history=pd.DataFrame({"epoch": [1], "loss": [0.5], "val_loss": [0.6]}),
        confusion=pd.DataFrame({"actual": [HOSTILE], "predicted": [HOSTILE], "share": [1.0]}),
        confused={HOSTILE: {"statement": f"Pixels wrongly predicted as {HOSTILE} are: {HOSTILE} 90%."}},
        pairs=pd.DataFrame(
            {"predicted": [HOSTILE], "category": [HOSTILE], "pixels": [9], "share_of_category": [1.0], "split": ["val"]}
        ),
        measures=Measures(measure_table(MEASURES)),
    )


@pytest.fixture
def report(findings, tmp_path):
    return write_report(findings, tmp_path / "report"), tmp_path / "report"


def test_names_from_the_data_are_text_never_markup(report):
    _, folder = report
    page = (folder / "index.html").read_text()
    assert HOSTILE not in page
    assert page.count("</script>") == 3
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert all("<" not in file.read_text() for file in (folder / "views").iterdir())


def test_the_report_shows_what_was_found(report):
    shown, folder = report
    assert {measure.measure: measure.value for measure in shown} == {"images": 2, "clusters": 1, "suspects": 2}
    page = (folder / "index.html").read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))
    assert data["columns"]["loss"]["values"] == [0.5, 0.25]
    assert data["columns"]["cluster"]["values"] == [0, -1]
    assert data["columns"][f"iou.{HOSTILE}"]["values"] == [0.5, None]
    assert data["columns"]["heavy"]["values"] == ["person-heavy", "neither"]
    assert "share.background" not in data["columns"]  # the same for all
    assert data["neighbors"] == [[1], [0]]
    assert [issue["sample"] for issue in data["issues"]] == [0, 0]
    assert data["objects"] == {
        "object_id": [3, 0, 1],
        "class": [HOSTILE] * 3,
        "category": [None, HOSTILE, OTHER],
        "size": ["medium", "large", "small"],
        "outcome": ["extra", "missed", "found"],
        "became": ["probability 0.94", "recall 12%, IoU 0.06", "recall 75%, IoU 0.50"],
        "box": [[0.1, 0.1, 0.2, 0.3], [0.25, 0.5, 0.5, 0.2], [0, 0, 0.1, 0.1]],
        "sample": [1, 0, 0],
    }
    assert sum(data["objectCounts"]["n"]) == 3  # without the crowd
    assert "its object is missed: recall 12%, IoU 0.06" in page
    assert re.search(r"50 % <small>40 to 62&nbsp;%</small></td>\s+<td>1 of 2</td>", page)
    assert re.search(r"50 % <small>too few for an interval</small></td>\s+<td>1 of 1</td>", page)
    shares = re.findall(r'data-category="([^"]*)" data-size="(\w*)".*?<td>(\d of \d)</td></tr>', page, re.S)
    own, other = (html.escape(name) for name in (HOSTILE, OTHER))
    of_sizes = [("", "small", "1 of 1"), ("", "large", "0 of 1")]
    assert shares == [("", "", "1 of 2"), *of_sizes, (own, "", "0 of 1"), (other, "", "1 of 1")]
    assert re.search(r"over 3 trainings the\s+standard deviation is 0\.031 of the loss", page)
    assert re.search(
        r"sure by 80 % on average, and\s+70 % are right: too sure by 0\.100 <small>0\.050 to 0\.150, n 25<", page
    )
    assert "0.500 <small>0.400 to 0.600, n 30<" in page
    assert "1.5 images carry it: too few for an interval" in page
    assert "0.400 to 0.600, n 2<" not in page
    assert "agree by 0.75" in page
    assert "too few to" in page
    assert data["iou"]["val"] == {"value": [0.5], "low": [0.4], "high": [0.6]}
    assert 'data-points="0 1"' in page
    for name in re.findall(r'src="([^"]+)"', page):
        assert (folder / name).is_file()


def test_the_listed_objects_are_bounded_and_of_every_kind():
    n = 400
    many = OBJECTS.iloc[np.arange(n) % 4].assign(object_id=range(n), area=np.linspace(0, 1, n)).iloc[:-4]
    many = pd.concat([many, many.iloc[:1].assign(object_id=n, **{"class": "rare"})], ignore_index=True)
    index = pd.DataFrame({"image_id": [1, 2], "width": 40, "height": 30})
    chosen = listed(described(many, index, TAXONOMY), 31)
    assert len(chosen) == 31
    counts = cells(chosen)
    assert counts["n"].sum() == 31
    assert counts.loc[counts["class"] != "rare", "n"].between(7, 8).all()
    assert "rare" in set(chosen["class"])
    missed = chosen[(chosen["outcome"] == "missed") & (chosen["class"] == HOSTILE)]
    assert missed["area"].tolist() == many[many["found"].eq(False)]["area"].nlargest(len(missed)).tolist()


def test_what_is_not_known_is_shown_as_such(findings, tmp_path):
    known = measure_table(of_split("val", [Measure("calibration_error", 0.1, 2)]))
    write_report(replace(findings, measures=Measures(known)), tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert not re.search(r"\bnan\b", page, re.I)  # neither as text nor in the script's JSON
    assert "Trustworthiness of the map: –." in page


def test_where_no_metadata_differs_the_chart_says_so(report):
    _, folder = report
    with open_report(folder) as page:
        page.evaluate("delete columns[state.x]; drawPerformance()")
        assert page.inner_text("#chart-performance") == "Nothing to show: no metadata differs between the images."


def test_the_page_lets_nothing_in(report):
    _, folder = report
    page = (folder / "index.html").read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy.startswith("default-src 'none'; script-src 'self'")
    for name in ("index.html", "report.js", "style.css"):
        assert not re.search(r"https?://|//cdn", (folder / name).read_text())


def test_hostile_names_show_as_text_in_a_browser(report):
    _, folder = report
    with open_report(folder) as page:
        assert page.inner_text("h1") == HOSTILE
        assert HOSTILE in page.inner_text("#top-insights")
        page.select_option("#color-by", label="most pixels of")
        page.wait_for_function("document.querySelector('#chart-map .legend')?.textContent.includes('onerror')")
        page.click("#clusters .view")
        page.wait_for_selector("#sample[open] #sample-view img")
        assert HOSTILE in page.inner_text("#sample-suspects")
        assert HOSTILE in page.inner_text("#sample-objects")
        page.select_option("#sample-layer", label=f"attention: cluster 0: {HOSTILE}")
        page.wait_for_selector("#sample-view .over")
        assert page.locator("img[src=x]").count() == 0


def test_marks_become_the_file_that_data_exclude_reads(report, tmp_path):
    _, folder = report
    with open_report(folder) as page:
        page.check('fieldset[data-mark-annotation="7"] input[value=exclude]')
        page.check('fieldset[data-mark-annotation=""] input[value=exclude]')
        assert page.inner_text("#marks-count") == "1 annotations and 1 images to exclude, 0 to keep"
        with page.expect_download() as download:
            page.click("#export-marks")
        download.value.save_as(tmp_path / "exclude.yaml")
    assert read_exclusion(tmp_path / "exclude.yaml", "directory data/coco") == Exclusion(
        frozenset({1}), {1: frozenset({7})}
    )


def test_the_objects_are_filtered_and_shown(report):
    _, folder = report
    with open_report(folder) as page:
        assert page.inner_text("#objects-count") == "1 missed objects of val."
        page.click("#found tr[data-size=small]")
        assert page.input_value("#object-size") == "small"
        assert page.inner_text("#objects-count") == "0 missed objects of val."
        page.click(f"#found button >> text=: {OTHER}")
        assert page.input_value("#object-category") == OTHER
        page.select_option("#object-outcome", "found")
        page.wait_for_selector("#objects-shown .box")
        assert page.inner_text("#objects-shown strong") == f"{HOSTILE}, {OTHER}, small"
        assert "recall 75%, IoU 0.50" in page.inner_text("#objects-shown")
        page.click("#errors [data-outcome=extra]")
        assert page.input_value("#object-category") == ""
        page.click("#objects-shown .view")
        page.wait_for_selector("#sample[open] #sample-view .box")
        assert page.inner_text("#sample-title") == "Image 2"
        assert "extra: probability 0.94" in page.inner_text("#sample-objects")
        shared = page.url
        page.click("#sample-objects .link")
        page.wait_for_selector("#sample-view .box", state="detached")
        assert page.locator("img[src=x]").count() == 0
    with open_report(folder, fragment=f"#{shared.split('#')[1]}") as page:
        page.wait_for_selector("#sample[open] #sample-view .box")
        assert page.input_value("#object-outcome") == "extra"
