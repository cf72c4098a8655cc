"""Artefacts of other revisions, read through DVC without checking them out."""

from __future__ import annotations

from pathlib import Path

import dvc.api
from dvc.exceptions import DvcException
from scmrepo.exceptions import SCMError

from segscope.errors import SegscopeError

WORKSPACE = "workspace"


def read_file(path: str, revision: str) -> bytes:
    """A file of a git revision or DVC experiment, or of the workspace.

    Raises SegscopeError if there is no such revision, or its file is neither in git nor in DVC's cache or remote.
    """
    if not revision:
        raise SegscopeError("a revision needs a name; `git log --all` and `dvc exp show` list them")
    try:
        if revision == WORKSPACE:
            return Path(path).read_bytes()
        with dvc.api.open(path, rev=revision, mode="rb") as file:
            return file.read()
    except (DvcException, SCMError, OSError) as error:
        raise SegscopeError(
            f"{path} of revision {revision} cannot be read ({error}); `git log --all` and `dvc exp show` list "
            "revisions, `dvc fetch` and `dvc exp pull` fetch what they made"
        ) from error
