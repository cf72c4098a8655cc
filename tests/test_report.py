import base64
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from browser import open_report
from conftest import instances_of
from PIL import Image

from segscope.exclusion import Exclusion, read_exclusion
from segscope.images import encode_png
from segscope.insights import Insights
from segscope.masks import category_classes
from segscope.overlays import class_color, class_overlay, heat_overlay, thumbnail
from segscope.params import Report
from segscope.report import Findings, write_report
from segscope.report_samples import Job, views

HOSTILE = "<img src=x onerror=alert(1)>"
OPTIONS = Report(title=HOSTILE, thumbnail=64)


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
    predictions["mask"] = [encode_png(np.ones((8, 8), np.uint8))] * 2
    predictions["loss_map"] = [encode_png(np.full((4, 4), 64, np.uint8))] * 2
    profile = {"cluster": 0, "name": HOSTILE, "size": 2, "inside": 1.0, "rest": 0.5, "lift": 2.0}
    profile |= {"recall": 0.4, "low": 0.1, "high": 0.2, "p_value": 0.001}
    profiles = pd.DataFrame([profile | {"kind": k, "feature": HOSTILE} for k in ("fact", "performance", "attention")])
    issue = {"image_id": 1, "split": "val", "annotation_id": 7, "kind": "mislabeled", "score": 0.9, "labelled": HOSTILE}
    issue |= {"suggested": "background", "evidence": f"background 90% under {HOSTILE}"}
    issues = pd.DataFrame([issue, issue | {"annotation_id": None, "kind": "missing"}])
    issues["bbox"] = [[10.0, 15.0, 20.0, 6.0]] * 2
    split = {
        "images": 2,
        "loss": 0.4,
        "pixel_accuracy": 0.9,
        "calibration": {"ece": 0.1, "ece_low": 0.05, "ece_high": 0.15, "confidence": 0.8, "accuracy": 0.9},
        "suspects": dict.fromkeys(("mislabeled", "ambiguous", "inaccurate", "missing"), 1),
    }
    for key in ("iou", "mean_iou"):
        split[key] = {HOSTILE: 0.5, f"{HOSTILE}_low": 0.4, f"{HOSTILE}_high": 0.6}
    embed = {"separability": None, "silhouette": None, "neighbor_purity": 0.5, "person_heavy": 1, "vehicle_heavy": 1}
    gray = {"gray": 0.5, "rest": 0.25, "low": None, "high": None, "p_value": None, "images": 1}
    supports = {"image_id": [2], "class": [HOSTILE], "pixels": [64], "score": [1.5], "constant": [0.5]}
    supports |= {"region": [encode_png(np.ones((8, 8), np.uint8))], "support": [np.arange(64.0)]}
    insights = {"kind": ["hard"], "statement": [HOSTILE], "query": [f"`{HOSTILE}` >= 1"], "images": [2]}
    bins = {"low": 0.0, "high": 9.0, "images": 2, "mean": 0.4, "mean_low": np.nan, "mean_high": np.nan}
    associations = pd.DataFrame({"column": ["brightness"], "metric": ["loss"], "bins": [[bins]]})
    return Findings(
        variant=HOSTILE,
        classes={HOSTILE: [HOSTILE]},
        class_of=category_classes({HOSTILE: [1]}),
        source="directory",
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
        label_issues=issues,
        embeddings=pd.DataFrame({"image_id": ids, "split": "val", "x": [0.0, 1.0], "y": [2.0, 3.0]}),
        neighbors=pd.DataFrame({"image_id": ids, "neighbor_id": ids[::-1]}),
        clusters=pd.DataFrame({"image_id": ids, "cluster": [0, -1]}),
        profiles=profiles,
        heatmaps=pd.DataFrame({"cluster": [0], "image_id": [1], "score": [1.0], "attention": [np.arange(16.0)]}),
        supports=pd.DataFrame(supports | {"on": [[(HOSTILE, 0.9), ("unlabelled", 0.1)]]}),
        insights=Insights(associations, pd.DataFrame(insights | {"explained": [0.5]}), [np.array(ids)], pd.DataFrame()),
        history=pd.DataFrame({"epoch": [1], "loss": [0.5], "val_loss": [0.6]}),
        confusion=pd.DataFrame({"actual": [HOSTILE], "predicted": [HOSTILE], "share": [1.0]}),
        confused={HOSTILE: {"statement": f"Pixels wrongly predicted as {HOSTILE} are: {HOSTILE} 90%."}},
        pairs=pd.DataFrame(
            {"predicted": [HOSTILE], "category": [HOSTILE], "pixels": [9], "share_of_category": [1.0], "split": ["val"]}
        ),
        metrics={
            "predict": {"train": split, "val": split},
            "embed": {"all": embed, "val": embed, "trustworthiness": 0.9},
            "cluster": {
                "unclustered_share": 0.5,
                "stability": {"seeds": 0.75, "subsamples": 0.625},
                "gray": {
                    "images": 1,
                    "grayscale_files": 1,
                    "gray_rgb_files": 0,
                    "loss_grayscale_against_rgb": gray,
                },
            },
        },
    )


