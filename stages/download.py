"""download: find or make the images, choose the subset, fetch what is missing, and the encoder's weights."""

from pathlib import Path

import pandas as pd

from segscope import stage
from segscope.artefacts.files import atomic_folder
from segscope.artefacts.schemas import TRUTH
from segscope.artefacts.skipped import listing, require_splits, require_usable, summary
from segscope.artefacts.tables import write_parquet
from segscope.model.encoder import fetch_encoder
from segscope.run import Run
from segscope.sources import source as sources
from segscope.sources.checksums import checksums
from segscope.sources.duplicates import find_copies, leave_out_copies, perceptual_hashes
from segscope.sources.formats import read_splits
from segscope.sources.sample import draw_sample
from segscope.sources.subset import (
    all_skipped,
    annotations_of,
    common_categories,
    of_images,
    separate_ids,
    source_measures,
    subset,
    unseen_classes,
)


def main(run: Run) -> None:
    data = run.params.data
    fetch_encoder(run.params.model.encoder_weights, run.path("weights"))
    with atomic_folder(run.path("sample")) as folder:
        if data.source == "sample":
            truth = draw_sample(folder, data.sample_images.model_dump(), data.seed)
            write_parquet(folder / sources.TRUTH, truth, TRUTH)
    source = sources.open_source(data, run.path("sample"))
    files = read_splits(source, data)
    coco, categories, notes = common_categories(separate_ids(files))
    taxonomy = run.taxonomy_of(categories)
    taxonomy.check()  # no output depends on it; but who misspelled a class wants to know at once
    stage.warn(*(note for split in coco.values() for note in split.notes), *notes)
    with listing(run.path("download_skipped")) as skipped:
        skipped.append(all_skipped(coco))
        for split, found in coco.items():
            require_usable(found.skipped, len(found.images), len(found.annotations), data.max_unusable, split)
        images, unsafe = subset(coco, source.image_path, data)
        skipped.append(unsafe)
        images, missing = sources.fetch_images(source, images, data.max_missing)
        skipped.append(missing)
        sources.require_images(images, missing, data.max_missing)
        images, unreadable = sources.known_sizes(images, data.exif)
        skipped.append(unreadable)
        require_splits(images, pd.concat(skipped))
        sums = checksums(images["path"].drop_duplicates().tolist(), Path(data.cache_dir) / "checksums.parquet")
        images = images.assign(sha256=images["path"].map(sums))
        duplicates = find_copies(images, perceptual_hashes(images, Path(data.cache_dir) / "perceptual_hashes.parquet"))
        across = duplicates if data.copies == "leave_out" else duplicates[:0]
        index, copies, left_out = leave_out_copies(images, across)
        skipped.append(left_out)
        require_splits(index, pd.concat(skipped))
    annotations = annotations_of(images, coco)
    stage.warn(*unseen_classes(index, annotations, taxonomy, data.contains))
    planted, odd = sources.read_truth(source.root)
    stage.warn(odd)
    run.write("truth", of_images(planted, index))
    run.write("categories", categories)
    run.write("annotations", annotations)
    run.write("duplicates", duplicates)
    run.write("copies", copies.drop(columns=["file_name", "group"]))
    run.write("index", index.drop(columns=["file_name", "group"]))
    run.write("named_groups", index.loc[index["group"].notna(), ["image_id", "group"]])
    run.write_measures("download", source_measures(coco, index, annotations, pd.concat(skipped)))
    stage.warn(summary(pd.concat(skipped), run.path("download_skipped")))


if __name__ == "__main__":
    stage.main(main)
