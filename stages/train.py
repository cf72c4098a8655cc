"""train: fit the U-Net of the chosen variant on a frozen encoder."""

from segscope import stage
from segscope.artefacts.files import atomic_folder, atomic_path, write_json
from segscope.artefacts.tables import write_rows
from segscope.latent.groups import find_groups
from segscope.model.card import write_card
from segscope.model.dataset import open_records, shards
from segscope.model.encoder import read_encoder
from segscope.model.folds import fold_model, fold_sizes, repeat_model
from segscope.model.history import best_metrics
from segscope.model.saving import save_model
from segscope.model.taking import take
from segscope.model.training import (
    build_encoder,
    count_parameters,
    fold_trainings,
    hold_out,
    prepare_training,
    repeats,
    train,
    train_others,
    training_measures,
)
from segscope.run import Run


def main(run: Run) -> None:
    files = {split: shards(run.path("dataset"), split) for split in ("train", "val")}
    if run.params.model.source == "train":
        learn(run, files)
    else:
        size = run.params.data.image_size
        records = [open_records(of_split, size) for of_split in files.values()]
        take(run, build_encoder(*read_encoder(run.path("weights")), size), records[0])
        run.write("groups", find_groups(run, records))


def learn(run: Run, files: dict[str, list[str]]) -> None:
    """Train the model, and those of other seeds and of folds. files: TFRecord files of each split."""
    data, options = run.params.data, run.params.train.applied()
    training = prepare_training(files, data.image_size, run.taxonomy, options)
    run.write("groups", find_groups(run, [training.train.records, training.val.records]))
    groups = run.table("groups").set_index("image_id")["group"]
    learned, encoder = hold_out(training, groups), read_encoder(run.path("weights"))
    model, history, checkpoint = train(learned, encoder, run.path("checkpoint"), run.path("training"))
    write_rows(run.path("training") / "history.json", history)
    save_model(model, run.path("model"))
    of_model = run.taxonomy.classes, data.image_size, count_parameters(model)
    facts = options.model_dump(), {"source": data.source, **learned.images}, best_metrics(history)
    with atomic_path(run.path("model_card")) as temporary:
        write_card(temporary, *of_model, *facts)
    with atomic_folder(run.path("repeat_models")) as folder:
        seeds = run.params.train.seeds
        write_json(folder / "seeds.json", {"seeds": seeds})
        others = {repeat_model(folder, seed): of for seed, of in zip(seeds[1:], repeats(learned), strict=True)}
        checkpoints = [checkpoint, *train_others(others, encoder, run.path("checkpoint"))]
    with atomic_folder(run.path("folds")) as folder:
        folds = run.params.labels.folds
        sizes = fold_sizes(groups[training.train.image_ids].to_numpy(), folds)
        write_json(folder / "folds.json", {"folds": folds, "images": sizes})
        others = {fold_model(folder, n): of for n, of in enumerate(fold_trainings(training, groups, folds))}
        checkpoints += train_others(others, encoder, run.path("checkpoint"))
    run.write_measures("train", training_measures(learned, model, history))
    for each in checkpoints:
        each.remove()


if __name__ == "__main__":
    stage.main(main)
