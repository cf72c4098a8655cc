"""download: find or make the images, choose the subset, fetch the encoder's weights."""

import json
from pathlib import Path

import pandas as pd

from segscope import schemas, stage
from segscope.coco import CocoSplit, read_coco, resolve_categories, select_images
from segscope.encoder import fetch_encoder
from segscope.errors import SegscopeError
from segscope.files import atomic_path, sha256_of, write_json
from segscope.params import Params
from segscope.sources import SPLITS, draw_sample, open_source

DATA = Path("data")
NO_TRUTH = pd.DataFrame(columns=schemas.TRUTH.names)


def main(params: Params) -> None:
    encoder = fetch_encoder(params.model.encoder_weights, DATA / "weights")
    truth = NO_TRUTH
    with atomic_path(DATA / "sample") as folder:
        folder.mkdir()
        if params.data.source == "sample":
            truth = draw_sample(folder, params.data.sample_images.model_dump(), params.data.seed)
    source = open_source(params.data, DATA / "sample")
    parts, coco = [], {}
    for split in SPLITS:
        coco[split] = read_coco(source.annotation_file(split))
        wanted = [set(resolve_categories([name], coco[split].categories)) for name in params.data.contains]
        images = select_images(
            coco[split], wanted, params.data.match, getattr(params.data.max_images, split), params.data.seed
        )
        if images.empty:
            raise SegscopeError(f"no image of split {split} fits data.contains {params.data.contains}")
        source.fetch(split, images["file_name"])
        paths = source.image_folder(split).as_posix() + "/" + images["file_name"]
        parts.append(images.assign(split=split, path=paths, sha256=paths.map(sha256_of)))
    index = pd.concat(parts).drop(columns="file_name")
    check_splits(index, coco)
    write_annotations(index, coco)
    schemas.write_parquet(DATA / "truth.parquet", truth[truth["image_id"].isin(index["image_id"])], schemas.TRUTH)
    schemas.write_parquet(DATA / "categories.parquet", coco["train"].categories, schemas.CATEGORIES)
    schemas.write_parquet(DATA / "index.parquet", index, schemas.INDEX)
    write_json("metrics/download.json", metrics(index, coco) | {"encoder": encoder["kind"]})


def check_splits(index: pd.DataFrame, coco: dict[str, CocoSplit]) -> None:
    if not coco["train"].categories.equals(coco["val"].categories):
        raise SegscopeError("the splits' annotation files list different categories; they must be the same")
    repeated = index.loc[index["image_id"].duplicated(), "image_id"].tolist()
    if repeated:
        raise SegscopeError(f"image ids must be unique over the splits; in both: {repeated[:5]}")


def write_annotations(index: pd.DataFrame, coco: dict[str, CocoSplit]) -> None:
    """The chosen images' annotations as they came, one JSON list a split."""
    with atomic_path(DATA / "annotations") as folder:
        folder.mkdir()
        for split, images in index.groupby("split"):
            rows = [row for i in images["image_id"] for row in coco[split].annotations[i]]
            (folder / f"{split}.json").write_text(json.dumps(rows), encoding="utf-8")


def metrics(index: pd.DataFrame, coco: dict[str, CocoSplit]) -> dict[str, dict[str, int]]:
    return {
        split: {
            "images": len(images),
            "annotations": sum(len(coco[split].annotations[i]) for i in images["image_id"]),
            "images_in_source": len(coco[split].images),
        }
        for split, images in index.groupby("split")
    }


if __name__ == "__main__":
    stage.run(main)
