"""Copies among images: of the same bytes, or re-encoded, scaled, mirrored, brightened or cropped a little.

Near copies are looked for by perceptual hashes and confirmed by a second look at the pictures (docs/duplicates.md).
Letters: N images, V views of an image (its mirror image, then each of WINDOWS), a grey thumbnail is S × S pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pandas as pd
from joblib import delayed
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_filter
from tqdm import tqdm

from segscope.artefacts.images import open_image
from segscope.artefacts.parallel import workers
from segscope.artefacts.schemas import DUPLICATES, VIEW_HASHES
from segscope.artefacts.skipped import SPLITS
from segscope.artefacts.tables import read_parquet, write_parquet
from segscope.errors import SegscopeError
from segscope.sources.subset import leave_out

# Left, top, width, height as shares of the picture: all of it, and 90 % of its sides at the centre, corners and edges.
WINDOWS = [(0.0, 0.0, 1.0, 1.0), *((left, top, 0.9, 0.9) for left, top in product((0.0, 0.05, 0.1), repeat=2))]
SIDE = 128  # S
BITS = 10  # of 64: in no more do the hashes of copies differ
NEAREST = 8  # candidates of an image in each split
BLOCK = 128, 4096  # hashes compared at a time: they fit a processor's cache
ALIGNED = 32  # samples on a side that are aligned
STEPS = 12  # of the alignment, at most
STEP = 0.03  # of the side, at most, in one of them
STILL = 0.0005  # of the side: a smaller step is the last
FINE, COARSE = 1.2, 2.4  # pixels: the details of a thumbnail are of sizes between
PART = 16  # pixels on a side of the parts of a thumbnail that are compared
EVEN = 3.0  # of the mean energy of details: parts with less count less
DISTANCE = 0.13  # copies are no further apart


def find_copies(images: pd.DataFrame, hashes: pd.Series) -> pd.DataFrame:
    """The pairs of images that are copies, as rows of duplicates.parquet; the pictures of those that may be are read.

    images: image_id, split, path, sha256. hashes: `perceptual_hashes` of them, by sha256. Of images of the same bytes
    each is paired with the first only.
    """
    images = images.sort_values(["split", "image_id"], key=_in_order, ignore_index=True)
    sums = images["sha256"]
    first = sums.groupby(sums).transform(lambda same: same.index[0])
    exact = pd.DataFrame({"later": images.index, "earlier": first, "kind": "exact", "distance": 0.0})
    seen = sums.map(hashes).dropna()
    found = candidates(np.array(seen.tolist(), dtype=np.uint64), images.loc[seen.index, "split"].to_numpy())
    found[["whole", "other"]] = seen.index.to_numpy()[found[["whole", "other"]]]
    found = found[sums[found["whole"]].to_numpy() != sums[found["other"]].to_numpy()]
    paths = images["path"].to_numpy()
    jobs = list(zip(paths[found["whole"]], paths[found["other"]], found["window"], found["mirrored"], strict=True))
    near = pd.DataFrame(
        {
            "later": found[["whole", "other"]].max(axis=1),
            "earlier": found[["whole", "other"]].min(axis=1),
            "kind": "near",
            "distance": _on_all_cores(_file_distance, jobs, "possible copies"),
        }
    )
    near = near[near["distance"] <= DISTANCE].sort_values("distance").drop_duplicates(["later", "earlier"])
    pairs = pd.concat([exact[exact["later"] != exact["earlier"]], near]).sort_values(["later", "earlier"])
    later, earlier = (images.loc[pairs[side], ["image_id", "split"]].to_numpy() for side in ("later", "earlier"))
    pairs = pairs.assign(image_id=later[:, 0], split=later[:, 1], other_id=earlier[:, 0], other_split=earlier[:, 1])
    return pairs[DUPLICATES.names].astype({"image_id": "int64", "other_id": "int64"}).reset_index(drop=True)


def leave_out_copies(images: pd.DataFrame, duplicates: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Take the images out of which an earlier split has a copy: measured there, they would flatter the model.

    images: image_id, split, file_name. duplicates: rows of duplicates.parquet. Returns the images that stay, the copies
    with other_id, of the nearest in an earlier split; and these as rows of skipped.parquet.
    """
    across = duplicates[duplicates["split"] != duplicates["other_split"]]
    across = across.sort_values(["distance", "other_id"], kind="stable").drop_duplicates("image_id")
    nearest = images["image_id"].map(across.set_index("image_id")["other_id"].astype("Int64"))
    out = nearest.notna().to_numpy()
    ids = nearest[out].to_numpy(np.int64)
    others = images.set_index("image_id").loc[ids, ["split", "file_name"]]
    detail = ("a copy of " + others["file_name"] + " of " + others["split"]).set_axis(images.index[out])
    stay, skipped = leave_out(images, pd.Series(out, images.index), "copy_in_earlier_split", detail)
    copies = images[out].assign(other_id=ids)
    return stay, copies, skipped


