import base64
import io

import numpy as np
from PIL import Image

from segscope.artefacts.images import encode_png
from segscope.report.views import Job, views


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
