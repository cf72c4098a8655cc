from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import SIZE, TAXONOMY, training_of, write_pictures

from segscope.artefacts.files import write_json
from segscope.errors import SegscopeError
from segscope.evaluation.predicted import Known, Look, Predicted
from segscope.model.dataset import split_records
from segscope.model.examination import Task, examine, tasks_of
from segscope.model.folds import fold_model, fold_of, fold_sizes, fold_tasks, repeat_model, repeat_tasks
from segscope.model.inference import NOTHING_MORE, Wanted
from segscope.model.source import Network
from segscope.model.training import fold_trainings, repeats
from segscope.params import Params

IDS = st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=50)


@given(IDS, st.integers(1, 20))
def test_a_fold_depends_on_the_group_alone(ids, folds):
    together = fold_of(np.array(ids), folds)
    assert ((together >= 0) & (together < folds)).all()
    assert together.tolist() == [fold_of(np.array([i]), folds)[0] for i in ids]


def test_folds_are_about_equally_large():
    counts = np.bincount(fold_of(np.arange(10_000), 5), minlength=5)
    assert counts.min() > 1850
    assert counts.max() < 2150


def test_every_image_is_in_one_fold():
    sizes = fold_sizes(np.arange(100), 3)
    assert sizes == [int((fold_of(np.arange(100), 3) == number).sum()) for number in range(3)]
    assert sum(sizes) == 100
    assert fold_sizes(np.arange(100), 1) == [100]


def test_a_folds_training_leaves_its_groups_out_and_nothing_else(tmp_path):
    training = training_of(write_pictures(tmp_path), class_weights="balanced")
    ids = training.train.image_ids
    groups = pd.Series(ids - ids % 2, index=ids)
    parts = fold_trainings(training, groups, 3)
    fold = fold_of(groups.to_numpy(), 3)
    assert [part.train.image_ids.tolist() for part in parts] == [ids[fold != k].tolist() for k in range(3)]
    for part in parts:
        left_out = set(ids) - set(part.train.image_ids)
        assert not set(groups[list(left_out)]) & set(groups[part.train.image_ids])
        assert part.val is training.val
        assert part.class_weights == training.class_weights
        assert part.steps_per_epoch == -(-len(part.train.image_ids) // 4)
    assert fold_trainings(training, groups, 1) == []


def saying(number: int, classes: int = 3, sure: float = 10) -> keras.Model:
    """A model that is sure of class `number` everywhere."""
    bias = keras.initializers.Constant(np.where(np.arange(classes) == number, sure, 0))
    image = keras.Input((SIZE, SIZE, 3))
    return keras.Model(image, keras.layers.Conv2D(classes, 1, kernel_initializer="zeros", bias_initializer=bias)(image))


class Seen(Look):
    """The classes that each image is predicted as."""

    def __init__(self, known: Known):
        super().__init__(known)
        self._seen: dict[int, set[int]] = {}

    def look(self, batch: Predicted) -> None:
        p = batch.probabilities if batch.steadier is None else batch.steadier
        self._seen |= {i: set(q.argmax(-1).ravel()) for i, q in zip(batch.image_ids.tolist(), p, strict=True)}

    def found(self) -> dict[int, set[int]]:
        return self._seen

    def add(self, found: dict[int, set[int]]) -> None:
        assert not self._seen.keys() & found.keys()  # each image is looked at once
        self._seen |= found


def tasks(folder: Path) -> list[Task]:
    images = pd.DataFrame({"image_id": range(8), "width": SIZE, "height": SIZE})
    network = Network(folder / "model.keras", (SIZE, SIZE, 3))
    return tasks_of(network, split_records(folder, SIZE, "train"), images, images.iloc[:0])


def seen(of: list[Task], wanted: Wanted = NOTHING_MORE) -> dict[int, set[int]]:
    return examine(of, [Seen], "", wanted, taxonomy=TAXONOMY, params=Params())[Seen].found()


def test_every_image_is_judged_by_the_model_of_its_fold(tmp_path):
    write_pictures(tmp_path)
    for number in range(3):
        saying(number).save(fold_model(tmp_path, number))
    group = pd.Series([0, 0, 2, 3, 4, 5, 6, 7], index=range(8))
    found = seen(fold_tasks(tmp_path, tasks(tmp_path), group, 3), Wanted(mirrored=True))
    assert found == {i: {k} for i, k in zip(range(8), fold_of(group.to_numpy(), 3), strict=True)}
    assert fold_tasks(tmp_path, tasks(tmp_path), group, 1) == []


def test_every_seeds_model_sees_the_split(tmp_path):
    write_pictures(tmp_path)
    write_json(tmp_path / "seeds.json", {"seeds": []})
    assert repeat_tasks(tmp_path, tasks(tmp_path)) == {}
    write_json(tmp_path / "seeds.json", {"seeds": [5, 10, 9]})
    for seed, number in ((10, 1), (9, 2)):
        saying(number).save(repeat_model(tmp_path, seed))
    found = repeat_tasks(tmp_path, tasks(tmp_path))
    assert list(found) == [9, 10]
    for of, number in zip(found.values(), (2, 1), strict=True):
        assert seen(of) == {i: {number} for i in range(8)}


def test_a_seeds_model_that_is_missing_or_gives_something_else_is_an_error(tmp_path):
    write_pictures(tmp_path)
    write_json(tmp_path / "seeds.json", {"seeds": [5, 10]})
    (of,) = repeat_tasks(tmp_path, tasks(tmp_path)).values()
    with pytest.raises(SegscopeError, match=r"seed-10\.keras cannot be read \(there is no such file\); run `dvc repro"):
        seen(of)
    saying(1, classes=4).save(repeat_model(tmp_path, 10))
    with pytest.raises(SegscopeError, match=r"seed-10\.keras gives"):
        seen(of)
    (tmp_path / "seeds.json").write_text('{"seeds": 5}')
    with pytest.raises(SegscopeError, match=r"seeds\.json cannot be read \(.*\); run `dvc repro train`"):
        repeat_tasks(tmp_path, tasks(tmp_path))


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_a_model_whose_outputs_are_not_finite_is_an_error_that_names_an_image(odd, tmp_path):
    write_pictures(tmp_path)
    saying(1, sure=odd).save(tmp_path / "model.keras")
    with pytest.raises(SegscopeError, match="the model's outputs of image 0 are not finite: its weights are damaged"):
        seen(tasks(tmp_path))


def test_other_seeds_are_the_same_training(tmp_path):
    training = training_of(write_pictures(tmp_path), seeds=[4, 5, 6])
    assert [part.options.seeds for part in repeats(training)] == [[5], [6]]
    assert all(part.train is training.train and part.options.seed != 4 for part in repeats(training))
    assert repeats(training_of(write_pictures(tmp_path))) == []


def test_a_fold_that_leaves_no_class_to_learn_is_an_error(tmp_path):
    training = training_of(write_pictures(tmp_path))
    groups = pd.Series(0, index=training.train.image_ids)
    with pytest.raises(SegscopeError, match=r"labels\.folds: what is left to learn from shows no class"):
        fold_trainings(training, groups, 2)
