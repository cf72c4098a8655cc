"""Artefacts of other revisions, read through DVC without checking them out."""

from __future__ import annotations

import dvc.api
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from dvc.exceptions import DvcException
from scmrepo.exceptions import SCMError

from segscope.errors import SegscopeError


def read_columns(path: str, revision: str, columns: list[str]) -> pd.DataFrame:
    """Columns of a Parquet artefact of a git revision or DVC experiment.

    Raises SegscopeError if there is no such revision, if its artefact is not in DVC's cache or remote, or if it lacks a
    column.
    """
    try:
        with dvc.api.open(path, rev=revision, mode="rb") as file:
            return pq.read_table(pa.BufferReader(file.read()), columns=columns).to_pandas()
    except (DvcException, SCMError, OSError, pa.ArrowException) as error:
        raise SegscopeError(
            f"{path} of revision {revision} cannot be read ({error}); `git log --all` and `dvc exp show` list "
            "revisions, `dvc fetch` and `dvc exp pull` fetch what they made"
        ) from error
