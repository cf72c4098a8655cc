"""Which stages start without the heavy libraries."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def imported(*stages: str) -> set[str]:
    """What an interpreter has of libraries in which the stages have started, one after another."""
    code = (
        f"import sys, runpy; [runpy.run_path(f'stages/{{stage}}.py', run_name='imported') for stage in {stages}]; "
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_the_stages_around_the_model_start_without_tensorflow():
    assert imported("download", "masks", "embed", "report") & {"tensorflow", "keras", "umap"} == set()


def test_umap_stays_in_embed_and_cluster():
    modules = imported("train", "predict")
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
