"""masks: resized images and category masks as TFRecord shards, and everything known of each image."""

import pandas as pd

from segscope import stage
from segscope.artefacts.files import atomic_folder
from segscope.artefacts.skipped import require_splits, summary
from segscope.errors import SegscopeError
from segscope.labels.conversion import convert_all, jobs, tabulate
from segscope.labels.exclusion import apply_exclusion, read_exclusion
from segscope.labels.shards import write_shards
from segscope.labels.totals import label_measures, totals
from segscope.run import Run


def main(run: Run) -> None:
    data = run.params.data
    exclusion = read_exclusion(data.exclude, data.origin)
    annotations = run.arrow("annotations").combine_chunks()
    index, annotations, excluded, unknown = apply_exclusion(exclusion, run.table("index"), annotations)
    if unknown:
        stage.warn(f"warning: {data.exclude} names {unknown} ids that this run does not have")
    require_splits(index, excluded)
    skipped, found = [run.table("download_skipped"), excluded], {}
    with (
        atomic_folder(run.path("dataset")) as folder,
        run.open("samples") as write_samples,
        run.open("instances") as write_instances,
    ):
        for split, images in index.groupby("split"):
            results = convert_all(jobs(images, annotations), data.image_size, run.params.masks.crowd)
            parts = []
            for converted in write_shards(folder, split, len(images), results):
                samples, instances, left_out = tabulate(converted, images, run.categories)
                write_samples(samples)
                write_instances(instances)
                skipped.append(left_out.assign(split=split))
                parts.append(totals(samples))
            found[split] = sum(parts)
            if not found[split]["images"]:
                raise SegscopeError(f"no image of split {split} can be used: {skipped[-1]['detail'].iloc[0]}")
        # Of val they are, and in no figure but those that say what they would change.
        copies = run.table("copies")
        results = convert_all(jobs(copies, annotations), data.image_size, run.params.masks.crowd)
        for converted in write_shards(folder, "copies", len(copies), results):
            write_instances(tabulate(converted, copies, run.categories)[1])
    table = pd.concat(skipped)
    run.write("skipped", table)
    run.write_measures("masks", label_measures(found, table, run.categories))
    stage.warn(summary(table, run.path("skipped")))


if __name__ == "__main__":
    stage.main(main)
