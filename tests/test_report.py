import json
import re

import numpy as np
import pandas as pd
import pytest
from conftest import instances_of
from PIL import Image

from segscope.images import encode_png
from segscope.insights import Insights
from segscope.masks import category_classes
from segscope.overlays import class_color, class_overlay, heat_overlay, thumbnail
from segscope.report import Findings, write_report

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def findings(tmp_path) -> Findings:
    """A run of two images whose every name tries to break out of its place."""
    ids = [1, 2]
    paths = []
    for i in ids:
        paths.append(str(tmp_path / f"{i}.png"))
        Image.new("RGB", (40, 30), (100, 50 * i, 0)).save(paths[-1])
    square = [[4, 4, 24, 4, 24, 24, 4, 24]]
    instances = instances_of([{"id": 7, "category_id": 1, "segmentation": square}], 30, 40).assign(image_id=1)
    predictions = pd.DataFrame({"image_id": ids, "split": "val", "loss": [0.5, 0.25], f"iou.{HOSTILE}": [0.5, np.nan]})
    predictions["mask"] = [encode_png(np.ones((8, 8), np.uint8))] * 2
    profile = {"cluster": 0, "name": HOSTILE, "size": 2, "inside": 1.0, "rest": 0.5, "lift": 2.0}
    profile |= {"recall": 0.4, "low": 0.1, "high": 0.2, "p_value": 0.001}
    profiles = pd.DataFrame([profile | {"kind": k, "feature": HOSTILE} for k in ("fact", "performance", "attention")])
    issue = {"image_id": 1, "split": "val", "annotation_id": 7, "kind": "mislabeled", "score": 0.9, "labelled": HOSTILE}
    issue |= {
        "labelled": HOSTILE,
        "suggested": "background",
        "evidence": f"background 90% under {HOSTILE}",
        "bbox": [10.0, 15.0, 20.0, 6.0],
    }
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
    insights = pd.DataFrame({"statement": [HOSTILE], "query": [f"`{HOSTILE}` >= 1"], "images": [2]})
    return Findings(
        title=HOSTILE,
        variant=HOSTILE,
        classes={HOSTILE: [HOSTILE]},
        class_of=category_classes({HOSTILE: [1]}),
        source="directory",
        samples=pd.DataFrame(
            {
                "image_id": ids,
                "brightness": 9.0,
                "share.background": 0.5,
                "n_instances": 1,
                "is_gray": [True, False],
                "dominant": ["</script>" + HOSTILE, "none"],
            }
        ),
        index=pd.DataFrame({"image_id": ids, "path": paths, "width": 40, "height": 30}),
        instances=instances.assign(image_id=1),
        predictions=predictions,
        label_issues=pd.DataFrame([issue]),
        embeddings=pd.DataFrame({"image_id": ids, "split": "val", "x": [0.0, 1.0], "y": [2.0, 3.0]}),
        clusters=pd.DataFrame({"image_id": ids, "cluster": [0, -1]}),
        profiles=profiles,
        heatmaps=pd.DataFrame({"cluster": [0], "image_id": [1], "score": [1.0], "attention": [np.arange(16.0)]}),
        supports=pd.DataFrame(supports | {"on": [[(HOSTILE, 0.9), ("unlabelled", 0.1)]]}),
        insights=Insights(pd.DataFrame(), insights, pd.DataFrame()),
        history=pd.DataFrame({"epoch": [1], "loss": [0.5], "val_loss": [0.6]}),
        confusion=pd.DataFrame({"actual": [HOSTILE], "predicted": [HOSTILE], "share": [1.0]}),
        confused={HOSTILE: {"statement": f"Pixels wrongly predicted as {HOSTILE} are: {HOSTILE} 90%."}},
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


def test_names_from_the_data_are_text_never_markup(findings, tmp_path):
    write_report(findings, tmp_path / "report", 4, 4, 64, "include")
    page = (tmp_path / "report" / "index.html").read_text()
    assert HOSTILE not in page
    assert page.count("</script>") == 3
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_the_report_shows_what_was_found(findings, tmp_path):
    shown = write_report(findings, tmp_path / "report", 4, 1, 64, "include")
    assert (shown["samples"], shown["clusters"], shown["worst_samples"], shown["suspects"]) == (2, 1, 1, 1)
    page = (tmp_path / "report" / "index.html").read_text()
    assert "left:25.0%;top:50.0%;width:50.0%;height:20.0%" in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))
    assert data["points"]["loss"] == [0.5, 0.25]
    assert data["points"]["cluster"] == [0, -1]
    assert "expected calibration error\n    0.100" in page
    assert "90%.</li>" in page
    assert re.search(r"2 · 64 pixels · support on\s+&lt;.* 90 %,\s+unlabelled 10 %", page)
    assert "agree by 0.75" in page
    assert "too few to" in page
    assert data["points"][f"iou.{HOSTILE}"] == [0.5, None]
    for name in re.findall(r'(?:src|data-attention)="([^"]+)"', page):
        assert (tmp_path / "report" / name).is_file()


def test_the_page_asks_nothing_of_the_network(findings, tmp_path):
    write_report(findings, tmp_path / "report", 4, 4, 64, "include")
    for name in ("index.html", "report.js", "style.css"):
        assert not re.search(r"https?://|//cdn", (tmp_path / "report" / name).read_text())


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
