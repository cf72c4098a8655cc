import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from pictures import training_of, write_pictures

from segscope.model.folds import fold_of, fold_sizes
from segscope.model.training import fold_trainings

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
