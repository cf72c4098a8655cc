"""predict: what the model makes of every image, its metrics, what drives them, and the labels it contradicts."""

from functools import partial

import pandas as pd

from segscope import stage
from segscope.artefacts.files import write_json
from segscope.artefacts.measures import measure_table, of_split
from segscope.artefacts.tables import write_csv_folder
from segscope.evaluation.bootstrap import SEED, Bootstrap
from segscope.evaluation.confusions import confusion_measures, find_merges, findings
from segscope.evaluation.evaluate import evaluate, repeats_table, spread_measures
from segscope.evaluation.objects import ObjectFinder, object_measures
from segscope.evaluation.pictures import PictureTaker
from segscope.evaluation.plots import by_split, plot_tables
from segscope.evaluation.resolution import measured_at
from segscope.insights.insights import insights_of
from segscope.model.folds import predict_folds, predict_repeats
from segscope.model.inference import Split, set_seeds
from segscope.model.source import open_model
from segscope.quiet import detail
from segscope.run import Run
from segscope.suspects.find import SuspectFinder, annotations_by_image
from segscope.suspects.ranking import objects_of, still_planted, suspect_measures


def main(run: Run) -> None:
    set_seeds(SEED)
    taxonomy, folds, batch_size = run.taxonomy, run.params.labels.folds, run.params.predict.batch_size
    samples, copies, *planted = (run.table(name) for name in ("samples", "copies", "truth", "corrections"))
    model = open_model(run.params, taxonomy, run.path("model"), pd.concat([run.table("index"), copies]))
    run.write("unpredicted", model.unpredicted(samples))
    samples, copies, annotations = *map(model.known, (samples, copies)), annotations_by_image(run.table("instances"))
    judge = partial(evaluate, taxonomy=taxonomy, measured=measured_at(run.params, [samples, copies], annotations))
    group = run.table("groups").set_index("image_id")["group"]
    ids = {name: images.to_numpy() for name, images in samples.groupby("split")["image_id"]}
    splits = {name: Split(run.path("dataset"), name, len(of)) for name, of in ids.items()}
    # The model has seen the train split's labels: it cannot judge them.
    judged = {name: SuspectFinder(samples, annotations, taxonomy) for name in ("val", "train")[: min(folds, 2)]}
    objects = ObjectFinder(samples, annotations, taxonomy)
    pictures = {name: PictureTaker(taxonomy) for name in splits}
    looks = {name: [objects.look, taker.look] for name, taker in pictures.items()}
    looks["val"].append(judged["val"].look)
    evaluations = {n: judge(model.predict(s, batch_size, n == "val"), looks=looks[n]) for n, s in splits.items()}
    train, val = evaluations["train"], evaluations["val"]
    if "train" in judged:
        for batch in predict_folds(run.path("folds"), splits["train"], group[ids["train"]], folds, batch_size):
            judged["train"].look(batch)
    suspects = pd.concat([finder.table() for finder in judged.values()], ignore_index=True)
    others = {s: judge(b).table for s, b in predict_repeats(run.path("repeat_models"), splits["val"], batch_size)}
    heads = model.heads(run.path("dataset"), samples, group, taxonomy)
    merges = {"train": {}, "val": find_merges(train.counts, train.groups(group), taxonomy, heads)}
    confused = {name: findings(e.counts, taxonomy, e.groups(group), merges[name]) for name, e in evaluations.items()}
    insights = insights_of(samples, val.table, taxonomy, group, run.params.insights.min_images)
    found = objects.table()
    rows = of_split("val", [*insights.measures(), *spread_measures([val.table, *others.values()], taxonomy)])
    for name, each in evaluations.items():
        rows += of_split(name, [*each.measures(group), *confusion_measures(confused[name])])
        rows += of_split(name, object_measures(found, ids[name], taxonomy, Bootstrap(group[ids[name]].to_numpy())))
        rows += of_split(name, suspect_measures(suspects, still_planted(*planted), name) if name in judged else [])
    if len(copies):
        more = judge(model.predict(Split(run.path("dataset"), "copies", len(copies)), batch_size))
        own = copies.set_index("image_id")["other_id"].map(group)
        rows += of_split("val_with_copies", val.joined(more).measures(pd.concat([group, own])))
    measures = measure_table(rows)
    run.write("predictions", by_split({n: each.table.join(pictures[n].table()) for n, each in evaluations.items()}))
    run.write("repeats", repeats_table(others))
    run.write("objects", found)
    run.write("label_issues", suspects.assign(object_id=objects_of(suspects, found)))
    run.write("associations", insights.associations)
    run.write("insights", insights.insights)
    run.write_measures("predict", measures)
    write_json(run.path("confusions"), confused)
    write_csv_folder(run.path("plots"), plot_tables(evaluations, measures))
    detail(*(each["statement"] for each in confused["val"].values()), *insights.statements()[:5])


if __name__ == "__main__":
    stage.main(main)
