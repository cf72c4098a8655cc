import numpy as np
import pandas as pd
import pytest
from small import CATEGORIES

from segscope.artefacts.measures import Measures, select_metrics
from segscope.artefacts.schemas import samples_schema
from segscope.errors import SegscopeError
from segscope.labels.metadata import PHOTOGRAPHY
from segscope.labels.totals import label_measures, require_enough, totals

GROUPS = [*CATEGORIES["name"], *(f"super.{name}" for name in CATEGORIES["supercategory"].unique())]


def samples_of(*images: dict[str, float]) -> pd.DataFrame:
    """Rows of samples.parquet: what is given of each image, and nothing else."""
    nothing = dict.fromkeys(samples_schema(CATEGORIES).names, 0) | dict.fromkeys(PHOTOGRAPHY, False)
    nothing |= {f"size.{group}": np.nan for group in GROUPS}
    rows = [nothing | {"image_id": i, "split": "val", "dominant": "none"} | image for i, image in enumerate(images)]
    return pd.DataFrame(rows)


PERSON = {"count.person": 2, "count.super.person": 2, "share.person": 0.3, "share.super.person": 0.3}
CROWD = {"crowd.bus": 1, "crowd.super.vehicle": 1, "share.bus": 0.5, "share.super.vehicle": 0.5}
IMAGES = samples_of(
    PERSON | {"n_instances": 2, "is_gray": True, "is_grayscale_file": True, "share.background": 0.7},
    CROWD | {"n_crowds": 1, "low_light": True, "share.background": 0.5},
    {"share.background": 1.0, "is_gray": True},
    {"share.background": 1.0},
)
SKIPPED = pd.DataFrame({"split": ["val", "val", "train"], "reason": ["excluded", "malformed", "malformed"]})


def found(samples: pd.DataFrame) -> Measures:
    return Measures(label_measures({"val": totals(samples)}, SKIPPED, CATEGORIES))


def test_images_are_counted_by_hand():
    counts = {
        "images": 4,
        "instances": 2,
        "crowds": 1,
        "gray": 2,
        "grayscale_files": 1,
        "low_light": 1,
        "without_annotation": 2,
        "skipped": 2,
        "skipped.excluded": 1,
        "skipped.malformed": 1,
        "count.person": 2,
        "count.super.person": 2,
    }
    assert {name: found(IMAGES).value(name, "val") for name in counts} == counts


def test_shares_are_means_over_all_images():
    shares = {"background": 3.2 / 4, "person": 0.3 / 4, "super.person": 0.3 / 4, "bus": 0.5 / 4}
    for name, share in shares.items():
        row = found(IMAGES).find(f"pixel_share.{name}", "val")
        assert row.value == pytest.approx(share)
        assert row.images == 4


def test_what_no_image_shows_is_absent():
    shown = found(IMAGES).table["measure"].tolist()
    assert not [name for name in shown if "dog" in name or "animal" in name]
    assert "count.bus" not in shown  # a crowd is no instance
    assert "pixel_share.bus" in shown


def test_totals_of_parts_add_up_to_those_of_the_whole():
    parts = totals(IMAGES[:1]) + totals(IMAGES[1:1]) + totals(IMAGES[1:])
    pd.testing.assert_frame_equal(
        found(IMAGES).table, Measures(label_measures({"val": parts}, SKIPPED, CATEGORIES)).table
    )


def test_each_split_has_its_own():
    of = {"train": totals(IMAGES[:1]), "val": totals(IMAGES)}
    table = label_measures(of, SKIPPED, CATEGORIES)
    assert select_metrics(table, "masks") == {
        "train": {"images": 1, "instances": 2, "skipped": 1},
        "val": {"images": 4, "instances": 2, "skipped": 2},
    }


def test_too_few_images_are_an_error():
    require_enough({"train": totals(IMAGES[:3]), "val": totals(IMAGES[:1])})
    with pytest.raises(SegscopeError, match="there are 3 images in all that can be used, and a run needs 4"):
        require_enough({"train": totals(IMAGES[:2]), "val": totals(IMAGES[:1])})
