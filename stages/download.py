"""download: find or make the images, choose the subset, fetch what is missing, and the encoder's weights."""

from pathlib import Path

import pandas as pd

from segscope import stage
from segscope.artefacts.files import atomic_folder
from segscope.artefacts.schemas import TRUTH
from segscope.artefacts.skipped import SPLITS, require_splits, summary
from segscope.artefacts.tables import write_parquet
from segscope.model.encoder import fetch_encoder
from segscope.run import Run
from segscope.sources import source as sources
from segscope.sources.checksums import checksums
from segscope.sources.coco import read_coco
from segscope.sources.duplicates import find_copies, leave_out_copies, perceptual_hashes
from segscope.sources.sample import draw_sample
from segscope.sources.subset import (
    annotations_of,
    common_categories,
    of_images,
    separate_ids,
    source_measures,
    subset,
)


def main(run: Run) -> None:
    data = run.params.data
    fetch_encoder(run.params.model.encoder_weights, run.path("weights"))
    with atomic_folder(run.path("sample")) as folder:
        if data.source == "sample":
            truth = draw_sample(folder, data.sample_images.model_dump(), data.seed)
            write_parquet(folder / sources.TRUTH, truth, TRUTH)
    source = sources.open_source(data, run.path("sample"))
    coco = separate_ids({split: read_coco(source.annotation_file(split), data.group) for split in SPLITS})
    categories = common_categories(coco)
    images, skipped = subset(coco, source.image_path, data)
    images, missing = sources.fetch_images(source, images, data.max_missing)
    skipped = pd.concat([skipped, missing])
    require_splits(images, skipped)
    sums = checksums(images["path"].drop_duplicates().tolist(), Path(data.cache_dir) / "checksums.parquet")
    images = images.assign(sha256=images["path"].map(sums))
    duplicates = find_copies(images, perceptual_hashes(images, Path(data.cache_dir) / "perceptual_hashes.parquet"))
    across = duplicates if data.copies == "leave_out" else duplicates[:0]
    index, copies, left_out = leave_out_copies(images, across)
    skipped = pd.concat([skipped, left_out])
    require_splits(index, skipped)
    annotations = annotations_of(images, coco)
    run.write("truth", of_images(sources.read_truth(source.root), index))
    run.write("categories", categories)
    run.write("annotations", annotations)
    run.write("download_skipped", skipped)
    run.write("duplicates", duplicates)
    run.write("copies", copies.drop(columns=["file_name", "group"]))
    run.write("index", index.drop(columns=["file_name", "group"]))
    run.write("named_groups", index.loc[index["group"].notna(), ["image_id", "group"]])
    run.write_measures("download", source_measures(coco, index, annotations, skipped))
    stage.warn(summary(skipped, run.path("download_skipped")))


if __name__ == "__main__":
    stage.main(main)
