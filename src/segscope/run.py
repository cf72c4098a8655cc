"""The artefacts of a run: where each lies, of which schema it is, and how it is read.

The one place that knows file locations. A run is that of the working folder, or that of any revision.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from segscope.artefacts import schemas
from segscope.artefacts.files import write_json
from segscope.artefacts.measures import METRICS, Measures, select_metrics
from segscope.artefacts.tables import open_parquet, parse_table, read_table, write_parquet
from segscope.errors import SegscopeError, printable, reason
from segscope.params import Params
from segscope.params_file import load_params, parse_params
from segscope.taxonomy import IGNORE, Taxonomy

PARAMS = "params.yaml"
TABLES: dict[str, tuple[str, pa.Schema | Callable[[Run], pa.Schema]]] = {
    "index": ("data/index.parquet", schemas.INDEX),
    "categories": ("data/categories.parquet", schemas.CATEGORIES),
    "annotations": ("data/annotations.parquet", schemas.ANNOTATIONS),
    "download_skipped": ("data/skipped.parquet", schemas.SKIPPED),
    "duplicates": ("data/duplicates.parquet", schemas.DUPLICATES),
    "copies": ("data/copies.parquet", schemas.COPIES),
    "named_groups": ("data/groups.parquet", schemas.NAMED_GROUPS),
    "truth": ("data/truth.parquet", schemas.TRUTH),
    "samples": ("artifacts/samples.parquet", lambda run: schemas.samples_schema(run.categories)),
    "instances": ("artifacts/instances.parquet", schemas.INSTANCES),
    "corrections": ("artifacts/corrections.parquet", schemas.CORRECTIONS),
    "skipped": ("artifacts/skipped.parquet", schemas.SKIPPED),
    "groups": ("artifacts/groups.parquet", schemas.GROUPS),
    "predictions": ("artifacts/predictions.parquet", lambda run: schemas.predictions_schema(run.taxonomy)),
    "unpredicted": ("artifacts/unpredicted.parquet", schemas.SKIPPED),
    "repeats": ("artifacts/repeats.parquet", lambda run: schemas.repeats_schema(run.taxonomy)),
    "objects": ("artifacts/objects.parquet", schemas.OBJECTS),
    "label_issues": ("artifacts/label_issues.parquet", schemas.LABEL_ISSUES),
    "associations": ("artifacts/associations.parquet", schemas.ASSOCIATIONS),
    "insights": ("artifacts/insights.parquet", schemas.INSIGHTS),
    "embeddings": ("artifacts/embeddings.parquet", lambda run: schemas.embeddings_schema(run.params.embed.dimensions)),
    "neighbors": ("artifacts/neighbors.parquet", schemas.NEIGHBORS),
    "clusters": ("artifacts/clusters.parquet", schemas.CLUSTERS),
    "cluster_profiles": ("artifacts/cluster_profiles.parquet", schemas.CLUSTER_PROFILES),
    "heatmaps": ("artifacts/heatmaps.parquet", lambda run: schemas.heatmaps_schema(run.params.data.image_size)),
    "supports": ("artifacts/supports.parquet", lambda run: schemas.supports_schema(run.params.data.image_size)),
}
FILES = {
    "sample": "data/sample",
    "weights": "data/weights",
    "dataset": "artifacts/dataset",
    "model": "artifacts/model.keras",
    "model_card": "artifacts/model.md",
    "folds": "artifacts/folds",
    "repeat_models": "artifacts/repeats",
    "training": "artifacts/training",
    # Not an output: DVC removes a stage's outputs before it runs, and a killed training goes on from here.
    "checkpoint": "artifacts/checkpoint",
    "confusions": "artifacts/confusions.json",
    "plots": "artifacts/plots",
    "latent_space": "artifacts/latent_space.npz",
    "report": "reports",
}


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
            raise SegscopeError(f"{self._named(TABLES['categories'][0])} has names or ids that segscope does not write")
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
        return self.folder / (FILES[name] if name in FILES else TABLES[name][0])

    def _named(self, path: str) -> str:
        return f"{path} of revision {self._revision}" if self._revision else path

    def _schema(self, name: str) -> pa.Schema:
        schema = TABLES[name][1]
        return schema if isinstance(schema, pa.Schema) else schema(self)

    def arrow(self, name: str) -> pa.Table:
        """A table artefact as Arrow has it: compact, for what need not be in pandas."""
        if self._read is None:
            return read_table(self.path(name), self._schema(name))
        return parse_table(self._read(TABLES[name][0]), self._named(TABLES[name][0]), self._schema(name))

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

    def write_measures(self, stage: str, measures: pd.DataFrame) -> None:
        """Write what a stage measured, and the selection of it that is the stage's metrics file."""
        write_parquet(self.folder / measures_path(stage), measures.assign(stage=stage), schemas.MEASURES)
        write_json(self.folder / "metrics" / f"{stage}.json", select_metrics(measures, stage))

    def measures(self, *stages: str) -> Measures:
        """What the stages measured; of all of them if none is named."""
        tables = [self._measures(stage) for stage in stages or METRICS]
        return Measures(pd.concat(tables, ignore_index=True))

    def _measures(self, stage: str) -> pd.DataFrame:
        path = measures_path(stage)
        if self._read is None:
            return read_table(self.folder / path, schemas.MEASURES).to_pandas()
        return parse_table(self._read(path), self._named(path), schemas.MEASURES).to_pandas()

    def json(self, name: str) -> Any:
        """A JSON artefact."""
        path = self.path(name)
        try:
            return json.loads(path.read_text(encoding="utf-8") if self._read is None else self._read(FILES[name]))
        except (OSError, ValueError, RecursionError) as error:
            raise SegscopeError(f"{path} cannot be read ({reason(error, path)}); run `dvc repro` to make it") from error


def measures_path(stage: str) -> str:
    """Of the file of a stage's measures; all of them together are one Parquet dataset."""
    return f"artifacts/measures.parquet/{stage}.parquet"
