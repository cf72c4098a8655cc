"""Artefacts of other revisions, read through DVC without checking them out."""

from __future__ import annotations

import dvc.api
from dvc.config import Config
from dvc.exceptions import FileMissingError, PathMissingError
from dvc.scm import RevError

from segscope.errors import SegscopeError
from segscope.limits import MAX_TABLE_BYTES, read_within

WORKSPACE = "workspace"


def read_file(path: str, revision: str) -> bytes:
    """A file of a git revision or DVC experiment, or of the workspace.

    Raises SegscopeError if there is no such revision, or its file is neither in git nor in DVC's cache or remote.
    """
    if not revision:
        raise SegscopeError("a revision needs a name; `git log --all` and `dvc exp show` list them")
    try:
        if revision == WORKSPACE:
            return read_within(path, MAX_TABLE_BYTES)
        with dvc.api.open(path, rev=revision, mode="rb") as file:
            content = bytes(file.read(MAX_TABLE_BYTES + 1))
        if len(content) > MAX_TABLE_BYTES:
            raise OSError(f"it is larger than {MAX_TABLE_BYTES} bytes")
        return content
    except Exception as error:  # git's and the remotes' libraries, below DVC's, raise kinds of their own
        raise SegscopeError(f"{path} of revision {revision} cannot be read: {_why(error, revision)}") from error


def _why(error: Exception, revision: str) -> str:
    if isinstance(error, FileNotFoundError) and revision == WORKSPACE:
        return "it is not here; `dvc repro` makes it"
    if isinstance(error, FileMissingError | PathMissingError):
        remote = Config.from_cwd().get("core", {}).get("remote")
        if remote:
            return (
                f"it is neither in git, nor in DVC's cache, nor in the remote {remote}; `dvc repro` makes it where "
                f"{revision} is checked out, and `dvc push` or `dvc exp push` there brings it to the remote"
            )
        return (
            "it is neither in git nor in DVC's cache, and no remote is configured to fetch it from; "
            f"`dvc repro` makes it where {revision} is checked out; a folder shared by clones (`dvc cache dir`) or "
            "a remote (`dvc remote add --default`, `dvc push`) keeps it for all"
        )
    if isinstance(error, RevError):
        return (
            "there is no such revision; `git log --all` and `dvc exp show` list them, `git fetch` and `dvc exp pull` "
            "fetch more, and of a clone made with --depth `git fetch --unshallow` fetches the rest"
        )
    if isinstance(error, AttributeError):  # of what git knows, as `main:params.yaml`, but DVC takes for a commit
        return "it is no commit, tag, branch or experiment"
    return f"{' '.join(str(error).split())}; `segscope doctor` looks at git and DVC"
