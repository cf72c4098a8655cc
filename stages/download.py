"""download: find or make the images, choose the subset, fetch what is missing, and the encoder's weights."""

import os
from pathlib import Path

import pandas as pd

from segscope import schemas, stage
from segscope.coco import CocoSplit, read_coco
from segscope.encoder import fetch_encoder
from segscope.errors import SegscopeError
from segscope.files import atomic_folder, write_json
from segscope.inventory import checksums
from segscope.params import Params
from segscope.sources import SPLITS, Directory, Source, draw_sample, open_source, read_truth
from segscope.subset import choose, common_categories, in_earlier_split, leave_out, of_images, separate_ids

DATA = Path("data")


def main(params: Params) -> None:
    data = params.data
    encoder = fetch_encoder(params.model.encoder_weights, DATA / "weights")
    with atomic_folder(DATA / "sample") as folder:
        if data.source == "sample":
            truth = draw_sample(folder, data.sample_images.model_dump(), data.seed)
            schemas.write_parquet(folder / "truth.parquet", truth, schemas.TRUTH)
    source = open_source(data, DATA / "sample")
    truth = read_truth(source.root) if isinstance(source, Directory) else schemas.TRUTH.empty_table().to_pandas()
    coco = separate_ids({split: read_coco(source.annotation_file(split)) for split in SPLITS})
    categories = common_categories(coco)
    images = choose(coco, data.contains, data.match, data.max_images.model_dump(), data.seed)
    images["path"] = [source.image_path(*row).as_posix() for row in images[["split", "file_name"]].values]
    images, shared = leave_out(images, in_earlier_split(images), "in_earlier_split", "an earlier split has this file")
    images, missing = fetch(source, images, data.max_missing)
    skipped = pd.concat([split.skipped.assign(split=name) for name, split in coco.items()] + [shared, missing])
    for split in set(SPLITS) - set(images["split"]):
        reasons = stage.count_skipped(skipped[skipped["split"] == split])
        raise SegscopeError(f"no image of split {split} is left: {reasons}")
    sums = checksums(images["path"].drop_duplicates().tolist(), Path(data.cache_dir) / "checksums.parquet")
    index = images.assign(sha256=images["path"].map(sums)).drop(columns="file_name")
    annotations = pd.concat([split.annotations for split in coco.values()])
    annotations = annotations[annotations["image_id"].isin(index["image_id"])]
    annotations = annotations.sort_values(["image_id", "annotation_id"])
    annotations["segmentation"] = annotations["segmentation"].map(bytes)
    schemas.write_parquet(DATA / "truth.parquet", of_images(truth, index), schemas.TRUTH)
    schemas.write_parquet(DATA / "categories.parquet", categories, schemas.CATEGORIES)
    schemas.write_parquet(DATA / "annotations.parquet", annotations, schemas.ANNOTATIONS)
    schemas.write_parquet(DATA / "skipped.parquet", skipped, schemas.SKIPPED)
    schemas.write_parquet(DATA / "index.parquet", index, schemas.INDEX)
    stage.say_skipped(skipped, "data/skipped.parquet")
    found = {split: metrics(split, coco[split], index, annotations, skipped) for split in SPLITS}
    write_json("metrics/download.json", found | {"encoder": encoder["kind"]})


def fetch(source: Source, images: pd.DataFrame, max_missing: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images that are on disk, and the rest as skipped. Raises SegscopeError if too many are missing."""
    allowed = int(max_missing * len(images))
    why = source.fetch(images, allowed)
    if len(why) > allowed:
        named = "\n  ".join(f"{path}: {reason}" for path, reason in sorted(why.items())[:20])
        raise SegscopeError(
            f"of {len(images)} images {len(why)} are missing, more than data.max_missing ({max_missing:.2%}) allows:"
            f"\n  {named}" + ("\n  …" if len(why) > 20 else "")
        )
    return leave_out(images, images["path"].isin(why), "missing_file", images["path"].map(why))


def metrics(
    split: str,
    coco: CocoSplit,
    index: pd.DataFrame,
    annotations: pd.DataFrame,
    skipped: pd.DataFrame,
) -> dict:
    images, skipped = index[index["split"] == split], skipped[skipped["split"] == split]
    missing = skipped.loc[skipped["reason"] == "missing_file", "file_name"].tolist()
    return {
        "images": len(images),
        "annotations": int(annotations["image_id"].isin(images["image_id"]).sum()),
        "images_in_source": len(coco.images),
        "bytes": sum(os.path.getsize(path) for path in images["path"]),
        "missing": len(missing),
        **({"missing_files": missing} if missing else {}),
        "skipped": stage.count_skipped(skipped),
    }


if __name__ == "__main__":
    stage.run(main)
