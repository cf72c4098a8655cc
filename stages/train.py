"""train: fit the U-Net of the chosen variant on a frozen encoder."""

from pathlib import Path
from tempfile import TemporaryDirectory

from segscope import stage
from segscope.artefacts.files import atomic_folder, atomic_path, write_json
from segscope.model.callbacks import Checkpoint
from segscope.model.card import write_card
from segscope.model.dataset import shards
from segscope.model.encoder import read_encoder
from segscope.model.folds import fold_model, fold_sizes
from segscope.model.history import best_metrics
from segscope.model.saving import save_model
from segscope.model.training import (
    Training,
    count_parameters,
    fold_trainings,
    prepare_training,
    train,
    training_measures,
)
from segscope.run import Run


def main(run: Run) -> None:
    params, options = run.params, run.params.train.applied()
    files = {split: shards(run.path("dataset"), split) for split in ("train", "val")}
    training = prepare_training(files, params.data.image_size, run.taxonomy, options)
    model, history, checkpoint = train(
        training, read_encoder(run.path("weights")), run.path("checkpoint"), run.path("training")
    )
    history.to_csv(run.path("training") / "history.csv", index=False)
    save_model(model, run.path("model"))
    with atomic_path(run.path("model_card")) as temporary:
        write_card(
            temporary,
            run.taxonomy.classes,
            params.data.image_size,
            count_parameters(model),
            options.model_dump(),
            {"source": params.data.source, **training.images},
            best_metrics(history),
        )
    checkpoints = [checkpoint, *train_folds(run, training)]
    run.write_measures("train", training_measures(training, model, history))
    for each in checkpoints:
        each.remove()


def train_folds(run: Run, training: Training) -> list[Checkpoint]:
    """A model for each fold of the train split that has not seen it; returns their checkpoints."""
    folds = run.params.labels.folds
    checkpoints: list[Checkpoint] = []
    with atomic_folder(run.path("folds")) as folder, TemporaryDirectory() as logs:
        sizes = fold_sizes(training.train.image_ids, folds)
        write_json(folder / "folds.json", {"folds": folds, "images": sizes})
        for number, part in enumerate(fold_trainings(training, folds)):
            print(f"a model for fold {number}, counted from 0, of {folds}")
            scratch = run.path("checkpoint").with_name(f"{run.path('checkpoint').name}-fold-{number}")
            model, _, checkpoint = train(part, read_encoder(run.path("weights")), scratch, Path(logs) / str(number))
            save_model(model, fold_model(folder, number))
            checkpoints.append(checkpoint)
    return checkpoints


if __name__ == "__main__":
    stage.main(main)
