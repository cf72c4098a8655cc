"""The choices and checks behind docs/latent.md, on the folders of finished runs (`dvc repro`).

python bench/latent_space.py layers FOLDER ...    # what the latent vector is made of
python bench/latent_space.py sanity FOLDER ...    # do the maps depend on what was learned, and do they tell the truth
python bench/latent_space.py clusters FOLDER ...  # names, and contact sheets in FOLDER/contact-sheets
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from segscope.artefacts.overlays import contact_sheet, thumbnail
from segscope.latent import separability
from segscope.latent.attention import cluster_directions
from segscope.latent.explore import Explorer
from segscope.latent.neighbors import nearest, purity
from segscope.latent.sides import heavy_groups, kinds, sides
from segscope.latent.space import LatentSpace, fit_latent_space, pool
from segscope.latent.support import Supporter
from segscope.model.dataset import split_records
from segscope.model.inference import Batch, batches_of, layer_batches
from segscope.model.unet import BOTTLENECK, activations
from segscope.run import Run

DECODER = ("up_1_relu", "up_2_relu", "up_3_relu")
CHOICES = {
    "bottleneck": (BOTTLENECK,),
    "decoder's first": DECODER[:1],
    "decoder's second": DECODER[1:2],
    "decoder's last": DECODER[2:],
    "decoder": DECODER,
    "bottleneck, first two": (BOTTLENECK, *DECODER[:2]),
    "bottleneck, last two": (BOTTLENECK, *DECODER[1:]),
    "bottleneck, decoder": (BOTTLENECK, *DECODER),
}
DIMENSIONS = (8, 16, 32, 64)
NEIGHBORS = 12
RESAMPLES = 2000
RANDOM = 3  # decoders of random weights
OCCLUSIONS = 8  # random squares an image


def all_batches(model: keras.Model, names: Sequence[str], run: Run) -> Iterator[Batch]:
    """The layers' activations of all images."""
    splits = run.table("samples", ["split"])["split"].unique()
    return layer_batches(model, names, split_records(run.path("dataset"), run.params.data.image_size, *splits))


def layers(explorer: Explorer) -> None:
    """Separability, silhouette and neighbour purity of each choice, with 95 % intervals over images."""
    run, names = explorer.run, CHOICES["bottleneck, decoder"]
    ids, pooled = [], []
    for image_ids, _, outputs in all_batches(explorer.model, names, run):
        ids.append(image_ids)
        pooled.append([pool([layer]) for layer in outputs])
    ids = np.concatenate(ids)
    of_layer = {name: np.concatenate([batch[i] for batch in pooled]) for i, name in enumerate(names)}
    samples = run.table("samples").set_index("image_id").loc[ids]
    two = sides(samples, run.taxonomy)
    group, dominant = heavy_groups(samples, two), kinds(samples, run.categories)[0]
    alone = np.arange(len(ids))
    draws = np.random.default_rng(0).integers(0, len(ids), (RESAMPLES, len(ids)))
    chance = (pd.Series(dominant).value_counts(normalize=True) ** 2).sum()
    print(f"\n{run.params.variant}: {len(ids)} images; purity by chance {chance:.3f}")
    print("| layers | dimensions | separability | silhouette | neighbour purity |\n| --- | --- | --- | --- | --- |")
    for title, chosen in CHOICES.items():
        for dimensions in DIMENSIONS if chosen == names else (32,):
            means = np.hstack([of_layer[name] for name in chosen])
            vectors = fit_latent_space(means, chosen, min(dimensions, means.shape[1])).transform(means)
            pure = purity(nearest(vectors, NEIGHBORS, 0).index, dominant)
            low, high = np.quantile(pure[draws].mean(1), (0.025, 0.975))
            apart, ends = separability.separability(vectors, group, alone, 0)
            silhouette = separability.silhouette(vectors, group, 0)
            figures = f"{apart:.3f} ({ends[0]:.3f} to {ends[1]:.3f}) | {silhouette:.3f}"
            print(f"| {title} | {vectors.shape[1]} | {figures} | {pure.mean():.3f} ({low:.3f} to {high:.3f}) |")


