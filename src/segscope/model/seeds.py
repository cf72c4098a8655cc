"""Randomness that is none."""

from __future__ import annotations

import keras


def set_seeds(seed: int) -> None:
    """Seed all generators that a library may draw from: Python's, NumPy's, TensorFlow's."""
    keras.utils.set_random_seed(seed)
