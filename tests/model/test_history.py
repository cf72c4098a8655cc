import pandas as pd

from segscope.model.history import best_metrics, best_row, epoch_row, holds_out


def measured(epoch: int, person: float, car: float, objective: float) -> dict[str, float]:
    return {
        "epoch": epoch,
        "learning_rate": 0.1,
        "objective": 9.0 - epoch,
        "val_objective": 1.0,
        "val_mean_iou_person": 1.0 / epoch,
        "held_objective": objective,
        "held_loss": 5.0 - objective,
        "held_mean_iou_person": person,
        "held_mean_iou_car": car,
    }


def test_a_row_calls_the_weighted_objective_and_the_unweighted_loss_by_their_names():
    logs = {"iou_car": 0.5, "loss": 3, "pixel_loss": 2, "val_iou_car": 0.25, "val_loss": 4, "val_pixel_loss": 1}
    row = epoch_row(7, 0.1, logs)
    assert row == {
        "epoch": 7,
        "learning_rate": 0.1,
        "objective": 3,
        "loss": 2,
        "iou_car": 0.5,
        "val_objective": 4,
        "val_loss": 1,
        "val_iou_car": 0.25,
    }
    assert list(row) == "epoch learning_rate objective loss iou_car val_objective val_loss val_iou_car".split()


def test_val_has_no_say_in_which_epoch_is_kept():
    history = [measured(n, 0.1, 0.1, 0.5) for n in (1, 2, 3)]
    without = [{key: value for key, value in row.items() if not key.startswith("held_")} for row in history]
    assert best_row(without)["epoch"] == 3
    assert not holds_out(without)
    assert not holds_out([])
    assert holds_out(history)


def test_the_best_epoch_has_the_highest_mean_iou_of_equals_the_lowest_objective():
    # The first three are equal, and of them epoch 2 has the highest loss.
    history = [
        measured(1, 0.25, 0.5, 0.9),
        measured(2, 0.5, 0.25, 0.5),
        measured(3, 0.375, 0.375, 0.7),
        measured(4, 0.3, 0.2, 0.1),
    ]
    assert best_row(history)["epoch"] == 2
    assert best_row([*history, measured(5, 0.9, 0.1, 3.0)])["epoch"] == 5


def test_the_best_epochs_numbers_are_given_by_split():
    found = best_metrics(
        pd.DataFrame([measured(1, 0.1, 0.1, 0.9), measured(2, 0.4, 0.2, 0.5), measured(3, 0.3, 0.2, 0.1)])
    )
    held = {"objective": 0.5, "loss": 4.5, "mean_iou_person": 0.4, "mean_iou_car": 0.2}
    val = {"objective": 1.0, "mean_iou_person": 0.5}
    assert found == {"epochs": 3, "epoch": 2, "train": {"objective": 7.0}, "val": val, "held": held}