def randomise(model: keras.Model, seed: int) -> keras.Model:
    """The model with its decoder's weights drawn anew; the encoder's stay."""
    keras.utils.set_random_seed(seed)
    random = keras.models.clone_model(model)
    random.set_weights(model.get_weights())
    fresh = keras.models.clone_model(model)
    for layer in random.layers:
        if layer.name.startswith(("up_", "half_logits", "logits")) and layer.weights:
            layer.set_weights(fresh.get_layer(layer.name).get_weights())
    return random


def sanity(explorer: Explorer) -> None:
    """Model randomisation (Adebayo et al. 2018, https://arxiv.org/abs/1810.03292), and occlusion."""
    print(f"\n{explorer.run.params.variant}")
    models = {"trained": explorer.model}
    models |= {f"random {seed}": randomise(explorer.model, seed) for seed in range(RANDOM)}
    attention_sanity(explorer, models)
    support_sanity(explorer, models)


def attention_sanity(explorer: Explorer, models: Mapping[str, keras.Model]) -> None:
    """The clusters' attention maps on all images."""
    run, names = explorer.run, explorer.space.layers
    cluster_of = run.table("clusters").set_index("image_id")["cluster"]
    probes = {name: activations(model, names) for name, model in models.items()}
    spaces, directions = {}, {}
    for name, model in models.items():
        found = [(ids, pool(outputs)) for ids, _, outputs in all_batches(model, names, run)]
        ids, pooled = (np.concatenate(each) for each in zip(*found, strict=True))
        labels = cluster_of.loc[ids].to_numpy()
        spaces[name] = fit_latent_space(pooled, names, run.params.embed.dimensions)
        vectors = spaces[name].transform(pooled)
        directions[name] = cluster_directions(vectors, labels)
    draw, maps, lost = np.random.default_rng(0), {name: [] for name in probes}, []
    for ids, pixels in pictures(explorer, ("train", "val")):
        cluster = cluster_of.loc[ids].to_numpy()
        outputs = {name: probe.predict_on_batch(pixels)[:-1] for name, probe in probes.items()}
        for c in np.unique(cluster[cluster >= 0]):
            own = cluster == c
            for name, space in spaces.items():
                layers = [layer[own] for layer in outputs[name]]
                maps[name].append(space.write_back(directions[name][c], layers, explorer.size))
            score = partial(latent_score, probes["trained"], spaces["trained"], directions["trained"][c])
            lost.append(occlusion(pixels[own], maps["trained"][-1], score, draw))
    say("attention", {name: np.concatenate(parts) for name, parts in maps.items()}, np.concatenate(lost))


def support_sanity(explorer: Explorer, models: Mapping[str, keras.Model]) -> None:
    """The support maps of each class on the val images where at least 80 pixels are predicted as it."""
    supporters = {name: Supporter(model) for name, model in models.items()}
    trained = supporters["trained"]
    draw, maps, lost = np.random.default_rng(0), {name: [] for name in supporters}, []
    for _, pixels in pictures(explorer, ("val",)):
        predicted = trained.predict(pixels)
        for k in range(1, len(explorer.run.taxonomy.class_names)):
            own = (predicted == k).sum((1, 2)) >= 80
            if not own.any():
                continue
            regions = predicted[own] == k
            for name, supporter in supporters.items():
                maps[name].append(supporter.support(pixels[own], k, regions).maps)
            lost.append(occlusion(pixels[own], maps["trained"][-1], partial(class_score, trained, k, regions), draw))
    say("support", {name: np.concatenate(parts) for name, parts in maps.items()}, np.concatenate(lost))