def perceptual_hashes(images: pd.DataFrame, file: Path) -> pd.Series:
    """`file_hashes` of images (path, sha256) by sha256, made on all cores; `file` remembers them."""
    try:
        known = read_parquet(file, VIEW_HASHES).set_index("sha256")["hashes"]
    except SegscopeError:
        known = pd.Series(dtype=object)
    wanted = images.drop_duplicates("sha256").set_index("sha256")["path"]
    unknown = wanted[~wanted.index.isin(known.index)]
    made = _on_all_cores(file_hashes, [(path,) for path in unknown], "perceptual hashes")
    fresh = pd.Series(made, unknown.index, dtype=object)
    hashes = pd.concat([known[known.index.isin(wanted.index)], fresh]).reindex(wanted.index)
    write_parquet(file, hashes.rename_axis("sha256").rename("hashes").reset_index(), VIEW_HASHES)
    return hashes


def file_hashes(path: str) -> list[int] | None:
    """`view_hashes` of an image file; None if it cannot be read, or is of one grey all over."""
    try:
        picture = _thumbnail(path)
    except SegscopeError:
        return None
    return view_hashes(picture) if np.ptp(np.asarray(picture)) else None


def view_hashes(picture: Image.Image) -> list[int]:
    """64-bit pHashes of a square picture's V views.

    Zauner, Implementation and benchmarking of perceptual image hash functions, 2010, as imagehash has it.
    """
    boxes = np.rint([(x, y, x + width, y + height) for x, y, width, height in WINDOWS] * np.array(picture.width))
    views = [ImageOps.mirror(picture), *(picture.crop(tuple(box)) for box in boxes.astype(int))]
    return [int(str(imagehash.phash(view)), 16) for view in views]


def candidates(hashes: np.ndarray, splits: np.ndarray) -> pd.DataFrame:
    """Which images, whole or mirrored, hash like a window of which others; at most NEAREST of each split.

    hashes: uint64 N × V, of `view_hashes`. splits: str[N].
    Columns: whole, other (positions), window, mirrored, bits (of difference, at most BITS).
    """
    hashes = np.asfortranarray(hashes)  # a window's are compared at a time
    starts = range(0, len(hashes), BLOCK[0])
    return pd.concat([_empty(), *workers()(delayed(_nearest)(hashes, splits, start) for start in starts)])


def _nearest(hashes: np.ndarray, splits: np.ndarray, start: int) -> pd.DataFrame:
    best = _empty()
    block = hashes[start : start + BLOCK[0]]
    for first in range(0, len(hashes), BLOCK[1]):
        tables = [best]
        for mirrored, window in product((0, 1), range(len(WINDOWS))):
            whole = block[:, 1 - mirrored, None]
            bits = np.bitwise_count(whole ^ hashes[first : first + BLOCK[1], 1 + window])
            row, column = np.divmod(np.flatnonzero(bits <= BITS), bits.shape[1])
            if len(row):
                found = {"whole": row + start, "other": column + first, "window": window, "mirrored": bool(mirrored)}
                tables.append(pd.DataFrame(found | {"bits": bits[row, column]}))
        # At once, for of frames of one camera all are like all others.
        table = pd.concat(tables).query("whole != other").sort_values(["whole", "bits", "other", "mirrored", "window"])
        table = table.drop_duplicates(["whole", "other"])
        best = table.groupby(["whole", splits[table["other"]]]).head(NEAREST)
    return best


