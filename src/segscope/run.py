"""The artefacts of a run: where each lies, of which schema it is, and how it is read.

The one place that knows file locations. A run is that of the working folder, or that of any revision.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path

import pandas as pd
import pyarrow as pa

from segscope.artefacts import schemas
from segscope.artefacts.files import (
    Document,
    read_json,
    refuse_foreign,
    require_file,
    require_writable,
    write_json,
)
from segscope.artefacts.measures import METRICS, Measures, select_metrics
from segscope.artefacts.tables import open_parquet, parse_table, read_rows, read_table, write_parquet, write_rows_folder
from segscope.errors import SegscopeError, made_by, printable
from segscope.params import Params
from segscope.params_file import load_params, parse_params
from segscope.taxonomy import IGNORE, Taxonomy

PARAMS = "params.yaml"
# Of each: the stage that makes it, its path, its schema.
TABLES: dict[str, tuple[str, str, pa.Schema | Callable[[Run], pa.Schema]]] = {
    "index": ("download", "data/index.parquet", schemas.INDEX),
    "categories": ("download", "data/categories.parquet", schemas.CATEGORIES),
    "annotations": ("download", "data/annotations.parquet", schemas.ANNOTATIONS),
    "download_skipped": ("download", "data/skipped.parquet", schemas.SKIPPED),
    "duplicates": ("download", "data/duplicates.parquet", schemas.DUPLICATES),
    "copies": ("download", "data/copies.parquet", schemas.COPIES),
    "named_groups": ("download", "data/groups.parquet", schemas.NAMED_GROUPS),
    "truth": ("download", "data/truth.parquet", schemas.TRUTH),
    "samples": ("masks", "artifacts/samples.parquet", lambda run: schemas.samples_schema(run.categories)),
    "instances": ("masks", "artifacts/instances.parquet", schemas.INSTANCES),
    "corrections": ("masks", "artifacts/corrections.parquet", schemas.CORRECTIONS),
    "skipped": ("masks", "artifacts/skipped.parquet", schemas.SKIPPED),
    "groups": ("train", "artifacts/groups.parquet", schemas.GROUPS),
    "predictions": ("predict", "artifacts/predictions.parquet", lambda run: schemas.predictions_schema(run.taxonomy)),
    "activations": ("predict", "artifacts/activations.parquet", schemas.ACTIVATIONS),
    "unpredicted": ("predict", "artifacts/unpredicted.parquet", schemas.SKIPPED),
    "repeats": ("predict", "artifacts/repeats.parquet", lambda run: schemas.repeats_schema(run.taxonomy)),
    "objects": ("predict", "artifacts/objects.parquet", schemas.OBJECTS),
    "label_issues": ("predict", "artifacts/label_issues.parquet", schemas.LABEL_ISSUES),
    "associations": ("predict", "artifacts/associations.parquet", schemas.ASSOCIATIONS),
    "insights": ("predict", "artifacts/insights.parquet", schemas.INSIGHTS),
    "embeddings": (
        "embed",
        "artifacts/embeddings.parquet",
        lambda run: schemas.embeddings_schema(run.params.embed.dimensions),
    ),
    "neighbors": ("embed", "artifacts/neighbors.parquet", schemas.NEIGHBORS),
    "clusters": ("cluster", "artifacts/clusters.parquet", schemas.CLUSTERS),
    "cluster_profiles": ("cluster", "artifacts/cluster_profiles.parquet", schemas.CLUSTER_PROFILES),
    "heatmaps": (
        "cluster",
        "artifacts/heatmaps.parquet",
        lambda run: schemas.heatmaps_schema(run.params.data.image_size),
    ),
    "supports": (
        "cluster",
        "artifacts/supports.parquet",
        lambda run: schemas.supports_schema(run.params.data.image_size),
    ),
}
# Of each: the stage that makes it, its path.
FILES = {
    "sample": ("download", "data/sample"),
    "weights": ("download", "data/weights"),
    "dataset": ("masks", "artifacts/dataset"),
    "model": ("train", "artifacts/model.keras"),
    "model_card": ("train", "artifacts/model.md"),
    "folds": ("train", "artifacts/folds"),
    "repeat_models": ("train", "artifacts/repeats"),
    "training": ("train", "artifacts/training"),
    # Not an output: DVC removes a stage's outputs before it runs, and a killed training goes on from here.
    "checkpoint": ("train", "artifacts/checkpoint"),
    "confusions": ("predict", "artifacts/confusions.json"),
    "plots": ("predict", "artifacts/plots"),
    "latent_space": ("embed", "artifacts/latent_space.npz"),
    "report": ("report", "reports"),
}
_LOGGED = ("training", "checkpoint")  # folders that are written into while a model learns


class Run:
    """The artefacts of one run.

    folder: of the project. read: how a file of another revision is read, by its path (`artefacts.revisions.read_file`);
    None: from the folder. revision: what errors call that. What is asked for raises SegscopeError where an artefact is
    missing or does not fit.
    """

    def __init__(
        self,
        params: Params | None = None,
        folder: Path = Path(),
        read: Callable[[str], bytes] | None = None,
        revision: str = "",
    ):
        self.folder = folder
        self._params, self._read, self._revision = params, read, revision

    @cached_property
    def params(self) -> Params:
        """The run's parameters."""
        if self._params is not None:
            return self._params
        if self._read is None:
            return load_params(self.folder / PARAMS)
        # Of another revision, which may have had other parameters: only those that still exist matter.
        return parse_params(self._read(PARAMS), self._named(PARAMS), known_only=True)

    @cached_property
    def categories(self) -> pd.DataFrame:
        """The dataset's categories: category_id, source_id, name, supercategory."""
        table = self.table("categories")
        names = [*table["name"], *table["supercategory"]]
        if not table["category_id"].between(1, IGNORE - 1).all() or any(printable(each, "") != each for each in names):
            raise SegscopeError(f"{self._named(_place('categories'))} has names or ids that segscope does not write")
        return table

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """The classes of the run's variant."""
        return self.taxonomy_of(self.categories)

    def taxonomy_of(self, categories: pd.DataFrame) -> Taxonomy:
        """The classes of the run's variant over a table of categories."""
        return Taxonomy(categories, self.params.classes, f"variants.{self.params.variant}")

    def require_own(self, pictures: Iterable[str]) -> None:
        """Raise SegscopeError if a picture lies neither in the project nor below data.root or data.cache_dir.

        A table that names it may be somebody else's, and pages show it.
        """
        data = self.params.data
        roots = [self.folder, Path(data.cache_dir), *([Path(data.root)] if data.source == "directory" else [])]
        places = [os.path.join(os.path.abspath(root), "") for root in roots]
        for picture in pictures:
            if not os.path.abspath(picture).startswith(tuple(places)):
                raise SegscopeError(
                    f"{picture} is not shown: it lies neither in this folder, nor below data.root or data.cache_dir of "
                    f"its {PARAMS}"
                )

    def path(self, name: str) -> Path:
        """Where an artefact lies in the project's folder."""
        return self.folder / _place(name)

    def require_outputs(self, stage: str) -> None:
        """Raise SegscopeError if what a stage makes could not be written, before any work is done for it."""
        for name, (maker, place, *_) in (TABLES | FILES).items():
            path = self.folder / place
            if maker == stage and name in _LOGGED:
                require_writable(path / "any")
            elif maker == stage:
                (require_file if path.suffix else refuse_foreign)(path)
        for place in (measures_path(stage), metrics_path(stage)):
            require_file(self.folder / place)

    def _named(self, path: str) -> str:
        return f"{path} of revision {self._revision}" if self._revision else path

    def _schema(self, name: str) -> pa.Schema:
        schema = TABLES[name][2]
        return schema if isinstance(schema, pa.Schema) else schema(self)

    def arrow(self, name: str) -> pa.Table:
        """A table artefact as Arrow has it: compact, for what need not be in pandas."""
        if self._read is None:
            return read_table(self.path(name), self._schema(name), anew(name))
        return parse_table(self._read(_place(name)), self._named(_place(name)), self._schema(name))

    def table(self, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """A table artefact, or some of its columns."""
        table = self.arrow(name)
        return (table if columns is None else table.select(list(columns))).to_pandas()

    def write(self, name: str, table: pd.DataFrame) -> None:
        """Write a table artefact."""
        write_parquet(self.path(name), table, self._schema(name))

    def open(
        self, name: str, user: pd.DataFrame | None = None
    ) -> AbstractContextManager[Callable[[pd.DataFrame], None]]:
        """A table artefact to be written in parts: see `open_parquet`. user: the user's columns that it has besides."""
        schema = self._schema(name)
        return open_parquet(self.path(name), schema if user is None else schemas.with_user_columns(schema, user))

    def write_rows(self, name: str, tables: Mapping[str, pd.DataFrame]) -> None:
        """Write an artefact that is a folder of tables in JSON."""
        write_rows_folder(self.path(name), tables)

    def write_measures(self, stage: str, measures: pd.DataFrame) -> None:
        """Write what a stage measured, and the selection of it that is the stage's metrics file."""
        write_parquet(self.folder / measures_path(stage), measures.assign(stage=stage), schemas.MEASURES)
        write_json(self.folder / metrics_path(stage), select_metrics(measures, stage))

    def measures(self, *stages: str) -> Measures:
        """What the stages measured; of all of them if none is named."""
        tables = [self._measures(stage) for stage in stages or METRICS]
        return Measures(pd.concat(tables, ignore_index=True))

    def _measures(self, stage: str) -> pd.DataFrame:
        path = measures_path(stage)
        if self._read is None:
            return read_table(self.folder / path, schemas.MEASURES, made_by(stage)).to_pandas()
        return parse_table(self._read(path), self._named(path), schemas.MEASURES).to_pandas()

    def json(self, name: str, kind: type[Document], file: str = "") -> Document:
        """A JSON artefact of the folder, or a file of an artefact that is a folder. kind: see `read_json`."""
        return read_json(self.path(name) / file, kind, anew(name))

    def rows(self, name: str, file: str) -> pd.DataFrame:
        """A table of an artefact that is a folder of them."""
        return read_rows(self.path(name) / f"{file}.json", anew(name))


def anew(name: str) -> str:
    """What to do about an artefact that cannot be used."""
    return made_by((FILES.get(name) or TABLES[name])[0])


def _place(name: str) -> str:
    return (FILES.get(name) or TABLES[name])[1]


def measures_path(stage: str) -> str:
    """Of the file of a stage's measures; all of them together are one Parquet dataset."""
    return f"artifacts/measures.parquet/{stage}.parquet"


def metrics_path(stage: str) -> str:
    """Of the selection of them that `dvc metrics` shows."""
    return f"metrics/{stage}.json"
