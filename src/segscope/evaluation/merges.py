"""What a class would gain if it were trained together with categories that it is confused with.

What the present model makes of a category cannot tell: it was trained to reject it. So linear classifiers of pixels are
fitted anew to the frozen network's features, one with the class as it is, one with the categories in it, on train's
pixels, and both are measured on val's. Letters: N images, P pixels of each, D features, C category positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from segscope.evaluation.bootstrap import Bootstrap, interval
from segscope.evaluation.counts import iou
from segscope.evaluation.predicted import Pixels
from segscope.taxonomy import IGNORE

LEAST_GAIN = 0.02  # of IoU; less is not worth a merge
STRENGTH = 1e-3  # scikit-learn's C of the standardised features: docs/merges.md


class Gain(NamedTuple):
    """What one merge would change, by the linear heads; before, recall_before: of the class as it is.

    before, after: IoU. low, high: the 95 % interval, over groups, of after - before. recall_before, recall_after: of
    the class's own pixels. carriers: groups that carry the pixels of the class, or of the merged one, whichever are
    fewer.
    """

    before: float
    after: float
    low: float
    high: float
    recall_before: float
    recall_after: float
    carriers: float

    @property
    def pays(self) -> bool:
        """Whether the gain is certain, and worth it."""
        return self.low > 0 and self.after - self.before >= LEAST_GAIN


class Heads:
    """Linear classifiers fitted to train's pixels and measured on val's. group: int[N], of val's images."""

    def __init__(self, train: Pixels, val: Pixels, group: np.ndarray):
        known = train.position != IGNORE
        features = train.features[known]
        self._mean, self._scale = features.mean(0), features.std(0) + 1e-3
        self._train = (features - self._mean) / self._scale, train.position[known]
        self._val = (val.features - self._mean) / self._scale, val.position
        self._bootstrap = Bootstrap(group)

    def merge(self, own: np.ndarray, candidates: Sequence[int]) -> tuple[list[int], Gain | None]:
        """The candidates that pay as part of the class, and what they would change; of none that pays, what all would.

        own: bool[C], the positions of the class as it is. candidates: positions, at least one. Each of those that are
        returned adds LEAST_GAIN or more of IoU to the others, and what they change together `pays`. Where val shows the
        class in one group or none, nothing is known of that: none, and None.
        """
        if self._bootstrap.number(self._shown(own).sum(1, keepdims=True) > 0)[0] < 2:
            return [], None
        before, full = self._outcomes(own, own), frozenset(candidates)
        parts = {frozenset[int](): before}

        def value(members: frozenset[int]) -> float:
            if members not in parts:
                parts[members] = self._outcomes(own, _with(own, members))
            return float(_iou(parts[members].sum(0)))

        kept = full
        while kept:  # what adds least to the others is left out, until each adds enough
            adds = {i: value(kept) - value(kept - {i}) for i in sorted(kept)}
            least = min(adds, key=lambda i: adds[i])
            if adds[least] >= LEAST_GAIN:
                break
            kept -= {least}
        gain = self._gain(before, parts[kept])
        if gain.pays:
            return [i for i in candidates if i in kept], gain
        return [], self._gain(before, parts[full])

    def _gain(self, before: np.ndarray, after: np.ndarray) -> Gain:
        drawn = self._bootstrap.sums(np.concatenate([before, after], 1))
        low, high = interval(_iou(drawn[:, 5:]) - _iou(drawn[:, :5]))
        pixels = np.stack([before[:, 3], after[:, 0] + after[:, 2]], 1)  # of the class as it is, and merged
        carriers = float(self._bootstrap.carriers(pixels).min())
        recalls = [float(found / max(pixels, 1)) for *_, pixels, found in (before.sum(0), after.sum(0))]
        return Gain(float(_iou(before.sum(0))), float(_iou(after.sum(0))), low, high, recalls[0], recalls[1], carriers)

    def _outcomes(self, own: np.ndarray, member: np.ndarray) -> np.ndarray:
        """Each val image's true positive, false positive, false negative, own and found own pixels, float64 N × 5."""
        found = self._predicted(member) & (self._val[1] != IGNORE)
        true, mine = self._shown(member), self._shown(own)
        parts = [found & true, found & ~true, ~found & true, mine, mine & found]
        return np.stack([part.sum(1) for part in parts], -1).astype(np.float64)

    def _shown(self, member: np.ndarray) -> np.ndarray:
        """val's pixels that are of members, bool N × P; member: bool[C]."""
        known = self._val[1] != IGNORE
        return np.asarray(member[np.where(known, self._val[1], 0)] & known)

    def _predicted(self, member: np.ndarray) -> np.ndarray:
        """val's pixels that are taken for members, bool N × P; member: bool[C].

        By logistic regression, the classes weighted by the root of their inverse frequency, as in the network's loss.
        """
        x, position = self._train
        y = member[position]
        if y.all() or not y.any():
            return np.full(self._val[1].shape, y.any())
        odds = float(y.mean() / (1 - y.mean()))
        head = LogisticRegression(C=STRENGTH, class_weight={False: 1.0, True: odds**-0.5}, max_iter=100, tol=1e-3)
        with threadpool_limits(1):  # so small a problem is slower on several threads
            head.fit(x, y)
        return self._val[0] @ head.coef_[0].astype(np.float32) + np.float32(head.intercept_[0]) > 0


def _with(own: np.ndarray, positions: Iterable[int]) -> np.ndarray:
    member = own.copy()
    member[list(positions)] = True
    return member


def _iou(parts: np.ndarray) -> np.ndarray:
    return iou(*np.moveaxis(parts[..., :3], -1, 0))
