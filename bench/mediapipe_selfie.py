"""Predictions of a model that was not made here: MediaPipe's selfie segmentation, which its wheel ships.

In an environment of its own (`pip install mediapipe==0.10.21 pillow`):

    python bench/mediapipe_selfie.py COCO OUT

COCO: a folder whose images are anywhere below it. OUT: gets an NPZ of the probability of a person for each, at the
image's own size: float16 H × W. docs/other-models.md has the rest.
"""

import sys
from pathlib import Path

import mediapipe as mp
import numpy as np
from PIL import Image

GENERAL = 0  # of the two models the one for any picture: 256 × 256 pixels


def main(source: Path, out: Path) -> None:
    """Write the predictions of all images."""
    images = sorted(source.rglob("*.jpg"))
    with mp.solutions.selfie_segmentation.SelfieSegmentation(model_selection=GENERAL) as model:
        for path in images:
            file = out / path.relative_to(source).with_suffix(".npz")
            file.parent.mkdir(parents=True, exist_ok=True)
            model.reset()  # or it would carry over what it saw in the image before
            person = model.process(np.asarray(Image.open(path).convert("RGB"))).segmentation_mask
            np.savez_compressed(file, person=np.clip(person, 0, 1).astype(np.float16))
    print(f"{len(images)} predictions in {out}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