def pictures(explorer: Explorer, splits: tuple[str, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of image_id int64[N] and the pictures as the model is given them."""
    records = split_records(explorer.run.path("dataset"), explorer.size, *splits)
    for ids, images, _ in batches_of(records, explorer.size, 32):
        yield ids, images.astype(np.float32)


def latent_score(probe: keras.Model, space: LatentSpace, direction: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    return space.transform(pool(probe.predict_on_batch(pixels)[:-1])) @ direction


def class_score(supporter: Supporter, k: int, regions: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    return supporter.score(supporter.given(pixels), k, regions).numpy()


def occlusion(
    pixels: np.ndarray,
    maps: np.ndarray,
    score: Callable[[np.ndarray], np.ndarray],
    draw: np.random.Generator,
    side: int = 32,
) -> np.ndarray:
    """The score lost when a square is painted in the image's mean colour: the one with most of the map's positive
    part, and the mean of random ones. float64 N × 2.
    """
    size = maps.shape[1]
    before = score(pixels)
    step = 8
    starts = np.arange(0, size - side + 1, step)
    total = np.pad(np.maximum(maps, 0).cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    a, b = starts[:, None], starts[None]
    window = total[:, a + side, b + side] - total[:, a, b + side] - total[:, a + side, b] + total[:, a, b]
    best = window.reshape(len(maps), -1).argmax(1)
    tops = [(starts[i // len(starts)], starts[i % len(starts)]) for i in best]
    lost = [before - score(paint(pixels, tops, side))]
    for _ in range(OCCLUSIONS):
        places = list(zip(*draw.choice(starts, (2, len(maps))), strict=True))
        lost.append(before - score(paint(pixels, places, side)))
    return np.stack([lost[0], np.mean(lost[1:], axis=0)], axis=1)


def paint(pixels: np.ndarray, places: list[tuple[int, int]], side: int) -> np.ndarray:
    painted = pixels.copy()
    for picture, (top, left) in zip(painted, places, strict=True):
        picture[top : top + side, left : left + side] = picture.mean((0, 1))
    return painted


def say(title: str, maps: dict[str, np.ndarray], lost: np.ndarray) -> None:
    """Print how alike the trained and the random decoders' maps are, and what occlusion costs."""
    for name in list(maps)[1:]:
        pairs = zip(maps["trained"], maps[name], strict=True)
        alike = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in pairs]
        low, middle, high = np.quantile(alike, (0.25, 0.5, 0.75))
        print(
            f"{title}, {name}: rank correlation with the trained, median {middle:.2f}, quartiles {low:.2f}, {high:.2f}"
        )
    gain = lost[:, 0] - lost[:, 1]
    draws = np.random.default_rng(0).integers(0, len(gain), (RESAMPLES, len(gain)))
    low, high = np.quantile(gain[draws].mean(1), (0.025, 0.975))
    strongest, others = lost.mean(0)
    print(f"{title}, {len(lost)} maps; score lost by occlusion: strongest square {strongest:.2f}, others {others:.2f},")
    print(f"  difference {gain.mean():.2f} ({low:.2f} to {high:.2f}), above 0 in {np.mean(gain > 0):.0%} of the maps")


def clusters(explorer: Explorer) -> None:
    """A table of the clusters, and a contact sheet of each."""
    run, index = explorer.run, explorer.index
    labels, profiles = run.table("clusters"), run.table("cluster_profiles")
    folder = run.folder / "contact-sheets"
    folder.mkdir(exist_ok=True)
    for c, rows in profiles.groupby("cluster"):
        ids = labels[labels["cluster"] == c].nlargest(30, "probability")["image_id"]
        name, size = rows["name"].iloc[0], rows["size"].iloc[0]
        tiles = [(thumbnail(run.folder / index.loc[i, "path"], 120), str(i)) for i in ids]
        contact_sheet(tiles, columns=10, side=120).save(folder / f"{c}.png")
        under = rows[rows["kind"] == "attention"].nlargest(3, "inside")
        on = ", ".join(f"{row.feature} {row.inside:.0%} ({row.rest:.0%})" for row in under.itertuples())
        print(f"| {c} | {name} | {size} | {on} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("layers", "sanity", "clusters"))
    parser.add_argument("folders", nargs="+", type=Path)
    options = parser.parse_args()
    for folder in options.folders:
        {"layers": layers, "sanity": sanity, "clusters": clusters}[options.what](Explorer(Run(folder=folder)))


if __name__ == "__main__":
    main()