def _empty() -> pd.DataFrame:
    types = {"whole": "int64", "other": "int64", "window": "int64", "mirrored": "bool", "bits": "uint8"}
    return pd.DataFrame(columns=list(types)).astype(types)


def distance(whole: np.ndarray, other: np.ndarray, window: Sequence[float]) -> float:
    """How much a picture differs from what another shows in, or near, a window: 0 (the same) … 1 (unlike).

    whole, other: grey thumbnails, S × S. window: left, top, width, height as shares of the side. It is moved and scaled
    until it fits, brightness and contrast with it (Lucas and Kanade, An iterative image registration technique with an
    application to stereo vision, 1981). Then the details are compared, as a whole and part by part: where something
    moved, one part tells.
    """
    target, smooth = (gaussian_filter(picture.astype(np.float32), FINE) for picture in (whole, other))
    layers = np.stack([smooth, *np.gradient(smooth)[::-1]])
    place = np.array(window, dtype=float)
    x = _centres(ALIGNED)
    wanted = _seen(target[None], np.array((0, 0, 1, 1)), x)[0].ravel()
    for _ in range(STEPS):
        seen, right, down = _seen(layers, place, x)
        terms = np.stack([right, down, right * x, down * x[:, None], seen, np.ones_like(seen)]).reshape(6, -1)
        fitted = np.linalg.lstsq(terms @ terms.T, terms @ wanted, rcond=None)[0]
        if fitted[4] <= 0:
            return 1.0
        step = np.clip(fitted[:4] / fitted[4] / len(whole), -STEP, STEP)
        place += step
        if abs(step).max() < STILL:
            break
    return _difference(_details(target), _details(_seen(layers[:1], place, _centres(len(whole)))[0]))


def _centres(n: int) -> np.ndarray:
    """The middles of n equal parts of 0 … 1."""
    return (np.arange(n) + 0.5) / n


def _seen(layers: np.ndarray, place: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Layers (L × S × S) interpolated at the shares x of a place's width and height: L × len(x) × len(x)."""
    left, top, width, height = place
    rows, columns = (_sampler(start + share * x, layers.shape[1]) for start, share in ((top, height), (left, width)))
    return rows @ layers @ columns.T


def _sampler(at: np.ndarray, side: int) -> np.ndarray:
    """The matrix that interpolates S samples linearly at places of 0 … 1; beyond the border lies the last sample."""
    position = np.clip(at * side - 0.5, 0, side - 1)
    return np.clip(1 - np.abs(position[:, None] - np.arange(side)), 0, None).astype(np.float32)


def _details(picture: np.ndarray) -> np.ndarray:
    """The picture without its coarse structures, of mean square 1."""
    details = picture - gaussian_filter(picture, COARSE)
    return details / max(np.sqrt((details**2).mean()), 1e-6)


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    """1 − the correlation of details, or what a part alone differs by if that is more."""
    parts = len(a) // PART
    different, in_a, in_b = (
        square.reshape(parts, PART, parts, PART).mean(axis=(1, 3)) for square in ((a - b) ** 2, a**2, b**2)
    )
    return float(np.clip(max(1 - (a * b).mean(), (different / (in_a + in_b + 2 * EVEN)).max()), 0, 1))


def _file_distance(whole: str, other: str, window: int, mirrored: bool) -> float:
    picture = np.asarray(_thumbnail(whole))
    return distance(picture[:, ::-1] if mirrored else picture, np.asarray(_thumbnail(other)), WINDOWS[window])


@lru_cache(maxsize=64)  # an image's candidates follow one another
def _thumbnail(path: str) -> Image.Image:
    """A picture's luminance. Raises SegscopeError if it cannot be read."""
    return open_image(path).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def _on_all_cores(function: Callable[..., Any], jobs: Sequence[tuple], label: str) -> list:
    made = workers()(delayed(function)(*job) for job in jobs)
    return list(tqdm(made, total=len(jobs), desc=label, unit="image", disable=None))


def _in_order(column: pd.Series) -> pd.Series:
    return column.map(SPLITS.index) if column.name == "split" else column
