import hashlib
import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import instances_of
from PIL import Image
from playwright.sync_api import expect

from segscope.artefacts.files import sha256_of
from segscope.artefacts.images import encode_png
from segscope.artefacts.measures import Measure, Measures, measure_table, of_split
from segscope.labels.exclusion import Exclusion, read_exclusion
from segscope.params import Cluster, Data, Model, Params, Report
from segscope.report.findings import Findings
from segscope.report.objects import ERROR_KINDS, cells, described, listed
from segscope.report.page import write_report
from segscope.sources.corrections import read_corrections
from segscope.suspects.find import KINDS
from segscope.taxonomy import Taxonomy

HOSTILE = "<img src=x onerror=alert(1)>"
INTER_SHA256 = "3100e775e8616cd2611beecfa23a4263d7037586789b43f035236a2e6fbd4c62"  # the type face, OFL
SIDE = 32  # pixels, of the model's pictures
# No params file can name a variant so, but the data's categories are called as they are.
PARAMS = Params(data=Data(source="directory", image_size=SIDE), report=Report(title=HOSTILE, thumbnail=64))
OTHER = f"other {HOSTILE}"
CATEGORIES = pd.DataFrame(
    {"category_id": [1, 2], "source_id": ["1", "2"], "name": [HOSTILE, OTHER], "supercategory": HOSTILE}
)
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
    Measure(f"{HOSTILE}_heavy", 1),
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
    # Of 32 × 32 pixels, predicted × category: half of the class's are taken for background, a few the other way.
    predictions["counts"] = [[500, 100, 20, 24, 300, 80], [600, 0, 0, 424, 0, 0]]
    predictions["mask"] = [encode_png(np.ones((SIDE, SIDE), np.uint8))] * 2
    predictions["loss_map"] = [encode_png(np.full((SIDE // 2, SIDE // 2), 64, np.uint8))] * 2
    profile = {"cluster": 0, "name": HOSTILE, "size": 2, "groups": 2, "inside": 1.0, "rest": 0.5, "lift": 2.0}
    profile |= {"inside_low": 0.8, "inside_high": 1.0, "recall": 0.4, "low": 0.1, "high": 0.2, "p_value": 0.001}
    profiles = pd.DataFrame([profile | {"kind": k, "feature": HOSTILE} for k in ("fact", "performance", "attention")])
    issue = {"image_id": 1, "split": "val", "annotation_id": 7, "kind": "mislabeled", "score": 0.9, "labelled": HOSTILE}
    issue |= {"object_id": 0, "suggested": "background", "evidence": f"background 90% under {HOSTILE}"}
    issues = pd.DataFrame([issue, issue | {"annotation_id": None, "object_id": None, "kind": "missing"}])
    issues["bbox"] = [[10.0, 15.0, 20.0, 6.0]] * 2
    supports = {"image_id": [2], "class": [HOSTILE], "pixels": [64], "score": [1.5], "constant": [0.5]}
    supports |= {"region": [encode_png(np.ones((SIDE, SIDE), np.uint8))], "support": [np.arange(SIDE**2) * 1.0]}
    insight = {"kind": "hard", "statement": HOSTILE, "query": f"`{HOSTILE}` >= 1", "images": 2, "explained": 0.5}
    insight |= {"name": HOSTILE, "metric": "loss", "units": 2, "inside": 0.5, "rest": 0.25, "p_value": 0.01}
    insight |= {"difference": 0.25, "low": 0.125, "high": 0.375}
    bins = {"low": 0.0, "high": 9.0, "images": 2, "mean": 0.4, "mean_low": np.nan, "mean_high": np.nan}
    associations = pd.DataFrame({"column": ["brightness"], "metric": ["loss"], "bins": [[bins]]})
    return Findings(
        params=PARAMS.model_copy(update={"variant": HOSTILE}),
        taxonomy=TAXONOMY,
        produced=dict.fromkeys(("variant", "source", "resolution", "training", "model", "images"), HOSTILE),
        run_id=HOSTILE,
        samples=pd.DataFrame(
            {
                "image_id": ids,
                "split": "val",
                "brightness": [9.0, 7.0],
                "share.background": 0.5,
                "n_instances": [1, 2],
                "is_gray": [True, False],
                "dominant": ["</script>" + HOSTILE, "none"],
                "user.weather": [HOSTILE, "sun"],
            }
        ),
        sides=[HOSTILE, "vehicle"],
        heavy=np.array([1, -1]),
        kind="category",
        index=pd.DataFrame({"image_id": ids, "source_id": [HOSTILE, "2"], "path": paths, "width": 40, "height": 30}),
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
        confused={
            HOSTILE: {
                "statement": f"Pixels wrongly predicted as {HOSTILE} are: {HOSTILE} 90%.",
                "categories": {HOSTILE: {"share": 0.9, "taken": 0.5, "low": 0.4, "high": 0.6, "carriers": 30}},
            }
        },
        pairs=pd.DataFrame(
            {"predicted": [HOSTILE], "category": [HOSTILE], "pixels": [9], "share_of_category": [1.0], "split": ["val"]}
        ),
        reliability=pd.DataFrame({"class": [HOSTILE], "confidence": [0.9], "accuracy": [0.8], "pixels": [0.5]}),
        duplicates=pd.DataFrame(
            {"image_id": [3, 2], "split": "val", "other_id": 1, "other_split": ["train", "val"], "kind": "near"}
        ).assign(distance=0.0625),
        copies=pd.DataFrame({"image_id": [3], "path": HOSTILE}),
        skipped=pd.DataFrame({"split": ["val"], "image_id": [9], "reason": "not_readable"}),
        measures=Measures(measure_table(MEASURES)),
    )


@pytest.fixture
def report(findings, tmp_path):
    return write_report(findings, tmp_path / "report"), tmp_path / "report"


def content(folder: Path, name: str) -> Any:
    """What a script hands to the page."""
    text = (folder / f"{name}.js").read_text()
    start = f"segscope({json.dumps(name)},"
    assert text.startswith(start)
    return json.loads(text.removeprefix(start).removesuffix(");\n"))


def test_names_from_the_data_are_text_never_markup(report):
    _, folder = report
    page = (folder / "index.html").read_text()
    assert HOSTILE not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert page.count("</script>") == 1
    assert all(
        "<" not in file.read_text()
        for part in ("data", "layers", "attention")
        for file in (folder / part).rglob("*.js")
    )


def test_the_report_says_what_was_found(report):
    shown, folder = report
    assert {measure.measure: measure.value for measure in shown} == {"images": 2, "clusters": 1, "suspects": 2}
    run = content(folder, "data/run")
    assert [column["name"] for column in run["columns"]][:4] == ["split", "cluster", "loss", f"iou.{HOSTILE}"]
    assert "share.background" not in {column["name"] for column in run["columns"]}  # the same for all
    assert run["measures"]["val"][f"iou.{HOSTILE}"] == [0.5, 0.4, 0.6, 2, 30]
    assert run["insights"][0]["points"] == [0, 1]
    assert run["clusters"][0]["images"] == [0]
    assert run["heat"] == {
        "0": [["attention/cluster-0", f"attention of cluster 0: {HOSTILE}"]],
        "1": [["attention/support-1", f"support of wrong {HOSTILE}"]],
    }
    # The images with most pixels of a cell, those that have any.
    assert run["cells"][f"class|background|{HOSTILE}"] == [0]
    assert run["cells"][f"category|{HOSTILE}|unlabelled"] == [1, 0]
    assert run["categoryClass"] == {"unlabelled": "background", HOSTILE: HOSTILE, OTHER: HOSTILE}
    assert [(pair["a"], pair["b"], pair["left_out"]) for pair in run["copies"]["pairs"]] == [
        (None, 0, True),
        (1, 0, False),
    ]
    assert run["skipped"] == [{"split": "val", "reason": "not_readable", "n": 1}]
    assert [(row["category"], row["size"], row["found"], row["of"]) for row in run["found"]] == [
        ("", "", 1, 2),
        ("", "small", 1, 1),
        ("", "large", 0, 1),
        (HOSTILE, "", 0, 1),
        (OTHER, "", 1, 1),
    ]
    objects = content(folder, "data/objects")
    assert objects["rows"] == {
        "object_id": [3, 0, 1],
        "class": [HOSTILE] * 3,
        "category": [None, HOSTILE, OTHER],
        "size": ["medium", "large", "small"],
        "outcome": ["extra", "missed", "found"],
        "became": ["probability 0.94", "recall 12%, IoU 0.06", "recall 75%, IoU 0.50"],
        "box": [[0.1, 0.1, 0.2, 0.3], [0.25, 0.5, 0.5, 0.2], [0, 0, 0.1, 0.1]],
        "sample": [1, 0, 0],
    }
    assert sum(objects["counts"]["n"]) == 3  # without the crowd
    suspects = content(folder, "data/suspects")
    assert [(each["kind"], each["annotation_id"], each.get("became")) for each in suspects["shown"]] == [
        ("mislabeled", 7, "recall 12%, IoU 0.06"),
        ("missing", None, None),
    ]
    assert [issue["sample"] for issue in suspects["all"]] == [0, 0]
    for number in range(2):
        photo, outlines = (Image.open(folder / "crops" / f"{number}.{kind}") for kind in ("webp", "png"))
        assert abs(photo.width / photo.height - outlines.width / outlines.height) < 0.05


def test_a_score_that_no_val_image_of_a_cluster_has_is_not_drawn(findings, tmp_path, open_report):
    unknown = findings.profiles["kind"] == "performance"
    profiles = findings.profiles.assign(inside=findings.profiles["inside"].mask(unknown))
    write_report(replace(findings, profiles=profiles), tmp_path / "report")
    assert content(tmp_path / "report", "data/run")["clusters"][0]["performance"] == []
    with open_report(tmp_path / "report", fragment="#clusters") as page:
        expect(page.locator("#cl-detail")).to_contain_text("No score of its val images is known.")


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


def test_what_is_not_known_is_shown_as_such(findings, tmp_path, open_report):
    known = measure_table(of_split("val", [Measure("calibration_error", 0.1, 2)]))
    write_report(replace(findings, measures=Measures(known)), tmp_path / "report")
    for file in (tmp_path / "report" / "data").rglob("*.js"):
        assert not re.search(r"\bnan\b|infinity", file.read_text(), re.I)
    with open_report(tmp_path / "report", fragment="#explore") as page:
        assert "Trustworthiness of the map –." in page.inner_text(".note")
        go(page, "overview")
        assert "no image with labels" in page.inner_text(".lede")


def test_the_page_lets_nothing_in(report):
    _, folder = report
    page = (folder / "index.html").read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert not re.search(r"<style|<script(?! src=)|\son\w+=|\sstyle=", page.replace(html.escape(HOSTILE), ""))
    assert len(page) < 200_000
    assert sha256_of(folder / "inter-latin.woff2") == INTER_SHA256
    for name in ("index.html", "report.js", "style.css"):
        text = (folder / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn|\beval\(|new Function", text)


VIEWS = ("overview", "explore", "clusters", "objects", "review", "performance", "confusion", "duplicates")


def go(page, view: str) -> None:
    """Go to a view, and wait until all of it is there."""
    page.evaluate(f"location.hash = {json.dumps(view)}")
    page.wait_for_selector(f"#view-{view.split('/')[0]}")
    expect(page.locator("[aria-busy=true]")).to_have_count(0)


def test_hostile_names_show_as_text_in_a_browser(report, open_report):
    _, folder = report
    with open_report(folder) as page:
        assert page.inner_text(".brand") == HOSTILE
        for view in VIEWS:
            go(page, view)
            assert page.locator("img[src=x]").count() == 0
            if view != "duplicates":
                assert HOSTILE in page.inner_text("main")
        go(page, "explore")
        assert page.locator("#color-by optgroup[label='Your own'] option").all_inner_texts() == ["weather"]
        page.select_option("#color-by", label="most pixels of")
        expect(page.locator("#legend")).to_contain_text("onerror")
        go(page, "image/1")
        page.wait_for_selector(".shot canvas")
        assert HOSTILE in page.inner_text("#sample-suspects")
        assert HOSTILE in page.inner_text("#sample-objects")
        # Side by side are the same layers again, by the key as by the button.
        page.keyboard.press("s")
        expect(page.locator(".shot")).to_have_count(1)
        page.keyboard.press("s")
        expect(page.locator(".shot")).to_have_count(4)
        page.click("[data-layer='attention/cluster-0']")
        page.wait_for_selector("[data-layer='attention/cluster-0'] canvas")
        assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("source", ["train", "keras", "predictions"])
def test_only_of_a_model_that_the_run_trained_is_it_said_what_it_did_not_learn_from(
    findings, tmp_path, open_report, source
):
    params = findings.params.model_copy(update={"model": Model(source=source)})
    write_report(replace(findings, params=params), tmp_path / "report")
    with open_report(tmp_path / "report") as page:
        for view, place in (("overview", ".lede"), ("review", ".claim")):
            go(page, view)
            page.wait_for_selector(place)
            assert ("did not learn from" in page.inner_text(f"{place} >> nth=0")) == (source == "train")


def test_marks_are_kept_and_become_the_file_that_data_exclude_reads(report, tmp_path, open_report):
    _, folder = report
    with open_report(folder, fragment="#review") as page:
        page.wait_for_selector("#queue [aria-current]")
        page.keyboard.press("e")
        assert page.inner_text("#marks-count") == "1 excluded, 0 kept, 0 unsure"
        page.keyboard.press("k")
        page.keyboard.press("z")
        page.click("[data-mark=E]")
        assert page.inner_text("#marks-count") == "2 excluded, 0 kept, 0 unsure"
        page.reload()
        page.wait_for_selector("#marks-count")
        assert page.inner_text("#marks-count") == "2 excluded, 0 kept, 0 unsure"
        # A letter that goes to a view marks nothing there.
        page.keyboard.press("g")
        page.keyboard.press("e")
        page.wait_for_selector("#view-explore")
        page.keyboard.press("g")
        page.keyboard.press("r")
        page.wait_for_selector("#marks-count")
        assert page.inner_text("#marks-count") == "2 excluded, 0 kept, 0 unsure"
        for button, name in (("#export-marks", "exclude.yaml"), ("#export-json", "marks.json")):
            with page.expect_download() as download:
                page.click(button)
            download.value.save_as(tmp_path / name)
        page.evaluate("localStorage.clear()")
        for name in ("exclude.yaml", "marks.json"):
            page.reload()
            page.wait_for_selector("#marks-count")
            page.evaluate("localStorage.clear()")
            page.set_input_files("#import-marks", tmp_path / name)
            expect(page.locator("#marks-count")).to_have_text("2 excluded, 0 kept, 0 unsure")
        page.set_input_files("#import-marks", {"name": "x.yaml", "mimeType": "text/yaml", "buffer": b"source: other"})
        expect(page.locator("#saved")).to_contain_text("of source")
    assert read_exclusion(tmp_path / "exclude.yaml", "directory data/coco") == Exclusion(
        frozenset({1}), {1: frozenset({7})}
    )


def test_the_objects_are_filtered_and_shown(report, open_report):
    _, folder = report
    with open_report(folder, fragment="#objects") as page:
        page.wait_for_selector("#objects-count")
        assert page.inner_text("#objects-count") == "1 missed object of val."
        page.click("#found tr[data-size=small] button")
        expect(page.locator("#object-size")).to_have_value("small")
        assert page.inner_text("#objects-count") == "0 missed objects of val."
        page.click(f"#found button >> text=: {OTHER}")
        expect(page.locator("#object-size")).to_have_value("")
        assert page.input_value("#object-category") == OTHER
        page.select_option("#object-outcome", "found")
        page.wait_for_selector("#objects-shown .box")
        assert page.inner_text("#objects-shown b") == f"{HOSTILE}, {OTHER}, small"
        assert "recall 75%, IoU 0.50" in page.inner_text("#objects-shown")
        page.click("#errors [data-outcome=extra]")
        expect(page.locator("#object-outcome")).to_have_value("extra")
        page.click("#objects-shown .thumb")
        page.wait_for_selector(".shot .box")
        assert page.inner_text("#sample-title") == "Image 2"
        assert "extra: probability 0.94" in page.inner_text("#sample-objects")
        shared = page.url
        page.click("#sample-objects .link")
        page.wait_for_selector(".shot .box", state="detached")
        assert page.locator("img[src=x]").count() == 0
    with open_report(folder, fragment=f"#{shared.split('#')[1]}") as page:
        page.wait_for_selector(".shot .box")


def test_of_nothing_every_view_says_so(findings, tmp_path, open_report):
    """A single image of train, of which nothing is known but itself."""
    one = {name: getattr(findings, name).head(1) for name in ("samples", "index", "embeddings", "clusters")}
    one |= {name: table.assign(split="train") for name, table in one.items() if "split" in table}
    none = ("instances", "label_issues", "neighbors", "profiles", "heatmaps", "supports", "associations", "insights")
    none += ("history", "confusion", "pairs", "reliability", "duplicates", "copies", "skipped", "objects")
    bare = replace(
        findings,
        heavy=findings.heavy[:1],
        predictions=findings.predictions.head(1).assign(split="train"),
        scores=findings.scores.head(1),
        groups=findings.groups.head(1),
        confused={},
        measures=Measures(measure_table([])),
        **(
            one
            | {"clusters": one["clusters"].assign(cluster=-1)}
            | {name: getattr(findings, name)[:0] for name in none}
        ),
    )
    write_report(bare, tmp_path / "report")
    expected = {
        "clusters": "A smaller cluster.min_cluster_size finds more.",
        "review": "labels.folds",
        "confusion": "There is no val image with labels",
        "duplicates": "No image is a copy of another.",
        "objects": "Val has no annotation of the model's classes.",
        "performance": "nothing else is shown to move the scores",
        "overview": "No training is logged",
        "explore": "all 1 shown",
    }
    with open_report(tmp_path / "report", width=390) as page:
        for view, text in expected.items():
            go(page, view)
            expect(page.locator("main")).to_contain_text(text)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
        go(page, "image/1")
        expect(page.locator("main")).to_contain_text("it is the only one")


def test_many_classes_of_long_and_foreign_names_fit(findings, tmp_path, open_report):
    names = [f"{'a very long name of a class ' * 3}{k}" if k % 2 else f"שלום עולם {k}" for k in range(20)]
    categories = pd.DataFrame({"category_id": range(1, 21), "name": names, "supercategory": "things"})
    categories["source_id"] = categories["category_id"].astype(str)
    taxonomy = Taxonomy(categories, {name: [name] for name in names})
    cells = np.zeros((2, 21 * 21), int)
    cells[:, :21] = 40
    own = [
        Measure(f"{kind}.{name}", 0.5, 2, 0.4, 0.6, carriers=30)
        for name in names
        for kind in ("iou", "mean_iou", "gap")
    ]
    own += [Measure(f"errors.{name}.{kind}", 0.2, 2, 0.1, 0.3, carriers=30) for name in names for kind in ERROR_KINDS]
    many = replace(
        findings,
        taxonomy=taxonomy,
        scores=pd.DataFrame({"loss": [0.5, 0.25]} | {f"iou.{name}": [0.5, 0.25] for name in names}),
        predictions=findings.predictions.assign(counts=cells.tolist()),
        label_issues=findings.label_issues.assign(labelled=names[1], suggested=names[0]),
        objects=findings.objects.assign(**{"class": names[1]}),
        supports=findings.supports.assign(**{"class": names[1]}),
        confusion=pd.DataFrame([(a, p, 0.05) for a in names for p in names], columns=["actual", "predicted", "share"]),
        measures=Measures(measure_table([*MEASURES, *of_split("val", own)])),
    )
    write_report(many, tmp_path / "report")
    for width in (390, 1440):
        with open_report(tmp_path / "report", width=width) as page:
            for view in VIEWS:
                go(page, view)
                assert page.evaluate("document.documentElement.scrollWidth") <= width, view
            go(page, "image/1")
            page.wait_for_selector(".shot canvas")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            if width == 1440:
                corrected(page, tmp_path, many)


def corrected(page, folder: Path, findings: Findings) -> None:
    """A suggestion that is accepted, and an object that is none, become the file that data.corrections reads."""
    go(page, "review")
    page.click("#queue [data-suspect='0']")
    expect(page.locator(".correct button")).to_have_count(2)
    page.keyboard.press("c")
    page.click("#queue [data-suspect='1']")  # what is missing has no annotation to correct
    expect(page.locator(".correct")).to_be_hidden()
    page.keyboard.press("n")
    expect(page.locator("#marks-count")).to_contain_text("1 corrected")
    file = folder / "corrections.json"
    for category, letter in ((1, "C"), (None, "N")):
        page.click("#queue [data-suspect='0']")
        page.click(f"[data-mark={letter}]")
        with page.expect_download() as download:
            page.click("#export-corrections")
        download.value.save_as(file)
        content = json.loads(file.read_text())
        assert content["info"]["segscope_source"] == "directory data/coco"
        assert content["images"] == [{"id": 1, "file_name": "1<b>.png"}]
        source = findings.params.data.origin
        images, _, edits, _ = read_corrections(file, source, findings.index, findings.taxonomy.categories)
        assert images == []
        assert edits.astype(object).where(edits.notna(), None).to_dict("records") == [
            {"image_id": 1, "annotation_id": 7, "category_id": category}
        ]
        page.keyboard.press("z")
        page.click("#queue [data-suspect='0']")
        page.click("[data-mark=K]")
        page.set_input_files("#import-marks", file)
        expect(page.locator("#marks-count")).to_contain_text("1 corrected")
        page.click("#queue [data-suspect='0']")
        expect(page.locator(f"[data-mark={letter}]")).to_have_attribute("aria-pressed", "true")
    file.write_text(json.dumps(content | {"info": {"segscope_source": "another"}}))
    page.set_input_files("#import-marks", file)
    expect(page.locator("#saved")).to_contain_text("of source")


def test_of_too_many_images_only_those_that_are_named_have_a_photograph(findings, tmp_path):
    few = PARAMS.model_copy(update={"report": Report(thumbnail=64, photographs=1)})
    one = {name: getattr(findings, name).query("image_id == 1") for name in ("objects", "label_issues", "supports")}
    predictions, embeddings = (
        table.assign(split=["val", "train"]) for table in (findings.predictions, findings.embeddings)
    )
    none = findings.neighbors[:0]
    write_report(
        replace(findings, params=few, predictions=predictions, embeddings=embeddings, neighbors=none, **one),
        tmp_path / "report",
    )
    assert [file.name for file in (tmp_path / "report" / "photos").iterdir()] == ["1.webp"]


def test_a_missing_file_is_named_in_its_place(report, open_report):
    _, folder = report
    (folder / "photos" / "1.webp").unlink()
    (folder / "data" / "objects.js").unlink()
    with open_report(folder, fragment="#objects", allowed="ERR_FILE_NOT_FOUND") as page:
        page.wait_for_selector("#object-list .notice")
        assert "data/objects.js cannot be loaded" in page.inner_text("#object-list")
        go(page, "image/1")
        expect(page.locator(".shot >> nth=0")).to_contain_text("the report has no photograph of this image")
    for file in ("thumbs/00000.webp", "crops/0.webp", "data/suspects.js", "data/bins.js", "data/neighbors.js"):
        (folder / file).unlink()
    for name in ("columns", "rows"):
        shutil.rmtree(folder / "data" / name)
    for name in ("layers", "attention"):
        shutil.rmtree(folder / name)
    lost = {
        "overview": "data/suspects.js",
        "clusters": "no attention/cluster-0",
        "review": "data/suspects.js",
        "performance": "data/bins.js",
        "confusion": "no attention/support-1",
        "image/1": "layers/00000.js",
        "explore": "thumbs/00000.webp",
        "duplicates": "thumbs/00000.webp",
    }
    with open_report(folder, allowed="ERR_FILE_NOT_FOUND") as page:
        for view, text in lost.items():
            go(page, view)
            expect(page.locator("main")).to_contain_text(text)
            if view == "image/1":
                expect(page.locator("#sample-metadata")).to_contain_text("data/rows/00000.js cannot be loaded")
                expect(page.locator(".like")).to_contain_text("data/neighbors.js cannot be loaded")
        go(page, "explore")
        page.select_option("#color-by", "brightness")
        expect(page.locator("#lost [role=alert]")).to_contain_text("data/columns/")
        go(page, "overview")
        expect(page.locator("#lost")).to_have_count(0)
    with open_report(folder, fragment="#explore", allowed="ERR_FILE_NOT_FOUND") as page:
        expect(page.locator("#grid .pic.missing")).to_have_count(2)
        assert "thumbs/00000.webp" in page.inner_text("#grid")


def test_without_its_data_the_page_says_what_is_missing(report, open_report):
    _, folder = report
    (folder / "data" / "base.js").unlink()
    with open_report(folder, allowed="ERR_FILE_NOT_FOUND", ready=".lede:has-text('cannot be loaded')") as page:
        assert page.inner_text(".lede") == "data/base.js cannot be loaded: is it still beside this page?"


def test_images_that_are_all_alike_and_without_truth(findings, tmp_path, open_report):
    """Nothing differs between them, and nothing is labelled: no scale has a length, no class an IoU."""
    samples = findings.samples.assign(brightness=7.0, n_instances=0, is_gray=False, dominant="none")
    scores = findings.scores.assign(loss=0.5, **{f"iou.{HOSTILE}": np.nan})
    none = {name: getattr(findings, name)[:0] for name in ("instances", "objects", "label_issues", "insights")}
    alike = replace(
        findings,
        samples=samples,
        scores=scores,
        predictions=findings.predictions.assign(loss=0.5, counts=[[1024, 0, 0, 0, 0, 0]] * 2),
        embeddings=findings.embeddings.assign(x=1.0, y=1.0),
        clusters=findings.clusters.assign(cluster=-1),
        profiles=findings.profiles[:0],
        heatmaps=findings.heatmaps[:0],
        confusion=findings.confusion[:0],
        measures=Measures(measure_table(of_split("val", [Measure("images", 2), Measure("loss", 0.5)]))),
        **none,
    )
    write_report(alike, tmp_path / "report")
    with open_report(tmp_path / "report") as page:
        for view in (*VIEWS, "image/2"):
            go(page, view)
            assert not re.search(r"NaN|undefined|Infinity", page.inner_text("main")), view
        page.wait_for_selector(".shot canvas")
        assert "rank 1 of 2" in page.locator(".rank svg").first.get_attribute("aria-label")
        expect(page.locator(".rank")).to_contain_text("not in the image")
        go(page, "explore")
        page.fill("#find", "loss == 0.5")
        page.press("#find", "Enter")
        expect(page.locator("#bar b >> nth=0")).to_have_text("2 images selected")


def test_filters_queries_and_what_is_exported_mean_the_same_images(findings, tmp_path, open_report):
    samples = findings.samples.assign(**{"user.part": [0.7, 0.25], "count.car": [3, 0]})
    write_report(replace(findings, samples=samples), tmp_path / "report")
    expected = {
        "`user.part` >= 0.7": "`user.part` >= 0.7",
        "user.part in [0.7] and count.car >= 1": "`user.part` in [0.7] and `count.car` >= 1",
        'user.weather in ["sun", "–"]': "image_id in [2]",
    }
    with open_report(tmp_path / "report", fragment="#explore?f=user.part=0.7..") as page:
        expect(page.locator("#count")).to_contain_text("1 of 2 shown")
        for query, exported in expected.items():
            page.fill("#find", query)
            page.press("#find", "Enter")
            expect(page.locator("#bar .from code")).to_have_text(query)
            expect(page.locator("#bar b >> nth=0")).to_have_text("1 image selected")
            page.click("#bar summary")
            with page.expect_download() as download:
                page.click("[data-export=query]")
            text = Path(download.value.path()).read_text().strip()
            assert text == exported
            assert samples.query(text)["image_id"].tolist() == [2 if "–" in query else 1]


@pytest.mark.parametrize(
    ("low", "carriers", "said"), [(0.05, 25, "too sure by 0.100"), (-0.05, 25, "not shown"), (0.05, 5, "not shown")]
)
def test_a_calibration_gap_has_a_direction_where_its_interval_shows_one(
    findings, tmp_path, open_report, low, carriers, said
):
    gap = Measure(f"gap.{HOSTILE}", 0.1, 2, low, 0.15, carriers=carriers)
    others = [measure for measure in OF_A_SPLIT if measure.measure != gap.measure]
    table = measure_table(of_split("val", [*others, gap]))
    write_report(replace(findings, measures=Measures(table)), tmp_path / "report")
    with open_report(tmp_path / "report") as page:
        assert said in page.inner_text("#calibration li")
        assert said.removesuffix("0") in page.locator("svg[aria-label^='How often']").get_attribute("aria-label")


def test_the_training_chart_has_room_for_every_value_and_gaps_for_unknown_ones(findings, tmp_path, open_report):
    history = pd.DataFrame({"epoch": [1, 2, 3, 4, 5], "loss": [3.1, 2.4, 1.9, 1.5, 1.25]})
    history["val_loss"] = [3.0, 2.0, np.nan, 2.0, 1.0]
    write_report(replace(findings, history=history), tmp_path / "report")
    with open_report(tmp_path / "report") as page:
        train, val = (page.locator("path.curve").nth(k).get_attribute("d") for k in range(2))
    heights = [float(y) for y in re.findall(r",([\d.]+)", train)]
    assert len(set(heights)) == 5
    assert re.sub(r"[\d.,]", "", train) == "MLLLL"
    assert re.sub(r"[\d.,]", "", val) == "MLML"


def test_without_probabilities_and_explanations_the_report_says_so(findings, tmp_path, open_report):
    score = f"iou.{HOSTILE}"
    hard = [Measure(f"{kind}.low light.{score}", 0.25, 12, 0.1, 0.4, carriers=12) for kind in ("inside", "difference")]
    params = findings.params.model_copy(update={"cluster": Cluster(explained=0)})
    unsure = replace(
        findings,
        params=params,
        scores=findings.scores.assign(loss=np.nan),
        supports=findings.supports[:0],
        measures=Measures(measure_table(of_split("val", [Measure("images", 2), *hard]))),
    )
    write_report(unsure, tmp_path / "report")
    with open_report(tmp_path / "report", fragment="#performance") as page:
        expect(page.locator("#hard tbody tr")).to_contain_text("low light")
        expect(page.locator("#hard thead")).to_contain_text("IoU of")
        go(page, "confusion")
        expect(page.locator("main")).to_contain_text("cluster.explained is 0")


def test_of_many_copies_those_that_are_left_out_are_listed_first(findings, tmp_path, open_report, monkeypatch):
    pair = {"image_id": 8, "split": "train", "other_id": 9, "other_split": "train", "kind": "near", "distance": 0.0625}
    duplicates = pd.concat([pd.DataFrame([pair]), findings.duplicates], ignore_index=True)
    monkeypatch.setattr("segscope.report.content.MOST_LISTED", 2)
    write_report(replace(findings, duplicates=duplicates), tmp_path / "report")
    copies = content(tmp_path / "report", "data/run")["copies"]
    assert [(pair["ids"], pair["left_out"]) for pair in copies["pairs"]] == [([3, 1], True), ([8, 9], False)]
    with open_report(tmp_path / "report", fragment="#duplicates") as page:
        expect(page.locator("#du-pairs")).to_contain_text("2 of 3 pairs")
        assert page.locator("#du-pairs .pic.missing").all_inner_texts() == [
            "left out",
            "not on the map",
            "not on the map",
        ]


def test_escape_closes_what_is_open_before_it_clears_the_selection(report, open_report):
    _, folder = report
    with open_report(folder, fragment="#explore") as page:
        page.click("#select-shown")
        page.fill("#find", "nothing == 1")
        page.press("#find", "Enter")
        expect(page.locator(".found-none")).to_be_visible()
        page.evaluate("document.activeElement.blur()")
        page.click("#bar summary")
        for open_menus in (1, 0):
            expect(page.locator("details.menu[open]")).to_have_count(open_menus)
            expect(page.locator("#bar b >> nth=0")).to_have_text("2 images selected")
            page.keyboard.press("Escape")
        expect(page.locator(".found-none")).to_be_hidden()
        expect(page.locator("#bar")).to_be_hidden()


def test_a_closed_image_leaves_the_view_as_it_was(findings, tmp_path, open_report):
    n = 90
    objects = OBJECTS.iloc[[0] * n].assign(object_id=range(n), annotation_id=pd.array(range(n), "Int64"))
    write_report(replace(findings, objects=objects), tmp_path / "report")
    with open_report(tmp_path / "report", fragment="#objects") as page:
        page.click("text=Show more")
        thumbs = page.locator("#objects-shown .thumb")
        expect(thumbs).to_have_count(48)
        thumbs.nth(40).scroll_into_view_if_needed()
        before = page.evaluate("window.scrollY")
        assert before > 0
        thumbs.nth(40).click()
        page.wait_for_selector("#sample-title")
        page.keyboard.press("Escape")
        expect(thumbs).to_have_count(48)
        expect(thumbs.nth(40)).to_be_focused()
        assert page.evaluate("window.scrollY") == before


def test_the_scripts_are_what_their_sources_give():
    """The bundles name the sum of the sources they are of; where Node's packages are installed, they are made anew."""
    web, package = (Path(__file__).parents[2] / part for part in ("web", "src/segscope/report"))
    for bundle, entry in (("assets/report.js", "report.js"), ("compare_assets/compare.js", "compare.js")):
        own, seen = ["report.js" if entry == "compare.js" else "compare.js"], set()
        waiting = [web / "src" / entry]
        while waiting:
            file = waiting.pop().resolve()
            if file in seen:
                continue
            seen.add(file)
            names = re.findall(r'from "(\.[^"]+)"', file.read_text())
            waiting += [file.parent / name for name in names]
        files = sorted(str(file.relative_to(web)) for file in seen)
        assert f"src/{own[0]}" not in files
        total = hashlib.sha256()
        for name in files:
            total.update(f"{name}\n".encode() + (web / name).read_bytes())
        head = (package / bundle).read_text().split("\n", 1)[0]
        assert f"of {len(files)} files, sha256 {total.hexdigest()}" in head, "run `npm run build` in web/"
    if (web / "node_modules" / "esbuild").is_dir() and shutil.which("node"):
        subprocess.run(["node", "build.js", "--check"], cwd=web, check=True)
