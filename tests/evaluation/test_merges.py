import numpy as np
import pytest

from segscope.evaluation.merges import LEAST_GAIN, Heads
from segscope.evaluation.predicted import Pixels

# Positions: 0 unlabelled, 1 the class, 2 looks the same, 3 looks otherwise, 4 rare and otherwise.
OWN = np.array([False, True, False, False, False])
CENTRES = np.array([[0, 0], [4, 0], [4, 0], [0, 4], [-4, 0]], float)
MANY = np.random.default_rng(0).normal(0, 1, (2, 200))
SHARES = np.array([0.55, 0.15, 0.15, 0.14, 0.01])


def blobs(seed: int, centres: np.ndarray = CENTRES, images: int = 40, pixels: int = 60) -> Pixels:
    """Pixels of Gaussian blobs in the plane, one a position, as a network shows them: by many features."""
    draw = np.random.default_rng(seed)
    position = draw.choice(5, (images, pixels), p=SHARES).astype(np.uint8)
    features = (centres[position] + draw.normal(0, 1, (images, pixels, 2))) @ MANY
    return Pixels(features.astype(np.float32), position, np.arange(images))


@pytest.fixture(scope="module")
def heads() -> Heads:
    return Heads(blobs(0), blobs(1), np.arange(40))


def test_what_cannot_be_told_apart_is_merged(heads):
    """Where two blobs are one, half of what is found is wrong: IoU 0.5, and nearly 1 of both together."""
    chosen, gain = heads.merge(OWN, [2])
    assert chosen == [2]
    assert gain.before == pytest.approx(0.5, abs=0.1)
    assert gain.after > 0.9
    assert gain.low < gain.after - gain.before < gain.high
    assert gain.low > 0.3
    assert gain.recall_after > 0.93
    assert 30 < gain.carriers <= 40


def test_what_a_linear_head_cannot_join_is_not_merged():
    """Two blobs on either side of the background: a line holds one of them only."""
    centres = CENTRES.copy()
    centres[2] = (-4, 0)
    apart = Heads(blobs(0, centres), blobs(1, centres), np.arange(40))
    chosen, gain = apart.merge(OWN, [2])
    assert chosen == []
    assert gain.after < gain.before - 0.2
    assert gain.high < 0


def test_of_several_only_those_that_add_to_it_are_kept(heads):
    chosen, gain = heads.merge(OWN, [2, 3, 4])
    assert 2 in chosen
    assert 4 not in chosen  # a hundredth of the pixels adds nothing
    assert gain == heads.merge(OWN, chosen)[1]


def test_a_category_as_easy_as_the_class_gains_nothing():
    """Two blobs, each apart from everything: as one class they are found as well as before."""
    centres = CENTRES.copy()
    centres[1:3] = [(9, 0), (0, -9)]
    chosen, gain = Heads(blobs(0, centres), blobs(1, centres), np.arange(40)).merge(OWN, [2])
    assert chosen == []
    assert abs(gain.after - gain.before) < LEAST_GAIN


def test_names_given_at_random_are_not_merged():
    """Categories that are random parts of the background."""
    false = 0
    for seed in range(10):
        draw = np.random.default_rng(100 + seed)
        sides = []
        for side in (2 * seed, 2 * seed + 1):
            pixels = blobs(side)
            other = pixels.position != 1
            position = pixels.position.copy()
            position[other] = draw.choice([0, 2, 3, 4], other.sum(), p=[0.7, 0.1, 0.1, 0.1])
            sides.append(Pixels(pixels.features, position, pixels.image_id))
        false += bool(Heads(*sides, np.arange(40)).merge(OWN, [2, 3])[0])
    assert false == 0


def test_what_val_does_not_show_gains_nothing():
    """A class that looks as another does, and that val shows in no group of images, or in one."""
    val = blobs(1)
    elsewhere = np.where(val.position == 1, 0, val.position)
    for shown in (0, 1):
        position = elsewhere.copy()
        position[:shown] = val.position[:shown]
        heads = Heads(blobs(0), Pixels(val.features, position, val.image_id), np.arange(40))
        assert heads.merge(OWN, [2]) == ([], None)


def test_a_merge_is_carried_by_the_class_as_it_is():
    """Three images show it, and all show what looks the same."""
    val = blobs(1)
    position = val.position.copy()
    position[3:][position[3:] == 1] = 0
    _, gain = Heads(blobs(0), Pixels(val.features, position, val.image_id), np.arange(40)).merge(OWN, [2])
    assert gain.carriers < 3.1


def test_near_copies_widen_the_interval():
    one = blobs(1, images=8)
    copies = Pixels(*(np.repeat(part, 5, axis=0) for part in (one.features, one.position, np.arange(8))))
    grouped = Heads(blobs(0), copies, np.repeat(np.arange(8), 5)).merge(OWN, [2])[1]
    single = Heads(blobs(0), one, np.arange(8)).merge(OWN, [2])[1]
    assert grouped == pytest.approx(single)
    naive = Heads(blobs(0), copies, np.arange(40)).merge(OWN, [2])[1]
    assert naive.high - naive.low < 0.6 * (grouped.high - grouped.low)


def test_ignored_pixels_count_nowhere(heads):
    ignored = []
    for pixels in (blobs(0), blobs(1)):
        hidden = np.random.default_rng(0).normal(50, 1, (40, 10, 200)).astype(np.float32)
        position = np.full((40, 10), 255, np.uint8)
        ignored.append(
            Pixels(
                np.concatenate([pixels.features, hidden], 1),
                np.concatenate([pixels.position, position], 1),
                pixels.image_id,
            )
        )
    chosen, gain = Heads(*ignored, np.arange(40)).merge(OWN, [2])
    expected = heads.merge(OWN, [2])[1]
    assert chosen == [2]
    assert tuple(gain) == pytest.approx(tuple(expected))


@pytest.mark.filterwarnings("error")
def test_a_class_that_train_never_shows_is_found_nowhere():
    train = blobs(0)
    position = np.where(train.position == 1, 0, train.position).astype(np.uint8)
    shown = Heads(Pixels(train.features, position, train.image_id), blobs(1), np.arange(40)).merge(OWN, [2])[1]
    assert shown.before == 0
    assert shown.recall_before == 0
