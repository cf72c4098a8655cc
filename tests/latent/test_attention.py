import keras
import numpy as np
import pandas as pd
import pytest
from networks import network
from small import CATEGORIES, TAXONOMY

from segscope.artefacts.images import decode_png, encode_png
from segscope.artefacts.records import example, open_shard
from segscope.artefacts.schemas import CLUSTER_PROFILES, heatmaps_schema, supports_schema
from segscope.artefacts.tables import write_parquet
from segscope.latent import attention, support
from segscope.latent.clusters import profile_clusters
from segscope.latent.space import LatentSpace, fit_latent_space, pool
from segscope.model.adoption import adopt
from segscope.model.dataset import split_records
from segscope.model.training import build_model
from segscope.model.unet import BOTTLENECK, activations
from segscope.params import Train
from segscope.taxonomy import Taxonomy

SIZE = 64


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model("none", None, SIZE, 3, Train())


@pytest.fixture(scope="module")
def supporter(model) -> support.Supporter:
    return support.Supporter(model)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype(np.float32)


def points_of(ids: np.ndarray, vectors: np.ndarray, labels: np.ndarray) -> attention.Points:
    """Independent images."""
    return attention.Points(ids, vectors, labels, np.arange(len(ids)))


def attended(batches: list, space: LatentSpace, points: attention.Points) -> tuple[pd.DataFrame, attention.Under]:
    maps, under = attention.plan_attention(space, points, TAXONOMY, 3).of(batches)
    return maps.sort_values(["cluster", "score"], ascending=[True, False]), under


def test_exemplars_are_the_members_highest_on_the_clusters_direction_one_of_a_group():
    vectors = np.array([[0.0, 0], [1, 0], [9, 0], [8.9, 0], [7, 0], [2, 1]])
    labels = np.array([-1, 1, 0, 0, 0, 1])
    points = attention.Points(np.arange(6), vectors, labels, np.array([0, 1, 2, 2, 4, 5]))
    chosen = attention.choose_exemplars(points, attention.cluster_directions(vectors, labels), 2)
    assert sorted(chosen.tolist()) == [1, 2, 4, 5]


def test_attended_maps_sum_to_scores_and_what_lies_under_them_is_counted_by_category(rng):
    layers = [rng.gamma(1, 1, (12, 4, 4, 6)), rng.gamma(1, 1, (12, 2, 2, 3))]
    masks = rng.choice([0, 1, 3, 6, 18, 255], (12, 8, 8)).astype(np.uint8)
    ids, labels = np.arange(50, 62), np.array([0] * 5 + [1] * 4 + [-1] * 3)
    space = fit_latent_space(pool(layers), ("a", "b"), 4)
    vectors = space.transform(pool(layers))
    batches = [(ids[part], masks[part], [layer[part] for layer in layers]) for part in (slice(7, 12), slice(0, 7))]
    maps, under = attended(batches, space, points_of(ids, vectors, labels))
    assert maps.groupby("cluster").size().tolist() == [3, 3]
    for c, direction in enumerate(attention.cluster_directions(vectors, labels)):
        inside = labels == c
        expected = vectors[inside].mean(0) - vectors[~inside].mean(0)
        assert np.allclose(direction, expected / np.linalg.norm(expected))
        rows = maps[maps["cluster"] == c]
        scores = vectors @ direction
        assert np.allclose(rows["score"], np.sort(scores[inside])[::-1][:3])
        assert np.allclose([m.sum() for m in rows["attention"]], rows["score"])
        assert rows["image_id"].tolist() == ids[inside][np.argsort(-scores[inside])][:3].tolist()
        full = np.maximum(space.write_back(direction, [layer[inside] for layer in layers], 8), 0)
        for position, category in enumerate((0, 1, 3, 6, 18)):
            counted = masks[inside] == category
            assert under.attention[0, c, position] == pytest.approx(full[counted].sum(), rel=1e-4)
            assert under.pixels[0, c, position] == counted.sum()
    # The shuffled sets are of as many images, and of the same ones together.
    assert under.pixels.shape == (1 + attention.SHUFFLES, 2, 5)
    assert len(np.unique(under.attention[:, 0, 0])) > attention.SHUFFLES / 2


