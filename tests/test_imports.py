"""Which stages start without the heavy libraries."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def imported(stage: str) -> set[str]:
    code = (
        f"import sys, runpy; runpy.run_path('stages/{stage}.py', run_name='imported'); "
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(result.stdout.split())


@pytest.mark.parametrize("stage", ["download", "masks", "embed", "report"])
def test_the_stages_around_the_model_start_without_tensorflow(stage):
    assert imported(stage) & {"tensorflow", "keras", "umap"} == set()


@pytest.mark.parametrize("stage", ["train", "predict"])
def test_umap_stays_in_embed_and_cluster(stage):
    modules = imported(stage)
    assert "tensorflow" in modules
    assert "umap" not in modules


def test_a_map_needs_no_tensorflow_and_leaves_it_to_be_imported():
    code = """
import sys, numpy as np
from segscope.latent.projection import map_of
map_of(np.random.default_rng(0).normal(size=(40, 4)), 5, 0.1, 0)
print("umap" in sys.modules, "tensorflow" in sys.modules)
import tensorflow
print(tensorflow.constant(1).numpy())
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["True", "False", "1"], result.stderr
