"""What came of a stage, in one line of a run's log: the counts and figures that one looks at first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from segscope.artefacts.measures import Measures
from segscope.artefacts.skipped import SPLITS


def outcome(stage: str, found: Measures) -> str:
    """The line of a stage, by what it measured; what it did not measure is not in it."""
    return f"{stage}: {'; '.join(_PARTS[stage](found))}"


def _download(found: Measures) -> Iterator[str]:
    for split in SPLITS:
        images, all_images = found.value("images", split), found.value("images_in_source", split)
        yield f"{split} {images:.0f} of {all_images:.0f} images"


def _masks(found: Measures) -> Iterator[str]:
    for split in SPLITS:
        yield f"{split} {found.value('images', split):.0f} images, {found.value('instances', split):.0f} annotations"


def _train(found: Measures) -> Iterator[str]:
    if found.find("epochs"):
        yield f"the model of epoch {found.value('epoch'):.0f}, of {found.value('epochs'):.0f}"
    if found.find("objective", "val"):
        yield f"objective {found.value('objective', 'train'):.3f}, of val {found.value('objective', 'val'):.3f}"
    else:
        yield "nothing was trained; the model is the user's"


def _predict(found: Measures) -> Iterator[str]:
    if found.find("loss", "val"):
        yield f"val loss {found.value('loss', 'val'):.3f}"
    yield "IoU " + ", ".join(f"{name} {value:.3f}" for name, value in _of_kind(found, "iou", "val"))
    yield f"{sum(value for split in SPLITS for _, value in _of_kind(found, 'suspects', split)):.0f} suspect labels"


def _embed(found: Measures) -> Iterator[str]:
    yield f"{found.value('images', 'all'):.0f} images; trustworthiness of the map {found.value('trustworthiness'):.3f}"


def _cluster(found: Measures) -> Iterator[str]:
    none = f"{found.value('unclustered'):.0%} of the images in none, near copies being one"
    yield f"{found.value('clusters'):.0f} clusters, {none}"


def _report(found: Measures) -> Iterator[str]:
    yield f"{found.value('images'):.0f} images in reports/index.html"


_PARTS: Mapping[str, Callable[[Measures], Iterator[str]]] = {
    "download": _download,
    "masks": _masks,
    "train": _train,
    "predict": _predict,
    "embed": _embed,
    "cluster": _cluster,
    "report": _report,
}


def _of_kind(found: Measures, kind: str, split: str) -> Iterator[tuple[str, float]]:
    """Subject and value of the measures of a kind."""
    for row in found.table[found.table["split"] == split].itertuples():
        of, _, subject = row.measure.partition(".")
        if of == kind and subject:
            yield subject, row.value
