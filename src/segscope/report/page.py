"""The report: a folder with index.html that opens from disk, with no server and no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from segscope.artefacts.images import decode_png
from segscope.artefacts.measures import Measure
from segscope.labels.masks import compose_mask
from segscope.report.columns import packed, write_columns, write_names, write_rows
from segscope.report.content import cluster_map, folder_of, listing, places, points_of, run_content, support_map
from segscope.report.findings import Findings
from segscope.report.html import template, write_assets, write_script
from segscope.report.objects import cells, described, listed
from segscope.report.pictures import SHEET, Job, Sizes, crop, frame_around, heat, webp, write_pictures
from segscope.suspects.find import KINDS
from segscope.suspects.ranking import first_of_groups

_ISSUES_LISTED = 2000  # of a run, the highest scores: those that a sample's page names
_HARDEST = 200  # val images that have a photograph whatever their number
_OBJECT = ["object_id", "class", "category", "size", "outcome", "became", "box"]  # what the script has of each
_CROP = 640  # pixels, a suspect's longer side


def write_report(findings: Findings, folder: Path) -> list[Measure]:
    """Write the report into `folder`. Returns how much it shows."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = _Labels(findings)
    objects = described(findings.objects, findings.index, findings.taxonomy)
    judged = objects[(objects["split"] == "val") & ~objects["crowd"]]
    points, counts, shown = points_of(findings), cells(judged), listed(judged)
    suspects = _suspects(findings, labels, objects, folder)
    options = findings.params.report
    sizes = Sizes(options.thumbnail, options.photograph, options.quality)
    write_pictures(_jobs(findings, labels, points, objects, suspects, shown), len(points), folder, sizes)
    _write_maps(findings, folder)
    columns = write_columns(points, findings.scores.columns, findings.samples.columns, folder)
    data = findings.params.data
    write_rows(points, [column["name"] for column in columns], folder)
    write_names(findings.index, points["image_id"], data.root if data.source == "directory" else "", folder)
    at = places(points)
    content = run_content(findings, points, counts)
    write_script(
        folder,
        "data/run",
        content | {"columns": columns, "reviewed": len(suspects), "sheet": SHEET, "thumbnail": options.thumbnail},
    )
    write_script(folder, "data/suspects", {"shown": suspects, "all": _issues(findings, at)})
    own = shown[shown["image_id"].isin(at)]
    rows = own[_OBJECT].assign(sample=own["image_id"].map(at))
    write_script(folder, "data/objects", {"rows": listing(rows), "counts": listing(counts)})
    bins = {f"{row.column}|{row.metric}": list(row.bins) for row in findings.associations.itertuples()}
    write_script(folder, "data/bins", bins)
    write_script(folder, "data/neighbors", _neighbors(findings, at))
    write_assets(folder, "assets/report.js")
    page = template("assets/index.html.j2").render(
        title=options.title,
        folder=folder_of(data),
        variant=findings.params.variant,
        source=data.source,
        script="report.js",
    )
    (folder / "index.html").write_text(page, encoding="utf-8")
    made = {"images": len(points), "clusters": len(content["clusters"]), "suspects": len(suspects)}
    return [Measure(name, n) for name, n in made.items()]


class _Labels:
    """The labels of images as class masks, at any size."""

    def __init__(self, findings: Findings):
        self._crowd, self._class_of = findings.params.masks.crowd, findings.taxonomy.class_of_id
        self._size = findings.index.set_index("image_id")[["height", "width"]]
        self._instances = dict(list(findings.instances.groupby("image_id")))
        self._none = findings.instances[:0]

    def classes(self, image_id: int, size: int | None = None) -> np.ndarray:
        """uint8 of the image's own height and width, or size × size."""
        height, width = self._size.loc[image_id]
        table = self._instances.get(image_id, self._none)
        return self._class_of[compose_mask(table, height, width, self._crowd, size)]


def _jobs(
    findings: Findings,
    labels: _Labels,
    points: pd.DataFrame,
    objects: pd.DataFrame,
    suspects: list[dict[str, Any]],
    shown: pd.DataFrame,
) -> Iterator[Job]:
    """The pictures' jobs, in the order of the points' slots. objects, shown: of `described`."""
    paths = findings.index.set_index("image_id")["path"]
    predicted = findings.predictions.set_index("image_id")
    own = {i: rows[_OBJECT].to_dict("records") for i, rows in objects.groupby("image_id")}
    kept, exif = _photographed(findings, points, suspects, shown), findings.params.data.exif
    for i in points.sort_values("slot")["image_id"].tolist():
        row = predicted.loc[i]
        classes = labels.classes(i, findings.params.data.image_size)
        yield Job(i, paths[i], classes, row["mask"], row["loss_map"], own.get(i, []), i in kept, exif)