def test_attention_is_exact_on_layers_of_any_size(rng):
    """Cells that nest in no pixel, finer or not square: of a network of another input size than the data's."""
    user = network(100, 60, 3)
    pictures = rng.uniform(0, 255, (6, SIZE, SIZE, 3)).astype(np.float32)
    model = adopt(user, TAXONOMY.class_names, None, "zero_one", pictures)
    names = ("coarse", "fine", "last", "both")
    probe = activations(model, names)
    layers = probe.predict_on_batch(pictures)[:-1]
    assert [layer.shape[1:3] for layer in layers] == [(25, 15), (50, 30), (50, 30), (50, 30)]
    space = fit_latent_space(pool(layers), names, 4)
    vectors = space.transform(pool(layers))
    masks = rng.choice([0, 1, 3, 6, 18, 255], (6, SIZE, SIZE)).astype(np.uint8)
    directions = rng.normal(size=(3, 4))
    for n in range(6):
        own = [layer[n] for layer in layers]
        maps = np.stack([space.write_back(d, [layer[None] for layer in own], SIZE)[0] for d in directions])
        assert maps.sum((1, 2)) == pytest.approx(directions @ vectors[n], abs=1e-5 * np.abs(maps).sum())
        positions = TAXONOMY.position_of_id[masks[n]]
        found = attention.many_by_category(space, directions, own, positions)
        for d, each in enumerate(maps):
            wanted, pixels = attention.by_category(each[None], positions[None], 5)
            assert found.attention[d] == pytest.approx(wanted[found.categories], rel=1e-3, abs=1e-6)
            assert (found.pixels == pixels[found.categories]).all()


def test_support_of_another_network_is_what_its_last_feature_map_gives(rng):
    """Its sum and the constant are the score; where logits are mapped one to one, they are linear in the map."""
    pictures = rng.uniform(0, 255, (1, SIZE, SIZE, 3)).astype(np.float32)
    model = adopt(network(2 * SIZE, 2 * SIZE, 3), TAXONOMY.class_names, None, "zero_one", pictures)
    supporter = support.supporter_of(model)
    region = np.ones((1, SIZE, SIZE), bool)
    found = supporter.support(pictures, 1, region)
    logits = model.predict_on_batch(pictures)
    assert found.score[0] == pytest.approx((logits[..., 1] - logits.mean(-1)).mean(), abs=1e-4)
    kernel, bias = model.get_layer("head").get_weights()
    cells = (probe_of(model, "last", pictures) @ (kernel[0, 0, :, 1] - kernel[0, 0].mean(-1)))[0]
    assert found.maps.sum() == pytest.approx(cells.mean(), abs=2e-4)
    assert found.constant[0] == pytest.approx(bias[1] - bias.mean(), abs=2e-4)
    assert support.supporter_of(None) is None


def probe_of(model: keras.Model, name: str, pictures: np.ndarray) -> np.ndarray:
    return activations(model, (name,)).predict_on_batch(pictures)[0]


def under_of(share: float, sets: int = 100, seed: int = 0) -> attention.Under:
    """Two clusters and three categories; of the first cluster a share of the attention is on the second category.

    In the other sets it is on 10 % of the pixels by 5 to 20 %.
    """
    rng = np.random.default_rng(seed)
    pixels = np.tile([80.0, 10.0, 10.0], (sets, 2, 1))
    on = rng.uniform(0.05, 0.2, (sets, 2))
    on[0, 0] = share
    rest = rng.uniform(0.4, 0.6, (sets, 2)) * (1 - on)
    return attention.Under(np.stack([1 - on - rest, on, rest], -1), pixels, np.ones((4, 2, 3)))


def test_a_share_is_marked_if_random_clusters_do_not_show_it():
    names = ["unlabelled", "bus", "dog"]
    for share, marked in ((0.15, False), (0.9, True)):
        table = attention.attention_profile(under_of(share), names).set_index(["cluster", "feature"])
        row = table.loc[(0, "bus")]
        assert (row["inside"], row["rest"]) == pytest.approx((share, 0.1))
        assert row["lift"] == pytest.approx(share / 0.1)
        assert row["low"] < 0.1 < row["high"]
        assert (row["p_value"] <= 0.05) == (not row["low"] <= share <= row["high"]) == marked


def test_the_interval_of_a_share_holds_the_share_of_all_images_in_19_of_20_clusters(rng):
    """Images vary in how much attention they get and in where it is; the more they get, the more is on the first."""
    strength = rng.gamma(2, 1, (600, 40))
    first = strength * rng.beta(2 + strength, 6)
    truth = (lambda s: (s * (2 + s) / (8 + s)).mean() / s.mean())(rng.gamma(2, 1, 10**6))
    parts = np.stack([first, strength - first], -1)
    moments = sum(
        np.stack([attention.moments_of(each, np.arange(2), 2) for each in images], 1)
        for images in parts.transpose(1, 0, 2)
    )
    sums = parts.sum(1)
    under = attention.Under(sums[None], np.ones((1, 600, 2)), moments)
    table = attention.attention_profile(under, ["first", "second"]).query("feature == 'first'")
    assert table["inside"].mean() == pytest.approx(truth, abs=0.005)
    assert table["inside_low"].between(0, table["inside"]).all()
    assert 0.92 <= ((table["inside_low"] <= truth) & (truth <= table["inside_high"])).mean() <= 0.98


