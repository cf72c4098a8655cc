"""predict: what the model makes of every image, its metrics, what drives them, and the labels it contradicts."""

from functools import partial

import pandas as pd

from segscope import stage
from segscope.artefacts.files import write_json
from segscope.artefacts.measures import measure_table, of_split
from segscope.evaluation.bootstrap import Bootstrap
from segscope.evaluation.confusions import confusion_measures, find_merges, findings
from segscope.evaluation.evaluate import Measurer, repeats_table, spread_measures
from segscope.evaluation.groups import groups_of_copies
from segscope.evaluation.objects import ObjectFinder, object_measures, object_table
from segscope.evaluation.pictures import PictureTaker
from segscope.evaluation.plots import by_split, plot_tables
from segscope.insights.insights import insights_of
from segscope.model.dataset import split_records
from segscope.model.examination import examine, tasks_of
from segscope.model.folds import fold_tasks, repeat_tasks
from segscope.model.inference import Wanted, sampled
from segscope.model.pixels import MeansTaker, PixelTaker, heads_of
from segscope.model.source import open_model
from segscope.quiet import detail
from segscope.run import Run
from segscope.suspects.find import SuspectFinder
from segscope.suspects.ranking import objects_of, still_planted, suspect_measures


def main(run: Run) -> None:
    taxonomy, groups = run.taxonomy, run.table("groups").set_index("image_id")["group"]
    samples, copies, *planted = (run.table(name) for name in ("samples", "copies", "truth", "corrections"))
    model = open_model(run.params, taxonomy, run.path("model"), pd.concat([run.table("index"), copies]))
    run.write("unpredicted", model.unpredicted(samples))
    samples, copies, instances = model.known(samples), model.known(copies), run.table("instances")
    layers, images = model.layers(run.params.embed.layers), {**dict(list(samples.groupby("split"))), "copies": copies}
    records = partial(split_records, run.path("dataset"), run.params.data.image_size)
    tasks = {name: tasks_of(model, records(name), of, instances) for name, of in images.items() if len(of)}
    look, seen = partial(examine, taxonomy=taxonomy, params=run.params), {}
    for name, judges in {"train": [], "val": [SuspectFinder]}.items():  # the model has learned from train's labels
        kinds = [Measurer, ObjectFinder, PictureTaker, MeansTaker, PixelTaker, *judges]
        seen[name] = look(tasks[name], kinds, name, Wanted(layers, bool(judges), sampled(images[name], taxonomy)))
    judged = {"val": seen["val"][SuspectFinder]}
    if of_folds := fold_tasks(run.path("folds"), tasks["train"], groups, run.params.labels.folds):
        judged["train"] = look(of_folds, [SuspectFinder], "train, by folds", Wanted(mirrored=True))[SuspectFinder]
    suspects = pd.concat([finder.table(samples) for finder in judged.values()], ignore_index=True)
    repeats = repeat_tasks(run.path("repeat_models"), tasks["val"])
    others = {s: look(of, [Measurer], f"val, seed {s}")[Measurer].evaluation().table for s, of in repeats.items()}
    train, val = (of[Measurer].evaluation() for of in seen.values())
    evaluations = {"train": train, "val": val}
    heads = heads_of(seen["train"][PixelTaker], seen["val"][PixelTaker], groups)
    merges = {"train": {}, "val": find_merges(train.counts, train.groups(groups), taxonomy, heads)}
    confused = {name: findings(e.counts, taxonomy, e.groups(groups), merges[name]) for name, e in evaluations.items()}
    insights = insights_of(samples, val.table, taxonomy, groups, run.params.insights.min_images)
    objects = object_table([of[ObjectFinder] for of in seen.values()], samples)
    rows = of_split("val", [*insights.measures(), *spread_measures([val.table, *others.values()], taxonomy)])
    for name, each in evaluations.items():
        rows += of_split(name, [*each.measures(groups), *confusion_measures(confused[name])])
        rows += of_split(name, object_measures(objects, each.image_ids, taxonomy, Bootstrap(each.groups(groups))))
        rows += of_split(name, suspect_measures(suspects, still_planted(*planted), name) if name in judged else [])
    if tasks.get("copies"):
        more = look(tasks["copies"], [Measurer], "copies")[Measurer].evaluation()
        groups = pd.concat([groups, groups_of_copies(copies, groups)])
        rows += of_split("val_with_copies", val.joined(more).measures(groups))
    measures = measure_table(rows)
    run.write("predictions", by_split({n: e.table.join(seen[n][PictureTaker].table()) for n, e in evaluations.items()}))
    run.write("activations", pd.concat([of[MeansTaker].table(name, layers) for name, of in seen.items()]))
    run.write("repeats", repeats_table(others))
    run.write("objects", objects)
    run.write("label_issues", suspects.assign(object_id=objects_of(suspects, objects)))
    run.write("associations", insights.associations)
    run.write("insights", insights.insights)
    run.write_measures("predict", measures)
    write_json(run.path("confusions"), confused)
    run.write_rows("plots", plot_tables(evaluations, measures))
    detail(*(each["statement"] for each in confused["val"].values()), *insights.statements()[:5])


if __name__ == "__main__":
    stage.main(main)
