import numpy as np
from PIL import Image

from segscope.artefacts.overlays import class_color, class_overlay, heat_overlay, thumbnail


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