def test_one_image_gives_no_interval():
    under = attention.Under(*np.ones((2, 1, 1, 2)), attention.moments_of(np.ones(2), np.arange(2), 2)[:, None])
    table = attention.attention_profile(under, ["a", "b"])
    assert table[["inside_low", "inside_high"]].isna().all(axis=None)


def test_random_clusters_are_seldom_marked():
    marked = 0
    for seed in range(100):
        under = under_of(np.random.default_rng(1000 + seed).uniform(0.05, 0.2), 40, seed)
        marked += (attention.attention_profile(under, ["unlabelled", "bus", "dog"])["p_value"] <= 0.05).any()
    assert marked <= 12


@pytest.mark.filterwarnings("error")
def test_under_an_attention_on_ignored_pixels_nothing_lies(rng):
    nothing = np.zeros((5, 2, 3))
    assert attention.attention_profile(
        attention.Under(nothing, nothing, np.zeros((4, 2, 3))), ["unlabelled", "bus", "dog"]
    ).empty
    maps, positions = rng.normal(size=(2, 8, 8)), np.full((2, 8, 8), 255, np.uint8)
    positive, pixels = attention.by_category(maps, positions, 3)
    assert positive.tolist() == pixels.tolist() == [0, 0, 0]
    assert all(np.isnan(share) for share in attention.most_on(positive, ["unlabelled", "bus", "dog"]).values())


def profiled(labels: np.ndarray) -> pd.DataFrame:
    numbers = pd.DataFrame({"n": np.arange(len(labels)) * 1.0})
    facts = pd.DataFrame({"gray": labels == 0})
    found = np.ones((2, labels.max() + 1))
    return profile_clusters(labels, facts, numbers, numbers, np.arange(len(labels)), found)


def test_attention_follows_the_profiles_with_their_names_and_sizes(tmp_path):
    profiles = profiled(np.array([0] * 8 + [1] * 6 + [-1] * 26))
    shares = np.random.default_rng(0).random((2, 10, 2, 5)) + 0.1
    table = attention.attention_rows(attention.Under(*shares, np.ones((4, 2, 5))), profiles, TAXONOMY)
    pd.testing.assert_frame_equal(table[: len(profiles)], profiles, check_dtype=False)
    rows = table[len(profiles) :]
    assert set(rows["kind"]) == {"attention"}
    assert rows["cluster"].tolist() == [0] * 5 + [1] * 5
    assert rows["name"].tolist() == ["gray"] * 5 + ["mixed"] * 5
    assert rows[["size", "groups"]].to_numpy().tolist() == [[8, 8]] * 5 + [[6, 6]] * 5
    assert rows["feature"].tolist() == [*TAXONOMY.category_names] * 2
    write_parquet(tmp_path / "profiles.parquet", table, CLUSTER_PROFILES)


@pytest.mark.filterwarnings("error")
def test_without_clusters_nothing_is_attended(tmp_path, rng):
    layers = [rng.gamma(1, 1, (12, 4, 4, 6))]
    space = fit_latent_space(pool(layers), ("a",), 4)
    points = points_of(np.arange(12), space.transform(pool(layers)), np.full(12, -1))
    batches = [(points.image_ids, np.zeros((12, 8, 8), np.uint8), layers)]
    maps, under = attended(batches, space, points)
    assert under.attention.shape == (1 + attention.SHUFFLES, 0, 5)
    write_parquet(tmp_path / "heatmaps.parquet", maps, heatmaps_schema(8))
    assert attention.attention_rows(under, profiled(points.labels), TAXONOMY).empty


def test_most_of_the_attention_by_hand():
    found = attention.most_on(np.array([1.0, 0, 4, 2, 3]), TAXONOMY.category_names)
    assert found == {"car": 0.4, "dog": pytest.approx(0.3), "bus": 0.2}


def test_the_score_is_the_margin_of_the_models_own_logits_in_the_region(model, supporter, pictures):
    regions = np.zeros((2, SIZE, SIZE), bool)
    regions[0, 10:20, 10:30] = regions[1, 40:, :] = True
    logits = model.predict(pictures, verbose=0)
    margin = logits[..., 2] - logits.mean(-1)
    found = supporter.support(pictures, 2, regions)
    expected = [margin[i][regions[i]].mean() for i in range(2)]
    assert np.allclose(found.score, expected, rtol=1e-3, atol=1e-4)
    assert np.allclose(found.maps.sum((1, 2)) + found.constant, found.score, rtol=1e-6)
    assert np.array_equal(supporter.predict(pictures), logits.argmax(-1))


