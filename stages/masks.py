"""masks: resized images and category masks as TFRecord shards, and everything known of each image."""

from collections import Counter

import pandas as pd

from segscope import stage
from segscope.artefacts.files import atomic_folder
from segscope.artefacts.skipped import explain, listing, require_splits, require_usable, summary
from segscope.errors import SegscopeError
from segscope.labels.conversion import Reading, convert_all, jobs, said_of, tabulate
from segscope.labels.corrections import Corrections, correct
from segscope.labels.exclusion import apply_exclusion, read_exclusion
from segscope.labels.shards import write_shards
from segscope.labels.totals import label_measures, require_enough, totals
from segscope.run import Run
from segscope.sources.categories import some
from segscope.sources.corrections import read_corrections
from segscope.sources.user_table import read_user_table


def main(run: Run) -> None:
    data = run.params.data
    reading = Reading(data.image_size, run.params.masks.crowd, data.exif)
    exclusion = read_exclusion(data.exclude, data.origin)
    annotations = run.arrow("annotations").combine_chunks()
    index, copies = run.table("index"), run.table("copies")
    images = pd.concat([index, copies[index.columns]])  # copies are reviewed as all others are
    *corrected, said = read_corrections(data.corrections, data.origin, images, run.categories)
    annotations, changed, line = correct(Corrections(*corrected), annotations, images)
    run.write("corrections", changed)
    images, annotations, excluded, unknown = apply_exclusion(exclusion, images, annotations)
    index, copies = (table[table["image_id"].isin(images["image_id"])] for table in (index, copies))
    if unknown:
        stage.warn(f"{data.exclude} names {len(unknown)} ids that this run does not have: {some(unknown)}")
    user, notes = read_user_table(data.metadata, index)
    stage.warn(*said, *notes)
    if line:
        print(f"masks: {line}")
    user_columns = user.set_axis(index["image_id"])
    found = {}
    with (
        listing(run.path("skipped")) as skipped,
        atomic_folder(run.path("dataset")) as folder,
        run.open("samples", user) as write_samples,
        run.open("instances") as write_instances,
    ):
        skipped += [run.table("download_skipped"), excluded]
        require_splits(index, excluded)
        for split, images in index.groupby("split"):
            results = convert_all(jobs(images, annotations), reading)
            parts, lists, odd, labels = [], [], Counter[str](), 0
            for converted in write_shards(folder, split, len(images), results):
                samples, instances, left_out = tabulate(converted, images, run.categories)
                write_samples(samples.join(user_columns, on="image_id"))
                write_instances(instances)
                lists.append(left_out.assign(split=split))
                parts.append(totals(samples))
                labels += len(instances)
                for result in converted:
                    odd.update(result.odd)
            skipped += lists
            found[split] = sum(parts)
            stage.warn(*said_of(odd, split, len(images)))
            if not found[split]["images"]:
                raise SegscopeError(f"no image of split {split} can be used: {explain(pd.concat(lists))}")
            require_usable(pd.concat(lists), int(found[split]["images"]), labels, data.max_unusable, split)
        require_enough(found)
        # Of val they are, and in no figure but those that say what they would change.
        for converted in write_shards(folder, "copies", len(copies), convert_all(jobs(copies, annotations), reading)):
            _, instances, left_out = tabulate(converted, copies, run.categories)
            write_instances(instances)
            skipped.append(left_out.assign(split="copies"))
    table = pd.concat(skipped)
    run.write_measures("masks", label_measures(found, table, run.categories))
    stage.warn(summary(table, run.path("skipped")))


if __name__ == "__main__":
    stage.main(main)
