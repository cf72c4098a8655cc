"""predict: what the model makes of every image, its metrics, what drives them, and the labels it contradicts."""

import keras
import pandas as pd

from segscope import stage
from segscope.artefacts.files import write_json
from segscope.artefacts.measures import measure_table, of_split
from segscope.evaluation.bootstrap import SEED, Bootstrap
from segscope.evaluation.confusions import confusion_measures, find_merges, findings
from segscope.evaluation.evaluate import evaluate, repeats_table, spread_measures
from segscope.evaluation.objects import ObjectFinder, object_measures
from segscope.evaluation.plots import by_split, write_plots
from segscope.insights.insights import insights_of
from segscope.model.folds import predict_folds, repeat_models
from segscope.model.inference import Split, predict_split
from segscope.model.pixels import pixel_heads
from segscope.model.saving import load_model, read_model
from segscope.run import Run
from segscope.suspects.find import SuspectFinder, annotations_by_image
from segscope.suspects.ranking import objects_of, suspect_measures


def main(run: Run) -> None:
    keras.utils.set_random_seed(SEED)
    taxonomy, folds, batch_size = run.taxonomy, run.params.labels.folds, run.params.predict.batch_size
    samples, truth = run.table("samples"), run.table("truth")
    annotations = annotations_by_image(run.table("instances"))
    group = run.table("groups").set_index("image_id")["group"]
    ids = {name: images.to_numpy() for name, images in samples.groupby("split")["image_id"]}
    splits = {name: Split(run.path("dataset"), name, len(of)) for name, of in ids.items()}
    model = load_model(run.path("model"), len(taxonomy.class_names), run.params.data.image_size)
    # The model has seen the train split's labels: it cannot judge them.
    judged = {name: SuspectFinder(samples, annotations, taxonomy) for name in ("val", "train")[: min(folds, 2)]}
    objects = ObjectFinder(samples, annotations, taxonomy)
    looks = {"val": [objects.look, judged["val"].look], "train": [objects.look]}
    evaluations = {
        name: evaluate(predict_split(model, split, batch_size, name == "val"), taxonomy, looks[name])
        for name, split in splits.items()
    }
    train, val = (evaluations[name] for name in ("train", "val"))
    if "train" in judged:
        for batch in predict_folds(run.path("folds"), splits["train"], group[ids["train"]], folds, batch_size):
            judged["train"].look(batch)
    suspects = pd.concat([finder.table() for finder in judged.values()], ignore_index=True)
    others = {
        seed: evaluate(predict_split(read_model(other), splits["val"], batch_size), taxonomy).table
        for seed, other in repeat_models(run.path("repeat_models")).items()
    }
    heads = pixel_heads(model, run.path("dataset"), samples, group, taxonomy)
    merges = {"train": {}, "val": find_merges(train.counts, train.groups(group), taxonomy, heads)}
    confused = {
        name: findings(each.counts, taxonomy, each.groups(group), merges[name]) for name, each in evaluations.items()
    }
    insights = insights_of(samples, val.table, taxonomy, group, run.params.insights.min_images)
    found = objects.table()
    rows = of_split("val", [*insights.measures(), *spread_measures([val.table, *others.values()], taxonomy)])
    for name, each in evaluations.items():
        rows += of_split(name, [*each.measures(group), *confusion_measures(confused[name])])
        rows += of_split(name, object_measures(found, ids[name], taxonomy, Bootstrap(group[ids[name]].to_numpy())))
        rows += of_split(name, suspect_measures(suspects, truth, name) if name in judged else [])
    copies = run.table("copies").set_index("image_id")["other_id"].map(group)
    if len(copies):
        more = evaluate(predict_split(model, Split(run.path("dataset"), "copies", len(copies)), batch_size), taxonomy)
        rows += of_split("val_with_copies", val.joined(more).measures(pd.concat([group, copies])))
    measures = measure_table(rows)
    run.write("predictions", by_split({name: each.table for name, each in evaluations.items()}))
    run.write("repeats", repeats_table(others))
    run.write("objects", found)
    run.write("label_issues", suspects.assign(object_id=objects_of(suspects, found)))
    run.write("associations", insights.associations)
    run.write("insights", insights.insights)
    run.write_measures("predict", measures)
    write_json(run.path("confusions"), confused)
    write_plots(run.path("plots"), evaluations, measures)
    print(*(each["statement"] for each in confused["val"].values()), *insights.statements()[:5], sep="\n")


if __name__ == "__main__":
    stage.main(main)
