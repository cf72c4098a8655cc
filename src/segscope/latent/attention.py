"""Where in the images the model sees what it makes of them.

Letters: N images, G groups, H × W pixels, D dimensions, C clusters, K category positions, S sets of clusters.

Two kinds of maps. An *attention map* writes a direction of the latent space back onto an image, exactly. A *support
map* does the same for the logits, which are affine as long as no ReLU of the decoder switches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import t

from segscope.evaluation.bootstrap import Bootstrap
from segscope.latent.space import LatentSpace, covered
from segscope.taxonomy import IGNORE, Taxonomy

SHUFFLES = 99
SEED = 0
MOST_GROUPS = 2000  # whose attention is counted; a seeded sample of more
WIDESPREAD = 0.01  # of all pixels; rarer categories are in too few images of shuffled clusters to compare with
LEAST_SHARE = 0.005  # smaller ones count as this
FAMILY_ERROR = 0.05


class Points(NamedTuple):
    """Clustered images. image_ids: int64[N]. vectors: latent ones, float64 N × D. labels: cluster or -1, int[N].

    group: int[N]; the images of a group are in one cluster.
    """

    image_ids: np.ndarray
    vectors: np.ndarray
    labels: np.ndarray
    group: np.ndarray


class Under(NamedTuple):
    """What lies under the attention: the sum of its positive part and the pixels, float64 S × C × K each.

    The first set is of the clusters, the others are of as large ones of shuffled groups. moments: float64 4 × C × K, of
    the first set's images, a's positive part on a category and b's on all: the sums of a², ab, b² and 1.
    """

    attention: np.ndarray
    pixels: np.ndarray
    moments: np.ndarray


def cluster_directions(vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Unit vectors C × D from the mean of the other vectors, N × D, to the mean of each cluster's; labels: int[N]."""
    inside = labels == np.arange(labels.max() + 1)[:, None]
    n, sums = inside.sum(1, keepdims=True), inside @ vectors
    directions = sums / n - (vectors.sum(0) - sums) / (len(vectors) - n)
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def group_means(vectors: np.ndarray, labels: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The groups' mean vectors, G × D of N × D, and their clusters, int[G]."""
    among = Bootstrap(group)
    first = np.unique(among.group, return_index=True)[1]
    return among.means(vectors), labels[first]


def choose_exemplars(points: Points, directions: np.ndarray, most: int) -> np.ndarray:
    """Each cluster's images that score highest on its direction, at most one of a group: positions among the N.

    directions: C × D.
    """
    members = np.flatnonzero(points.labels >= 0)
    cluster = points.labels[members]
    score = (points.vectors[members] * directions[cluster]).sum(1)
    table = pd.DataFrame({"position": members, "cluster": cluster, "group": points.group[members], "score": score})
    best = table.sort_values("score", ascending=False, kind="stable").drop_duplicates("group")
    return best.groupby("cluster").head(most)["position"].to_numpy()


@dataclass(frozen=True)
class Attention:
    """What is attended to: the maps of some images, and what lies under the attention of others.

    directions: float64 S × C × D, of the clusters and of shuffled ones. exemplars: cluster by image_id, of the images
    whose maps are kept. clusters: int[S] by image_id, of those whose attention is counted, one of a group.
    """

    space: LatentSpace
    taxonomy: Taxonomy
    directions: np.ndarray
    exemplars: Mapping[int, int]
    clusters: Mapping[int, np.ndarray]

    @property
    def image_ids(self) -> np.ndarray:
        """Of all these images, int64[n], in ascending order."""
        return np.array(sorted({*self.exemplars, *self.clusters}), np.int64)

    def of(self, batches: Iterable[tuple[np.ndarray, np.ndarray, list[np.ndarray]]]) -> tuple[pd.DataFrame, Under]:
        """Rows of heatmaps.parquet, in any order, and what lies under the attention.

        batches: image_id int64[B], mask of category ids uint8 B × H × W, the space's layers' activations, of images in
        any order, some of them these.
        """
        names, (sets, clusters, _) = self.taxonomy.category_names, self.directions.shape
        under = Under(*(np.zeros((n, clusters, len(names))) for n in (sets, sets, 4)))
        rows = []
        for image_ids, masks, outputs in batches:
            for b, image_id in enumerate(image_ids.tolist()):
                layers = [layer[b] for layer in outputs]
                if image_id in self.exemplars:
                    c = self.exemplars[image_id]
                    (heat,) = self.space.write_back(
                        self.directions[0, c], [layer[None] for layer in layers], len(masks[b])
                    )
                    rows.append({"cluster": c, "image_id": image_id, "score": heat.sum(), "attention": heat.ravel()})
                if image_id in self.clusters:
                    cluster = self.clusters[image_id]
                    s = np.flatnonzero(cluster >= 0)
                    positions = self.taxonomy.position_of_id[masks[b]]
                    found = many_by_category(self.space, self.directions[s, cluster[s]], layers, positions)
                    here = s[:, None], cluster[s][:, None], found.categories
                    under.attention[here] += found.attention
                    under.pixels[here] += found.pixels
                    if cluster[0] >= 0:
                        under.moments[:, cluster[0]] += moments_of(found.attention[0], found.categories, len(names))
        return pd.DataFrame(rows, columns=["cluster", "image_id", "score", "attention"]), under


def plan_attention(space: LatentSpace, points: Points, taxonomy: Taxonomy, most: int) -> Attention:
    """Attention to each cluster's exemplars, at most `most`, and to MOST_GROUPS groups of the images, one of each."""
    means, labels = group_means(points.vectors, points.labels, points.group)
    draw = np.random.default_rng(SEED)
    sets = np.stack([labels, *(draw.permutation(labels) for _ in range(SHUFFLES))])
    directions = np.stack([cluster_directions(means, each) for each in sets])
    exemplars = choose_exemplars(points, directions[0], most)
    ids = points.image_ids
    return Attention(
        space,
        taxonomy,
        directions,
        dict(zip(ids[exemplars].tolist(), points.labels[exemplars].tolist(), strict=True)),
        {int(ids[position]): sets[:, group] for position, group in one_a_group(points.group).items()},
    )


def one_a_group(group: np.ndarray) -> dict[int, int]:
    """A seeded image of each group, of at most MOST_GROUPS groups: position among int[N] → number of the group."""
    draw = np.random.default_rng(SEED)
    order = draw.permutation(len(group))
    _, first = np.unique(group[order], return_index=True)
    chosen = draw.permutation(len(first))[:MOST_GROUPS]
    return dict(zip(order[first[chosen]].tolist(), chosen.tolist(), strict=True))


class Shared(NamedTuple):
    """Of one image, by those P category positions that it shows: attention float S × P, pixels float[P]."""

    categories: np.ndarray
    attention: np.ndarray
    pixels: np.ndarray


def many_by_category(
    space: LatentSpace, directions: np.ndarray, activations: Sequence[np.ndarray], positions: np.ndarray
) -> Shared:
    """`by_category` of one image's maps of many directions, S × D, at the resolution of its finest layer.

    Within a cell of that layer a map is constant, so nothing is lost. Where layers' cells do not nest in the pixels, at
    that of the pixels. activations: of each layer, h × w × c. positions:
    uint8 H × W (or 255, which counts nowhere).
    """
    side = max(max(layer.shape[:2]) for layer in activations)
    nested = len(positions) % side == 0 and not any(side % n for layer in activations for n in layer.shape[:2])
    side = side if nested else len(positions)
    gradients = directions @ space.components / space.scale
    maps = np.zeros((len(directions), side, side), np.float32)
    start = 0
    for layer in activations:
        height, width, channels = layer.shape
        part = slice(start, start + channels)
        start += channels
        cells = gradients[:, part].astype(np.float32) @ layer.reshape(-1, channels).T.astype(np.float32)
        cells -= (gradients[:, part] @ space.mean[part])[:, None].astype(np.float32)
        if nested:
            blocks = maps.reshape(len(maps), height, side // height, width, side // width)
            blocks += cells.reshape(len(maps), height, 1, width, 1)
        else:
            maps += covered(side, height) @ cells.reshape(len(maps), height, width) @ covered(side, width).T
    size = len(positions) // side
    cell = np.arange(side * side).reshape(side, side).repeat(size, 0).repeat(size, 1)
    known = positions != IGNORE
    categories, index = np.unique(positions[known], return_inverse=True)
    pixels = np.bincount(cell[known] * len(categories) + index, minlength=side * side * len(categories))
    pixels = pixels.reshape(side * side, len(categories)).astype(np.float32)
    attention = np.maximum(maps, 0).reshape(len(maps), side * side) @ pixels / len(positions) ** 2
    return Shared(categories, attention, pixels.sum(0))


def moments_of(attention: np.ndarray, categories: np.ndarray, n_categories: int) -> np.ndarray:
    """Of one image what it adds to `Under.moments`, float64 4 × K; attention: float[P], of these category positions."""
    part = np.bincount(categories, attention, n_categories)
    whole = part.sum()
    return np.stack([part**2, part * whole, np.full(n_categories, whole**2), np.ones(n_categories)])


def by_category(maps: np.ndarray, positions: np.ndarray, n_categories: int) -> tuple[np.ndarray, np.ndarray]:
    """The maps' positive part, summed, and the number of pixels, by category position: float64[C] each.

    maps: float N × H × W. positions: uint8 N × H × W (or 255, which counts nowhere).
    """
    known = positions != IGNORE
    attention = np.bincount(positions[known], np.maximum(maps, 0)[known], n_categories)
    return attention, np.bincount(positions[known], minlength=n_categories).astype(float)


def attention_profile(under: Under, names: Sequence[str]) -> pd.DataFrame:
    """What lies under the clusters' attention, as profile rows: the share of positive attention on each category.

    names: K, the first unlabelled. Of the categories with 1 % of the pixels or more: inside, the share of attention;
    inside_low, inside_high: its 95 % interval over images; rest, the share of pixels; lift, their ratio; low, high: the
    range of shuffled clusters with that share of pixels; p_value: of all sets, the share in which any cluster and
    category is as far out as this one.

    How far out a share is: the difference of its log odds from those of the share of pixels, standardised over the
    sets. In 95 % of the sets no share is outside its range, which is where the p-value is 0.05 or less (the step-down's
    first step, maxT, of Westfall and Young 1993, Resampling-Based Multiple Testing).
    """
    pixels_of = under.pixels.sum((0, 1))
    common = np.flatnonzero(pixels_of >= max(WIDESPREAD * pixels_of.sum(), 1))
    share, area = (_shares(sums)[..., common] for sums in (under.attention, under.pixels))
    low, high = _share_interval(share[0], under.attention[0].sum(-1, keepdims=True), under.moments[..., common])
    excess = _log_odds(share) - _log_odds(area)
    centre, deviation = excess.mean(0), excess.std(0)
    far = np.divide(np.abs(excess - centre), deviation, out=np.zeros_like(excess), where=deviation > 0)
    farthest = far.max((1, 2), initial=0)
    reach = np.quantile(farthest, 1 - FAMILY_ERROR, method="lower") * deviation
    columns = {
        "inside": share[0],
        "inside_low": low,
        "inside_high": high,
        "rest": area[0],
        "lift": np.divide(share[0], area[0], out=np.full(area[0].shape, np.nan), where=area[0] > 0),
        "low": expit(_log_odds(area[0]) + centre - reach),
        "high": expit(_log_odds(area[0]) + centre + reach),
        "p_value": (farthest[:, None, None] >= far[0]).mean(0),
    }
    clusters, features = np.indices(share[0].shape)
    table = pd.DataFrame({name: values.ravel() for name, values in columns.items()})
    table["cluster"], table["feature"] = clusters.ravel(), np.asarray(names, object)[common][features.ravel()]
    return table[area[0].ravel() > 0].assign(kind="attention", recall=np.nan, units=np.nan)


def _shares(sums: np.ndarray) -> np.ndarray:
    """Each category's share, along the last axis; 0 of nothing."""
    total = sums.sum(-1, keepdims=True)
    return np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)


def _share_interval(share: np.ndarray, total: np.ndarray, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of shares, C × K, over images drawn anew; NaN where there is one image, or a share of 0 or 1.

    A ratio's linearised variance (Cochran 1977, Sampling Techniques, chapter 6), on the log odds so that they stay
    shares. total: of attention, C × 1. moments: as `Under` has them.
    """
    squares, products, wholes, n = moments
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (squares - 2 * share * products + share**2 * wholes) / total**2 * n / (n - 1)
        reach = t.ppf(0.975, n - 1) * np.sqrt(np.maximum(variance, 0)) / (share * (1 - share))
        return expit(logit(share) - reach), expit(logit(share) + reach)


def _log_odds(share: np.ndarray) -> np.ndarray:
    return logit(np.clip(share, LEAST_SHARE, 1 - LEAST_SHARE))


def most_on(attention: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """The three categories with most of a map's positive part, and their shares, none of 0; attention: float[C]."""
    share = pd.Series(attention / max(attention.sum(), 1e-12), index=names)
    return share[share > 0].nlargest(3).to_dict()


def attention_rows(under: Under, profiles: pd.DataFrame, taxonomy: Taxonomy) -> pd.DataFrame:
    """The profile rows of what lies under each cluster's attention, to follow `profiles`."""
    known = profiles.drop_duplicates("cluster")[["cluster", "name", "size", "groups"]]
    rows = attention_profile(under, taxonomy.category_names).merge(known, on="cluster")
    return pd.concat([profiles, rows], ignore_index=True) if len(rows) else profiles