def test_support_is_the_gradient_of_what_the_decoder_is_given_times_it(model, supporter, pictures):
    """By central differences: scaling what the decoder is given up and down changes the score by the maps' sum."""
    regions = np.ones((2, SIZE, SIZE), bool)
    found = supporter.support(pictures, 1, regions)
    given = supporter.given(pictures)
    step = 1e-2
    up, down = (
        supporter.score([layer * scale for layer in given], 1, regions).numpy() for scale in (1 + step, 1 - step)
    )
    assert np.allclose(found.maps.sum((1, 2)), (up - down) / (2 * step), rtol=0.02, atol=1e-3)


def test_support_of_an_affine_decoder_is_exact(rng):
    """One cell feeds the score: all support lies on its pixels."""
    inputs = keras.Input((32, 32, 3))
    skips = [inputs]
    for name in ("half", "quarter", BOTTLENECK):
        skips.append(keras.layers.AveragePooling2D(2, name=name)(skips[-1]))
    x = skips[-1]
    for i, skip in enumerate(skips[-2:0:-1], start=1):
        forgotten = keras.layers.Rescaling(0.0)(keras.layers.UpSampling2D()(x))
        x = keras.layers.Add(name=f"skip_{i}")([forgotten, skip])
    model = keras.Model(inputs, keras.layers.UpSampling2D()(x))
    picture = np.zeros((1, 32, 32, 3), np.float32)
    picture[0, :, :, 1] = rng.uniform(1, 2, (32, 32))
    region = np.zeros((1, 32, 32), bool)
    region[0, 4:6, 8:10] = True
    found = support.Supporter(model).support(picture, 1, region)
    assert found.maps[0][region[0]].sum() == pytest.approx(found.score[0], rel=1e-5)
    assert found.score[0] == pytest.approx(picture[0, 4:6, 8:10, 1].mean() * 2 / 3, rel=1e-5)
    assert np.abs(found.maps[0][~region[0]]).max() < 1e-6


def test_the_most_wrong_images_by_hand():
    # Three images, two classes and three categories (unlabelled, person, car): pixels predicted as car …
    counts = [[[0] * 3, [0] * 3, of_car] for of_car in ([5, 0, 90], [1, 30, 0], [0, 0, 70])]
    predictions = pd.DataFrame({"image_id": [7, 8, 9], "counts": [np.ravel(c) for c in counts]})
    taxonomy = Taxonomy(CATEGORIES[:2], TAXONOMY.classes)
    assert support.most_wrong(predictions, taxonomy, 5) == {1: [], 2: [8, 7]}
    assert support.most_wrong(predictions, taxonomy, 1) == {1: [], 2: [8]}


def test_wrong_pixels_are_explained_image_by_image(supporter, pictures, tmp_path):
    predicted = supporter.predict(pictures)
    k = int(np.bincount(predicted[predicted > 0]).argmax())
    masks = np.zeros((2, SIZE, SIZE), np.uint8)
    masks[:, :5] = {1: 1, 2: 3}[k]
    with open_shard(tmp_path, "val", 0, 1) as shard:
        for i, picture, mask in zip((11, 12), pictures.astype(np.uint8), masks, strict=True):
            shard.write(example({"image_id": i, "image": encode_png(picture), "mask": encode_png(mask)}))
    records = split_records(tmp_path, SIZE, "val")
    table = support.explain_errors(supporter, records, {1: [], 2: []} | {k: [12]}, TAXONOMY)
    (row,) = table.to_dict("records")
    seen = supporter.predict(pictures.astype(np.uint8).astype(np.float32))[1] == k
    seen[:5] = False
    assert (row["image_id"], row["class"], row["pixels"]) == (12, ["person", "car"][k - 1], seen.sum())
    assert np.array_equal(decode_png(row["region"]) > 0, seen)
    assert row["support"].sum() + row["constant"] == pytest.approx(row["score"], rel=1e-5)
    on = dict(row["on"])
    assert set(on) == {"unlabelled", ["person", "car"][k - 1]}  # nothing else is labelled
    assert sum(on.values()) == pytest.approx(1)
    write_parquet(tmp_path / "supports.parquet", table, supports_schema(SIZE))
    write_parquet(
        tmp_path / "none.parquet", support.explain_errors(supporter, records, {}, TAXONOMY), supports_schema(SIZE)
    )
