import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from segscope.artefacts.tables import read_parquet, write_parquet
from segscope.sources.duplicates import (
    BITS,
    DUPLICATES,
    VIEW_HASHES,
    WINDOWS,
    candidates,
    distance,
    find_copies,
    leave_out_copies,
    perceptual_hashes,
)
from segscope.sources.sample import draw_sample


def scene(seed: int, width: int = 240, height: int = 180) -> Image.Image:
    """A picture of our own with structures of all sizes: noise, magnified from 3 × 4 to 48 × 64."""
    rng = np.random.default_rng(seed)
    layers = [
        Image.fromarray(rng.integers(0, 256, (3 * n, 4 * n, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
        for n in (1, 2, 4, 8, 16)
    ]
    return Image.fromarray(np.mean([np.asarray(layer) for layer in layers], axis=0).astype(np.uint8))


def cropped(picture: Image.Image, left: float, top: float, share: float = 0.9) -> Image.Image:
    width, height = picture.size
    return picture.crop(
        (round(left * width), round(top * height), round((left + share) * width), round((top + share) * height))
    )


def table_of(files: list[tuple[str, Path]]) -> pd.DataFrame:
    """Images, numbered from 1, of (split, file)."""
    rows = [
        (n, split, file.as_posix(), file.name, hashlib.sha256(file.read_bytes()).hexdigest())
        for n, (split, file) in enumerate(files, start=1)
    ]
    return pd.DataFrame(rows, columns=["image_id", "split", "path", "file_name", "sha256"])


def saved(picture: Image.Image, file: Path, **options: int) -> Path:
    picture.save(file, **options)
    return file


def copies_of(images: pd.DataFrame, tmp_path: Path) -> pd.DataFrame:
    return find_copies(images, perceptual_hashes(images, tmp_path / "hashes.parquet"))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half": lambda p: p.resize((p.width // 2, p.height // 2), Image.LANCZOS),
    "twice": lambda p: p.resize((p.width * 2, p.height * 2), Image.BICUBIC),
    "mirror": ImageOps.mirror,
    "darker": lambda p: p.point(lambda v: 0.7 * v),
    "brighter": lambda p: p.point(lambda v: min(255, 1.3 * v)),
    "centre": lambda p: cropped(p, 0.05, 0.05),
    "corner": lambda p: cropped(p, 0.1, 0),
    "much": lambda p: cropped(ImageOps.mirror(p), 0, 0.1).point(lambda v: 0.7 * v).resize((120, 90)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_named(change, tmp_path):
    original = saved(scene(1), tmp_path / "a.png")
    changed = saved(CHANGES[change](scene(1)), tmp_path / "b.jpg", quality=50)
    other = saved(scene(2), tmp_path / "c.jpg")
    images = table_of([("train", original), ("val", changed), ("val", other)])
    copies = copies_of(images, tmp_path)
    assert copies[["image_id", "split", "other_id", "other_split", "kind"]].values.tolist() == [
        [2, "val", 1, "train", "near"]
    ]
    stay, out, left = leave_out_copies(images, copies)
    assert stay["image_id"].tolist() == [1, 3]
    assert out[["image_id", "other_id"]].values.tolist() == [[2, 1]]
    assert left[["split", "image_id", "file_name", "reason", "detail"]].values.tolist() == [
        ["val", 2, "b.jpg", "copy_in_earlier_split", "a copy of a.png of train"]
    ]


def test_a_copy_that_is_larger_than_the_earlier_image_is_found(tmp_path):
    part = saved(cropped(scene(1), 0, 0.1), tmp_path / "a.jpg")
    whole = saved(scene(1), tmp_path / "b.jpg")
    assert copies_of(table_of([("train", part), ("val", whole)]), tmp_path)["image_id"].tolist() == [2]


def test_renamed_copies_are_exact_and_each_paired_with_the_first(tmp_path):
    files = [("val", "z.png"), ("train", "x.png"), ("val", "y.png"), ("train", "w.png")]
    images = table_of([(split, saved(scene(1), tmp_path / name)) for split, name in files])
    copies = copies_of(images, tmp_path)
    assert copies["kind"].tolist() == ["exact"] * 3
    assert copies["distance"].tolist() == [0] * 3
    assert copies[["image_id", "other_id"]].values.tolist() == [[4, 2], [1, 2], [3, 2]]
    assert leave_out_copies(images, copies)[0]["image_id"].tolist() == [2, 4]
    write_parquet(tmp_path / "duplicates.parquet", copies, DUPLICATES)


def test_copies_within_a_split_stay(tmp_path):
    pictures = [scene(1), scene(2), ImageOps.mirror(scene(2)), scene(2)]
    files = [saved(picture, tmp_path / f"{n}.png") for n, picture in enumerate(pictures)]
    images = table_of(list(zip(["train", "val", "val", "val"], files, strict=True)))
    copies = copies_of(images, tmp_path)
    assert copies[["image_id", "other_id", "kind"]].values.tolist() == [[3, 2, "near"], [4, 2, "exact"], [4, 3, "near"]]
    stay, _, left = leave_out_copies(images, copies)
    assert stay.equals(images)
    assert left.empty


def test_the_same_place_with_something_moved_is_no_copy(tmp_path):
    moved = scene(1)
    stripes = np.kron([[90, 170] * 3], np.ones((40, 4))).astype(np.uint8)  # no coarse structure: hashes are blind to it
    moved.paste(Image.fromarray(stripes), (100, 60))
    files = [saved(scene(1), tmp_path / "a.png"), saved(moved, tmp_path / "b.png")]
    images = table_of(list(zip(["train", "val"], files, strict=True)))
    hashes = perceptual_hashes(images, tmp_path / "hashes.parquet")
    assert len(candidates(np.array(hashes.tolist(), dtype=np.uint64), np.array(["train", "val"]))) == 2
    assert find_copies(images, hashes).empty


def test_unreadable_and_blank_images_are_copies_by_their_bytes_only(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "again.jpg").write_bytes(b"no picture")
    blank = [saved(Image.new("RGB", (40, 30), colour), tmp_path / f"{colour}.png") for colour in ("red", "blue")]
    files = [tmp_path / "broken.jpg", *blank, tmp_path / "again.jpg"]
    images = table_of(list(zip(["train", "train", "val", "val"], files, strict=True)))
    assert copies_of(images, tmp_path)[["image_id", "other_id", "kind"]].values.tolist() == [[4, 1, "exact"]]


def test_hashes_are_remembered_by_the_files_bytes(tmp_path):
    files = [saved(scene(n), tmp_path / f"{n}.png") for n in (1, 2)]
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    images = table_of([("train", file) for file in [*files, tmp_path / "broken.jpg"]])
    hashes = perceptual_hashes(images, tmp_path / "hashes.parquet")
    assert list(hashes.index) == images["sha256"].tolist()
    assert hashes.iloc[2] is None
    remembered = read_parquet(tmp_path / "hashes.parquet", VIEW_HASHES)
    remembered.at[0, "hashes"] = np.zeros(1 + len(WINDOWS), np.uint64)
    write_parquet(tmp_path / "hashes.parquet", remembered, VIEW_HASHES)
    again = perceptual_hashes(images, tmp_path / "hashes.parquet")
    assert not np.any(again.iloc[0])
    assert list(again.iloc[1]) == list(hashes.iloc[1])
    (tmp_path / "hashes.parquet").write_bytes(b"damaged")
    assert perceptual_hashes(images, tmp_path / "hashes.parquet").iloc[0] == hashes.iloc[0]


def test_candidates_are_those_of_a_search_pair_by_pair():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, (5000, 1 + len(WINDOWS)), dtype=np.uint64)
    bits = sum(np.uint64(1) << np.uint64(6 * n) for n in range(BITS + 1))
    hashes[4500, 4] = hashes[3, 1] ^ np.uint64(bits & ~np.uint64(1))  # BITS bits of a whole picture
    hashes[7, 2] = hashes[4999, 0] ^ np.uint64(1)  # one bit, mirrored
    hashes[8, 2] = hashes[9, 1] ^ bits  # BITS + 1
    found = candidates(hashes, np.array(["train"] * 2500 + ["val"] * 2500))
    rows = set(found.itertuples(index=False, name=None))
    assert {(3, 4500, 3, False, BITS), (4999, 7, 1, True, 1)} <= rows
    for whole, other, window, mirrored, bits in rows:
        assert bits == bin(hashes[whole, 1 - mirrored] ^ hashes[other, 1 + window]).count("1") <= BITS
    assert (9, 8) not in {row[:2] for row in rows}


def test_many_candidates_of_one_split_hide_none_of_another():
    hashes = np.full((30, 1 + len(WINDOWS)), 5, np.uint64)
    found = candidates(hashes, np.array(["train"] * 20 + ["val"] * 10))
    assert (found.groupby("whole").size() == 16).all()


def test_the_distance_is_0_of_the_same_and_1_of_the_opposite():
    picture = np.asarray(scene(1).convert("L").resize((128, 128)))
    assert distance(picture, picture, WINDOWS[0]) == pytest.approx(0, abs=1e-6)
    assert distance(picture, 255 - picture, WINDOWS[0]) == 1
    assert distance(picture, np.full_like(picture, 9), WINDOWS[0]) == 1


def test_drawn_scenes_are_no_copies(tmp_path):
    draw_sample(tmp_path / "sample", {"train": 60, "val": 30}, seed=0)
    files = sorted((tmp_path / "sample").rglob("*.jpg"))
    images = table_of([("val" if "val" in file.parent.name else "train", file) for file in files])
    assert len(images) == 90
    assert copies_of(images, tmp_path).empty


def test_different_photographs_are_no_copies_and_changed_ones_are(coco_mini, tmp_path):
    files = [("train", file) for file in sorted((coco_mini / "train2017").glob("*.jpg"))[:100]]
    files += [("val", file) for file in sorted((coco_mini / "val2017").glob("*.jpg"))[:100]]
    images = table_of(files)
    assert copies_of(images, tmp_path).empty
    changed = []
    for n, (_, file) in enumerate(files[:24]):
        change = list(CHANGES.values())[n % len(CHANGES)]
        changed.append(("val", saved(change(Image.open(file).convert("RGB")), tmp_path / f"{n}.jpg", quality=30)))
    copies = copies_of(table_of(files + changed), tmp_path)
    assert set(zip(copies["image_id"], copies["other_id"], strict=True)) <= {(201 + n, 1 + n) for n in range(24)}
    assert len(copies) >= 23
