"""predict: what the model makes of every image, its metrics, what drives them, and the labels it contradicts."""

import keras
import numpy as np
import pandas as pd

from segscope import stage
from segscope.artefacts.files import atomic_folder, write_json
from segscope.artefacts.measures import measure_table, of_split
from segscope.evaluation.bootstrap import SEED
from segscope.evaluation.confusions import confusion_measures, find_merges, findings
from segscope.evaluation.evaluate import evaluate
from segscope.evaluation.per_image import image_scores
from segscope.evaluation.plots import by_split, plot_tables
from segscope.insights.insights import find_insights
from segscope.model.folds import fold_model, fold_of
from segscope.model.inference import Split, predict_split
from segscope.model.pixels import pixel_heads
from segscope.model.saving import load_model
from segscope.run import Run
from segscope.suspects.find import SuspectFinder
from segscope.suspects.ranking import suspect_measures


def main(run: Run) -> None:
    keras.utils.set_random_seed(SEED)
    taxonomy, batch_size = run.taxonomy, run.params.predict.batch_size
    shape = len(taxonomy.class_names), run.params.data.image_size
    samples, instances, truth, groups = (run.table(name) for name in ("samples", "instances", "truth", "groups"))
    group = groups.set_index("image_id")["group"]
    model = load_model(run.path("model"), *shape)
    # The model has seen the train split's labels: it cannot judge them.
    judged = {"val": SuspectFinder(samples, instances, taxonomy)}
    evaluations = {}
    for name, images in samples.groupby("split"):
        look = judged[name].look if name in judged else None
        split = Split(run.path("dataset"), name, len(images))
        evaluations[name] = evaluate(predict_split(model, split, batch_size, bool(look)), taxonomy, look)
    if run.params.labels.folds > 1:
        judged["train"] = SuspectFinder(samples, instances, taxonomy)
        ids = samples.loc[samples["split"] == "train", "image_id"].to_numpy()
        fold = fold_of(group[ids].to_numpy(), run.params.labels.folds)
        for number in np.unique(fold):
            judge = load_model(fold_model(run.path("folds"), number), *shape)
            split = Split(run.path("dataset"), "train", len(ids[fold == number]), ids[fold == number])
            for batch in predict_split(judge, split, batch_size, mirrored=True):
                judged["train"].look(batch)
    predictions = by_split({name: each.table for name, each in evaluations.items()})
    suspects = pd.concat([finder.table() for finder in judged.values()], ignore_index=True)
    heads = pixel_heads(model, run.path("dataset"), samples, group, taxonomy)
    train = evaluations["train"]
    merges = {"val": find_merges(train.counts, train.groups(group), taxonomy, heads)}
    confused = {
        name: findings(each.counts, taxonomy, each.groups(group), merges.get(name, {}))
        for name, each in evaluations.items()
    }
    val = predictions[predictions["split"] == "val"]
    shown = samples.set_index("image_id").loc[val["image_id"]].reset_index()
    scores, units = image_scores(val, taxonomy).reset_index(drop=True), group[val["image_id"]].to_numpy()
    insights = find_insights(shown, scores, taxonomy, units, run.params.insights.min_images)
    rows = []
    for name, each in evaluations.items():
        rows += of_split(name, [*each.measures(group), *confusion_measures(confused[name])])
        rows += of_split(name, suspect_measures(suspects, truth, name) if name in judged else [])
    measures = measure_table([*rows, *of_split("val", insights.measures())])
    run.write("predictions", predictions)
    run.write("label_issues", suspects)
    run.write("associations", insights.associations)
    run.write("insights", insights.insights)
    run.write_measures("predict", measures)
    write_json(run.path("confusions"), confused)
    with atomic_folder(run.path("plots")) as folder:
        for name, table in plot_tables(evaluations, measures).items():
            table.to_csv(folder / f"{name}.csv", index=False)
    for statement in [*(each["statement"] for each in confused["val"].values()), *insights.statements()[:5]]:
        print(statement)


if __name__ == "__main__":
    stage.main(main)
