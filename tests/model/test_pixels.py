"""What a single pass over the images gives: probabilities, layers' means, features of pixels; in parts or at once."""

import keras
import numpy as np
import pandas as pd
import pytest
from pictures import NAMES, SIZE, TAXONOMY, write_examples, write_pictures

from segscope.artefacts.records import Records
from segscope.artefacts.schemas import ACTIVATIONS
from segscope.artefacts.tables import read_parquet, write_parquet
from segscope.evaluation.evaluate import Measurer
from segscope.evaluation.objects import ObjectFinder, object_table
from segscope.evaluation.pictures import PictureTaker
from segscope.model import inference
from segscope.model.dataset import split_records
from segscope.model.examination import examine, tasks_of
from segscope.model.inference import Probe, Sampled, Wanted, batches_of, layer_batches, predict_records, sampled
from segscope.model.pixels import MeansTaker, PixelTaker
from segscope.model.source import Network
from segscope.params import Params

IMAGES = pd.DataFrame({"image_id": np.arange(8), "width": SIZE, "height": SIZE})
INSTANCES = pd.DataFrame({"image_id": [], "annotation_id": []})


@pytest.fixture
def folder(tmp_path):
    write_pictures(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A network of some layers, as a file."""
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Conv2D(4, 3, 2, padding="same", name="first", kernel_initializer=keras.initializers.HeNormal(0))(
        image
    )
    x = keras.layers.UpSampling2D(2, name="second")(x)
    logits = keras.layers.Conv2D(3, 1, name="head", kernel_initializer=keras.initializers.HeNormal(1))(x)
    path = tmp_path_factory.mktemp("network") / "network.keras"
    keras.Model(image, logits).save(path)
    return path


def arrays(folder) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and masks of the eight images."""
    ((ids, pictures, masks),) = batches_of(split_records(folder, SIZE, "train"), SIZE, 8)
    assert ids.tolist() == list(range(8))
    return pictures.astype(np.float32), masks


def test_all_that_is_wanted_of_a_batch_is_of_one_pass(file, folder):
    network, (pictures, masks) = Network(file).network, arrays(folder)
    some = Sampled(np.array([1, 6]), 5, TAXONOMY.position_of_id)
    wanted = Wanted(("first", "second"), True, some)
    batches = list(predict_records(network, split_records(folder, SIZE, "train"), 4, wanted))
    assert [batch.image_ids.tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    first = keras.Model(network.input, network.get_layer("first").output).predict(pictures, verbose=0)
    for batch in batches:
        own, mirrored = pictures[batch.image_ids], pictures[batch.image_ids][:, :, ::-1]
        p, q = (keras.ops.softmax(network.predict(of, verbose=0)).numpy() for of in (own, mirrored))
        assert np.array_equal(batch.masks, masks[batch.image_ids])
        assert np.allclose(batch.probabilities, p, atol=1e-6)
        assert np.allclose(batch.steadier, (p + q[:, :, ::-1]) / 2, atol=1e-6)
        means = first[batch.image_ids].mean((1, 2))
        assert np.allclose(batch.means, np.concatenate([means, means], 1), rtol=1e-5, atol=1e-4)  # second repeats first
        (one,) = batch.pixels.image_id
        assert one in (1, 6)
        y, x = some.where(np.array([one]), SIZE)
        assert np.array_equal(batch.pixels.position[0], TAXONOMY.position_of_id[masks[one, y[0], x[0]]])
        assert len(batch.pixels.features[0]) == 5


def test_features_lie_over_their_pixels():
    """Category 1 is red and fills the left half, category 3 is blue; the coarse layer's cells are of one half each."""
    image = keras.Input((SIZE, SIZE, 3), name="image")
    itself = keras.layers.Activation("linear", name="itself")(image)
    coarse = keras.layers.AveragePooling2D(8, name="coarse")(itself)
    logits = keras.layers.UpSampling2D(8)(coarse)
    probe = Probe(keras.Model(image, logits), (), ("itself", "coarse"))
    picture = np.zeros((1, SIZE, SIZE, 3), np.float32)
    picture[:, :, : SIZE // 2, 0], picture[:, :, SIZE // 2 :, 2] = 250, np.arange(SIZE)[:, None]
    y, x = np.indices((SIZE, SIZE)).reshape(2, 1, -1).astype(np.int32)
    features = probe(picture, y, x)[2].numpy().reshape(SIZE, SIZE, 6)
    assert np.array_equal(features[..., :3], picture[0])
    assert (features[:, : SIZE // 2, 3] == 250).all()
    assert (features[:, SIZE // 2 :, 3] == 0).all()
    assert np.allclose(features[:8, SIZE // 2 :, 5], np.arange(8).mean())


def test_pixels_are_drawn_of_each_image_whichever_others_there_are(monkeypatch):
    some = sampled(pd.DataFrame({"image_id": np.arange(8)}), TAXONOMY)
    assert (some.image_ids.tolist(), some.each) == (list(range(8)), 64)
    y, x = some.where(some.image_ids, SIZE)
    assert y.shape == x.shape == (8, 64)
    assert min(y.min(), x.min()) >= 0
    assert max(y.max(), x.max()) < SIZE
    for i in range(8):
        assert np.array_equal(some.where(np.array([i]), SIZE)[0][0], y[i])
    assert not np.array_equal(y[0], y[1])
    some.where(np.array([-(2**62)]), SIZE)
    monkeypatch.setattr(inference, "_PIXEL_IMAGES", 4)
    monkeypatch.setattr(inference, "_PIXEL_VALUES", 40)
    fewer = sampled(pd.DataFrame({"image_id": np.arange(8)}), TAXONOMY)
    assert (len(set(fewer.image_ids)), fewer.each) == (4, 10)


def in_files(folder, sizes: list[int]) -> Records:
    """The eight pictures anew, in files of these sizes."""
    pictures, masks = arrays(folder)
    parts = folder / "parts"
    parts.mkdir()
    starts = np.cumsum([0, *sizes])
    for number, (start, size) in enumerate(zip(starts, sizes, strict=False)):
        own = slice(start, start + size)
        write_examples(parts, pictures[own].astype(np.uint8), masks[own], first=start, number=number, of=len(sizes))
    return split_records(parts, SIZE, "train")


KINDS = [Measurer, PictureTaker, ObjectFinder, MeansTaker, PixelTaker]


def looked(file, records: Records, images: pd.DataFrame = IMAGES):
    tasks = tasks_of(Network(file, (SIZE, SIZE, len(NAMES))), records, images, INSTANCES)
    wanted = Wanted(("first",), False, sampled(IMAGES, TAXONOMY))
    return examine(tasks, KINDS, "train", wanted, taxonomy=TAXONOMY, params=Params())


def test_what_is_found_in_parts_is_what_is_found_at_once(file, folder, tmp_path):
    whole, parts = looked(file, split_records(folder, SIZE, "train")), looked(file, in_files(folder, [3, 1, 4]))
    pd.testing.assert_frame_equal(parts[Measurer].evaluation().table, whole[Measurer].evaluation().table)
    pd.testing.assert_frame_equal(parts[PictureTaker].table(), whole[PictureTaker].table())
    samples = IMAGES.assign(split="train")
    pd.testing.assert_frame_equal(*(object_table([looks[ObjectFinder]], samples) for looks in (parts, whole)))
    for a, b in zip(parts[PixelTaker].pixels(), whole[PixelTaker].pixels(), strict=True):
        assert np.allclose(a, b, rtol=1e-5)
    table = whole[MeansTaker].table("train", ["first"])
    assert np.allclose(
        np.stack(parts[MeansTaker].table("train", ["first"])["means"]), np.stack(table["means"]), rtol=1e-5
    )
    write_parquet(tmp_path / "activations.parquet", table, ACTIVATIONS)
    assert read_parquet(tmp_path / "activations.parquet", ACTIVATIONS)["image_id"].tolist() == list(range(8))


def test_images_without_a_row_are_not_looked_at(file, folder):
    some = looked(file, in_files(folder, [3, 1, 4]), IMAGES.iloc[[7, 0, 1]])
    assert some[Measurer].evaluation().table["image_id"].tolist() == [0, 1, 7]


def test_a_parts_annotations_are_those_of_its_images(file, folder):
    instances = pd.DataFrame({"image_id": [7, 2, 7, 0], "annotation_id": [1, 2, 3, 4]})
    tasks = tasks_of(Network(file), in_files(folder, [3, 1, 4]), IMAGES, instances)
    assert [sorted(part.instances["annotation_id"]) for _, part in tasks] == [[2, 4], [], [1, 3]]
    one = tasks[0][1].of(np.array([False, False, True]))
    assert one.images["image_id"].tolist() == [2]
    assert one.instances["annotation_id"].tolist() == [2]
    assert one.records.image_id.tolist() == [2]


def test_activations_of_some_images_are_of_the_files_that_have_them(file, folder):
    parts = in_files(folder, [3, 1, 4]).of(np.array([6, 2, 1, 99])).by_file()
    assert [part.image_id.tolist() for part in parts] == [[1, 2], [6]]
    network = Network(file).network
    for part in parts:
        ((ids, masks, (first,)),) = layer_batches(network, ["first"], part)
        assert ids.tolist() == part.image_id.tolist()
        assert first.shape == (len(ids), SIZE // 2, SIZE // 2, 4)
        assert masks.shape == (len(ids), SIZE, SIZE)
