"""Stages survive faults: of what they read, and of what they write to. bench/faults.py does more of the same."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from shutil import copytree, ignore_patterns

import faults
import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from in_process import run_stage
from joblib.externals.loky import get_reusable_executor
from project import ROOT, STAGES

from segscope.artefacts.files import atomic_folder, write_json
from segscope.artefacts.records import open_shard
from segscope.artefacts.schemas import INDEX, ROWS
from segscope.artefacts.tables import write_parquet, write_rows
from segscope.errors import surroundings
from segscope.latent.space import LatentSpace, save_latent_space
from segscope.model.callbacks import Checkpoint
from segscope.model.saving import save_model
from segscope.run import Run

# Read after much of the work is done: bench/faults.py alone looks at these.
LATE = {
    ("predict", "artifacts/repeats/seeds.json"),
    *(("cluster", path) for path in ("artifacts/model.keras", "artifacts/latent_space.npz")),
    *(("cluster", path) for path in faults.inputs("cluster") if path.endswith(".tfrecord")),
}
INPUTS = [(stage, path) for stage in STAGES for path in faults.inputs(stage) if (stage, path) not in LATE]


@pytest.fixture(scope="module")
def own(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished run that is put in order after each fault."""
    # Workers that other tests started have other working folders, where this one's relative paths lead nowhere.
    get_reusable_executor().shutdown(wait=True)
    folder = tmp_path_factory.mktemp("faults") / "project"
    return Path(copytree(finished, folder, ignore=ignore_patterns(".git", ".dvc", "src")))


@pytest.fixture
def project(own: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """It, as the working folder; nothing in it may become another."""
    monkeypatch.chdir(own)
    before = faults.made(own)
    yield own
    assert faults.made(own) == before


@pytest.mark.parametrize(("stage", "path"), INPUTS)
def test_a_damaged_input_is_told_in_one_line_that_says_what_to_do(stage, path, project):
    random = Random(f"{stage} {path}")
    name = random.choice([name for name in faults.DAMAGES if not faults.harmless(stage, path, name)])
    with faults.damaged(project / path, faults.DAMAGES[name], random):
        status, said = run_stage(stage)
    assert status == 1, name
    assert not faults.fault(said, *faults.named(path, name)), name


def test_a_picture_from_elsewhere_is_not_put_into_the_report(project, tmp_path):
    index = Run(folder=project).table("index")
    (tmp_path / "private.jpg").write_bytes(Path(index["path"].iloc[0]).read_bytes())
    index.loc[0, "path"] = str(tmp_path / "private.jpg")
    path = project / "data" / "index.parquet"
    with faults.damaged(path, lambda path, _: write_parquet(path, index, INDEX), Random()):
        status, said = run_stage("report")
    assert status == 1
    assert not faults.fault(said, "private.jpg")


def table(path: Path) -> None:
    write_parquet(path, pd.DataFrame({"a": np.random.default_rng(0).random(20_000)}), pa.schema({"a": pa.float64()}))


def shard(path: Path) -> None:
    with open_shard(path, "train", 0, 1) as writer:
        for _ in range(20):
            writer.write(bytes(5_000))


def whole_folder(path: Path) -> None:
    with atomic_folder(path) as inside:
        (inside / "a").write_bytes(bytes(100_000))


def network(path: Path) -> None:
    image = keras.Input((8, 8, 3))
    save_model(keras.Model(image, keras.layers.Conv2D(999, 3)(image)), path)


def checkpoint(path: Path) -> None:
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Conv2D(999, 3)(image))
    model.compile("adam", "mse")
    kept = Checkpoint(path, "one", 1)
    kept.set_model(model)
    kept.on_epoch_end(0, {"loss": 1.0})


WRITERS = {
    "table.parquet": table,
    "document.json": lambda path: write_json(path, {"a": ["a" * 1000] * 100}),
    "iou.json": lambda path: write_rows(path, pd.DataFrame([dict.fromkeys(ROWS["iou"].names)] * 1000)),
    "space.npz": lambda path: save_latent_space(path, LatentSpace(("a",), *np.zeros((2, 999)), np.zeros((99, 999)))),
    "model.keras": network,
    "checkpoint": checkpoint,
    "shards": shard,
    "folder": whole_folder,
}


@pytest.fixture
def room() -> Iterator[Callable[[int], None]]:
    """Sets how many bytes a file may have, as a full disk would; then that is over."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_what_was_there(name, room, tmp_path):
    path = tmp_path / name
    WRITERS[name](path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    random = Random(name)
    for _ in range(4):
        room(random.randrange(max(map(len, before.values()))))
        with pytest.raises(OSError) as error:  # noqa: PT011  # which: below
            WRITERS[name](path)
        room(-1)
        assert surroundings(error.value)
        assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def a_folder(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "mine.txt").write_text("mine")


def a_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")


def a_link(path: Path) -> None:
    a_folder(path.parent.parent / "mine")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(path.parent.parent / "mine")


def a_file_above(path: Path) -> None:
    a_file(path.parent)


def a_link_to_nothing_above(path: Path) -> None:
    path.parent.parent.mkdir(exist_ok=True)
    path.parent.symlink_to(path.parent.parent / "nothing")


OUTPUTS = [*faults.makers().items(), *((f"metrics/{stage}.json", stage) for stage in STAGES)]
USERS = [a_folder, a_file, a_link, a_file_above, a_link_to_nothing_above]


def refused(out: str, put: Callable[[Path], None]) -> bool:
    """Whether what lies in an output's place is not replaced. A log is written into the folder that there is."""
    if put in (a_file_above, a_link_to_nothing_above):
        return len(Path(out).parts) > 1  # else the project itself
    if out == "artifacts/training":
        return put is a_file
    return put is a_folder if Path(out).suffix else True


@pytest.mark.parametrize(("out", "stage"), OUTPUTS)
def test_what_the_user_has_in_an_outputs_place_is_kept_and_told_before_any_work(out, stage, tmp_path, monkeypatch):
    for put in (each for each in USERS if refused(out, each)):
        folder = tmp_path / put.__name__
        folder.mkdir()
        monkeypatch.chdir(folder)
        (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
        put(folder / out)
        before = sorted(folder.rglob("*"))
        status, said = run_stage(stage)
        assert status == 1
        assert not faults.fault(said, str(Path(out).parent) if "above" in put.__name__ else out)
        assert sorted(folder.rglob("*")) == before
