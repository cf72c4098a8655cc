"""How much of the machine untrusted input may ask for, in one place.

Each bound can be raised by an environment variable of its name, as SEGSCOPE_MAX_IMAGE_PIXELS=200000000: it changes no
result, and so is no parameter of a run.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


def _bound(name: str, default: int) -> int:
    text = os.environ.get(f"SEGSCOPE_{name}", str(default))
    if not text.isdecimal() or not int(text):
        raise SystemExit(f"error: SEGSCOPE_{name}={text} of the environment is not a whole number from 1 on")
    return int(text)


MAX_IMAGE_PIXELS = _bound("MAX_IMAGE_PIXELS", 2**26)  # 67 million; a file of a few kB may become gigabytes
MAX_IMAGE_SIDE = _bound("MAX_IMAGE_SIDE", 2**17)  # pixels; a thin one, scaled, takes its length times the new width
MAX_IMAGE_SCANS = _bound("MAX_IMAGE_SCANS", 100)  # of a progressive JPEG; one of few bytes is as much work as others
MAX_IMAGE_SEGMENTS = _bound("MAX_IMAGE_SEGMENTS", 10_000)  # of a JPEG, and bytes of filling between two
MAX_OUTLINE = _bound("MAX_OUTLINE", 2_000_000)  # pixels of an annotation's; pycocotools makes tens of bytes of each
MAX_REGIONS = _bound("MAX_REGIONS", 100_000)  # of a picture of labels; each becomes an annotation
MAX_TABLE_BYTES = _bound("MAX_TABLE_BYTES", 2**31)  # in memory, read by a process that takes 0.2 GB of it itself
MAX_TABLE_SECONDS = _bound("MAX_TABLE_SECONDS", 120)
MAX_USER_VALUES = _bound("MAX_USER_VALUES", 2**24)  # of data.metadata, rows times columns; each becomes an object
MAX_USER_COLUMNS = _bound("MAX_USER_COLUMNS", 200)  # of data.metadata; each is held against every score
MAX_LABEL_BYTES = _bound("MAX_LABEL_BYTES", 2**24)  # of a table of names, or of the text of one image's labels
MAX_YAML_BYTES = _bound("MAX_YAML_BYTES", 2**18)
MAX_YAML_VALUES = _bound("MAX_YAML_VALUES", 50_000)  # with aliases written out
MAX_LAYER_VALUES = _bound("MAX_LAYER_VALUES", 2**26)  # that a layer of a user's network gives of one image
MAX_PREDICTION_BYTES = _bound("MAX_PREDICTION_BYTES", 2**30)  # of one image's probabilities, unpacked
MAX_PICKLE_BYTES = _bound("MAX_PICKLE_BYTES", 2**22)  # without the tensors
MAX_PICKLE_MEMO = _bound("MAX_PICKLE_MEMO", 100_000)  # Python makes room for the highest number at once
MAX_PICKLE_CONTAINERS = _bound("MAX_PICKLE_CONTAINERS", 20_000)  # nested deeper they overflow the stack
MAX_MODEL_SECONDS = _bound("MAX_MODEL_SECONDS", 120)  # to look through a model's weights; a damaged file has no end
MAX_IMAGE_BYTES = _bound("MAX_IMAGE_BYTES", 2**26)  # of a download, as the following
MAX_ARCHIVE_BYTES = _bound("MAX_ARCHIVE_BYTES", 2**32)
MAX_ANNOTATION_BYTES = _bound("MAX_ANNOTATION_BYTES", 2**31)  # of a file in the archive; COCO's largest is 0.5 GB
MAX_IMAGE_SECONDS = _bound("MAX_IMAGE_SECONDS", 300)  # however slowly the bytes drip
MAX_ARCHIVE_SECONDS = _bound("MAX_ARCHIVE_SECONDS", 6 * 3600)
MAX_REDIRECTS = _bound("MAX_REDIRECTS", 5)


def read_within(path: Path | str, most: int) -> bytes:
    """The content of a regular file. Raises OSError if it is none, or larger: of a pipe or a device there is no end."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "it is no file", str(path))
        if (size := os.fstat(file.fileno()).st_size) > most:
            raise OSError(0, f"it is larger than {most} bytes", str(path))
        return file.read(size)
