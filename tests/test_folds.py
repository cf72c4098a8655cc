import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from segscope.folds import fold_of

IDS = st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=50)


@given(IDS, st.integers(1, 20))
def test_a_fold_depends_on_the_image_alone(ids, folds):
    together = fold_of(np.array(ids), folds)
    assert ((together >= 0) & (together < folds)).all()
    assert together.tolist() == [fold_of(np.array([i]), folds)[0] for i in ids]


def test_folds_are_about_equally_large():
    counts = np.bincount(fold_of(np.arange(10_000), 5), minlength=5)
    assert counts.min() > 1850
    assert counts.max() < 2150
