import numpy as np
import pandas as pd
import pytest

from segscope.artefacts.schemas import GROUPS
from segscope.artefacts.tables import read_parquet, write_parquet
from segscope.latent.groups import named_groups, near_copies


def copies(pictures: int, each: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Features of pictures, each a few times with a little noise, in a random order; and which picture each is of."""
    rng = np.random.default_rng(0)
    of = rng.permutation(np.repeat(np.arange(pictures), each))
    return rng.normal(size=(pictures, 60))[of] + noise * rng.normal(size=(len(of), 60)), of


def test_copies_are_found_whatever_their_order():
    features, of = copies(40, 5, 0.05)
    ids = np.random.default_rng(1).permutation(1000)[: len(of)]
    table = near_copies(ids, features)
    first = pd.Series(ids).groupby(of).min()
    assert table["image_id"].tolist() == sorted(ids)
    assert table.set_index("image_id").loc[ids, "group"].tolist() == first[of].tolist()


@pytest.mark.parametrize("n", [1, 2, 3, 300])
def test_different_images_are_not_joined(n):
    features = np.random.default_rng(n).normal(size=(n, 60))
    assert near_copies(np.arange(n), features)["group"].tolist() == list(range(n))


def test_what_the_user_names_belongs_together_and_the_rest_is_alone(tmp_path):
    named = pd.DataFrame({"image_id": [9, 2, 5, 7], "group": ["a", "b", "a", "b"]})
    table = named_groups(np.array([2, 3, 5, 7, 8, 9]), named)
    assert dict(zip(table["image_id"], table["group"], strict=True)) == {2: 2, 3: 3, 5: 5, 7: 2, 8: 8, 9: 5}
    write_parquet(tmp_path / "groups.parquet", table, GROUPS)
    assert len(read_parquet(tmp_path / "groups.parquet", GROUPS)) == 6


def test_no_two_photographs_are_taken_for_one_and_their_crops_are(coco_mini, encoder_folder):
    """Crops of three quarters of the side of the first 30, darker and mirrored, among all 475."""
    import keras

    from segscope.artefacts.images import open_image, resize_image, to_rgb
    from segscope.latent.space import pool
    from segscope.model.encoder import read_encoder
    from segscope.model.training import build_encoder
    from segscope.model.unet import LIKENESS

    files = sorted(coco_mini.glob("*2017/*.jpg"))
    whole = [to_rgb(open_image(file)) for file in files]
    crops = []
    for image in whole[:30]:
        for left in (0.0, 0.1, 0.2):
            box = [round(v * s) for v, s in zip((left, 0.1, left + 0.8, 0.9), image.size * 2, strict=True)]
            crops.append(image.crop(box).point(lambda v: v * 0.85))
    encoder = build_encoder(*read_encoder(encoder_folder), 128)
    probe = keras.Model(encoder.input, [encoder.get_layer(name).output for name in LIKENESS])
    pictures = np.stack([np.asarray(resize_image(image, 128), np.float32) for image in [*whole, *crops]])
    table = near_copies(np.arange(len(pictures)), pool(probe.predict(pictures, verbose=0)))
    group = table["group"].to_numpy()
    assert len(np.unique(group[: len(files)])) == len(files) == 475
    found = group[len(files) :].reshape(30, 3)
    assert (found == found[:, :1]).all(1).mean() >= 0.8
    assert len(np.unique(found[:, 0])) == 30
