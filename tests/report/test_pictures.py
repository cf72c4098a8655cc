import base64
import io

import numpy as np
from PIL import Image

from segscope.artefacts.images import encode_png
from segscope.report.pictures import SHEET, Job, Sizes, crop, heat, layers, write_pictures


def levels(url: str) -> np.ndarray:
    kind, _, text = url.partition(";base64,")
    assert kind == "data:image/png"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_layers_are_the_levels_of_what_they_say():
    labels = np.array([[0, 1], [255, 2]], np.uint8)
    predicted = np.array([[1, 1], [0, 2]], np.uint8)
    made = layers(Job(1, "", labels, encode_png(predicted), encode_png(labels), [{"class": "car"}]))
    assert levels(made["labels"]).tolist() == labels.tolist()
    assert levels(made["predicted"]).tolist() == predicted.tolist()
    assert made["objects"] == [{"class": "car"}]


def test_heat_is_the_positive_part_the_greatest_white():
    assert levels(heat(np.array([-1.0, 0.0, 0.5, 2.0]))).tolist() == [[0, 0], [64, 255]]


def test_thumbnails_lie_in_sheets_in_the_jobs_order_and_photographs_beside_them(tmp_path):
    n = SHEET + 2
    for k in range(n):
        Image.new("RGB", (80, 60), (2 * k, 200 - k, 50)).save(tmp_path / f"{k}.png")
    empty = np.zeros((4, 4), np.uint8)
    png = encode_png(empty)
    jobs = [Job(k + 100, str(tmp_path / f"{k}.png"), empty, png, png, photograph=k > 0) for k in range(n)]
    write_pictures(jobs, n, tmp_path / "report", Sizes(32, 64, 90))
    first, second = (np.asarray(Image.open(tmp_path / "report" / "thumbs" / f"0000{k}.webp")) for k in (0, 1))
    assert first.shape == (256, 256, 3)
    for k, sheet, row, column in ((0, first, 0, 0), (9, first, 1, 1), (63, first, 7, 7), (65, second, 0, 1)):
        assert np.abs(sheet[32 * row + 12, 32 * column + 16].astype(int) - (2 * k, 200 - k, 50)).max() < 8
        assert sheet[32 * row + 28, 32 * column + 16].max() < 40  # 4 : 3, below it nothing
    with Image.open(tmp_path / "report" / "photos" / "101.webp") as photograph:
        assert photograph.size == (64, 48)
    assert not (tmp_path / "report" / "photos" / "100.webp").exists()
    scripts = sorted(file.name for file in (tmp_path / "report" / "layers").iterdir())
    assert scripts == ["00000.js", "00001.js"]


def test_a_crop_is_a_picture_and_its_outlines(tmp_path):
    Image.new("RGB", (200, 100), (200, 100, 50)).save(tmp_path / "a.png")
    labelled = np.zeros((100, 200), bool)
    labelled[40:60, 80:120] = True
    picture, outlines = crop(str(tmp_path / "a.png"), (80, 40, 40, 20), labelled, np.zeros((50, 50), bool), 400)
    # The box and 0.35 × 40 + 8 pixels on each side: 85 × 65.
    assert picture.size == (85, 65)
    assert outlines.size == (400, 306)
    seen = np.asarray(outlines)
    assert set(np.unique(seen)) == {0, 1, 3}  # nothing, the label's outline, its dark edge
    assert seen[153, 200] == 0  # inside
    rows, columns = np.nonzero(seen == 1)
    scale = 400 / 85
    assert np.allclose(
        [rows.min(), rows.max(), columns.min(), columns.max()], np.array([22, 42, 22, 62]) * scale, atol=6
    )