@pytest.fixture
def report(findings, tmp_path):
    return write_report(findings, tmp_path / "report", OPTIONS, "include", 8), tmp_path / "report"


def test_names_from_the_data_are_text_never_markup(report):
    _, folder = report
    page = (folder / "index.html").read_text()
    assert HOSTILE not in page
    assert page.count("</script>") == 3
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert all("<" not in file.read_text() for file in (folder / "views").iterdir())


def test_the_report_shows_what_was_found(report):
    shown, folder = report
    assert (shown["samples"], shown["clusters"], shown["suspects"]) == (2, 1, 2)
    page = (folder / "index.html").read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))
    assert data["columns"]["loss"]["values"] == [0.5, 0.25]
    assert data["columns"]["cluster"]["values"] == [0, -1]
    assert data["columns"][f"iou.{HOSTILE}"]["values"] == [0.5, None]
    assert data["columns"]["heavy"]["values"] == ["person-heavy", "neither"]
    assert "share.background" not in data["columns"]  # the same for all
    assert data["neighbors"] == [[1], [0]]
    assert [issue["sample"] for issue in data["issues"]] == [0, 0]
    assert "expected calibration error\n    0.100" in page
    assert "agree by 0.75" in page
    assert "too few to" in page
    assert 'data-points="0 1"' in page
    for name in re.findall(r'src="([^"]+)"', page):
        assert (folder / name).is_file()


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
    assert read_exclusion(tmp_path / "exclude.yaml") == Exclusion(frozenset({1}), {1: frozenset({7})})


def test_views_are_pictures_of_what_they_say(tmp_path):
    Image.new("RGB", (80, 60), (200, 100, 50)).save(tmp_path / "a.png")
    labels = np.zeros((8, 8), np.uint8)
    labels[:, :4] = 1
    labels[0] = 255
    predicted = np.zeros((8, 8), np.uint8)
    predicted[:, 2:6] = 1
    job = Job(1, str(tmp_path / "a.png"), labels, encode_png(predicted), encode_png(np.full((4, 4), 255, np.uint8)), {})
    made = views(job, 40)

    def pixels(url: str) -> np.ndarray:
        kind, _, text = url.partition(";base64,")
        assert kind in ("data:image/jpeg", "data:image/png")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGBA"))

    assert pixels(made["photo"]).shape == (30, 40, 4)
    shown = pixels(made["labels"])
    assert shown[4, 0].tolist() == [0xE6, 0x9F, 0x00, 255]
    assert shown[4, 6, 3] == 0
    assert shown[0, 0].tolist() == [128, 128, 128, 255]
    errors = pixels(made["errors"])
    assert errors[4, 5].tolist() == [0x00, 0x72, 0xB2, 255]  # extra
    assert errors[4, 0].tolist() == [0xD5, 0x5E, 0x00, 255]  # missed
    assert errors[4, 2, 3] == errors[0, 0, 3] == 0  # right, and ignored
    assert pixels(made["loss"])[..., 3].min() == 255


def test_overlays():
    picture = Image.new("RGB", (40, 30), (100, 100, 100))
    classes = np.zeros((3, 4), np.uint8)
    classes[:, 2:] = 1
    painted = np.asarray(class_overlay(picture, classes, strength=1))
    assert (painted[:, :20] == 100).all()
    assert painted[0, 30].tolist() == [0xE6, 0x9F, 0x00]
    heat = np.asarray(heat_overlay(picture, np.where(classes, 1.0, -1.0)), dtype=int)
    assert heat[15, 35].sum() > heat[15, 5].sum()
    assert class_color(8) == class_color(1)


def test_thumbnails_keep_the_proportions(tmp_path):
    Image.new("L", (400, 300)).save(tmp_path / "a.png")
    small = thumbnail(tmp_path / "a.png", 160)
    assert (small.size, small.mode) == ((160, 120), "RGB")