def _photographed(
    findings: Findings, points: pd.DataFrame, suspects: list[dict[str, Any]], shown: pd.DataFrame
) -> set[int]:
    """The images with a photograph in the report: all, or, of too many, those that it says something of."""
    if len(points) <= findings.params.report.photographs:
        return set(points["image_id"])
    hardest = points[points["split"] == "val"].nlargest(_HARDEST, "loss")["image_id"]
    tables = (findings.heatmaps, findings.supports, shown)
    named = set(hardest).union({each["image_id"] for each in suspects}, *(table["image_id"] for table in tables))
    near = findings.neighbors[findings.neighbors["image_id"].isin(hardest)]
    return named | set(near["neighbor_id"])


def _write_maps(findings: Findings, folder: Path) -> None:
    """Write the attention maps of each cluster, and the supports of each class, as scripts."""
    for cluster, rows in findings.heatmaps.groupby("cluster"):
        maps = {row.image_id: heat(row.attention) for row in rows.itertuples()}
        write_script(folder, cluster_map(int(cluster)), maps)
    for name, rows in findings.supports.groupby("class"):
        maps = {row.image_id: heat(row.support) for row in rows.itertuples()}
        write_script(folder, support_map(findings.taxonomy.class_names.index(name)), maps)


def _suspects(findings: Findings, labels: _Labels, objects: pd.DataFrame, folder: Path) -> list[dict[str, Any]]:
    """Of each kind the highest suspects, one of near copies, with pictures of their surroundings; highest first.

    objects: of `described`.
    """
    (folder / "crops").mkdir(exist_ok=True)
    options = findings.params.report
    fates = objects.set_index("object_id")[["outcome", "became"]].to_dict("index")
    issues = first_of_groups(findings.label_issues, findings.groups)
    chosen = pd.concat([issues[issues["kind"] == kind].head(options.suspects) for kind in KINDS])
    files = findings.index.set_index("image_id")[["path", "width", "height"]]
    masks = findings.predictions.set_index("image_id")["mask"]
    names = findings.taxonomy.class_names
    cards = []
    for number, row in enumerate(chosen.sort_values("score", ascending=False, kind="stable").itertuples()):
        path, width, height = files.loc[row.image_id]
        own, suggested = names.index(row.labelled), names.index(row.suggested)
        labelled = labels.classes(row.image_id) == (own or suggested)
        predicted = decode_png(masks[row.image_id]) == (suggested or own)
        picture, outlines = crop(path, row.bbox, labelled, predicted, _CROP, findings.params.data.exif)
        (folder / "crops" / f"{number}.webp").write_bytes(webp(picture, options.quality))
        outlines.save(folder / "crops" / f"{number}.png", transparency=outlines.info["transparency"])
        left, top, right, bottom = frame_around(row.bbox, width, height)
        cards.append(
            _issue(row)
            | {
                "image_id": row.image_id,
                "split": row.split,
                "box": _shares(row.bbox, width, height),
                "frame": _shares((left, top, right - left, bottom - top), width, height),
                **fates.get(row.object_id, {}),
            }
        )
    return cards


def _issue(row: Any) -> dict[str, Any]:
    """What is said of a suspect wherever it is named."""
    return {
        "row": int(row.Index),  # its own name: two of an image may have all else in common
        "annotation_id": None if pd.isna(row.annotation_id) else int(row.annotation_id),
        "object_id": None if pd.isna(row.object_id) else int(row.object_id),
        **{key: getattr(row, key) for key in ("kind", "score", "labelled", "suggested", "evidence")},
        **{key: getattr(row, key, None) for key in ("probability", "depth")},
    }


def _shares(box: Any, width: int, height: int) -> list[float]:
    """A box as shares of its image."""
    return (np.asarray(box, float) / (width, height, width, height)).round(4).tolist()


def _issues(findings: Findings, at: Mapping[int, int]) -> list[dict[str, Any]]:
    """What a sample's page names."""
    issues = findings.label_issues.nlargest(_ISSUES_LISTED, "score")
    return [{"sample": at[row.image_id]} | _issue(row) for row in issues.itertuples() if row.image_id in at]


def _neighbors(findings: Findings, at: Mapping[int, int]) -> dict[str, Any]:
    """The places of each image's nearest, -1 where there are fewer."""
    table = findings.neighbors[findings.neighbors["neighbor_id"].isin(at) & findings.neighbors["image_id"].isin(at)]
    rank = table.groupby("image_id").cumcount().to_numpy()
    most = int(rank.max(initial=-1)) + 1
    near = np.full((len(at), most), -1, np.int32)
    near[table["image_id"].map(at).to_numpy(int), rank] = table["neighbor_id"].map(at).to_numpy(np.int32)
    return {"each": most, **packed(near.ravel())}
