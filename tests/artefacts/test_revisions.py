"""Of a project in a repository of its own, whose one data file DVC keeps and has changed since."""

import shutil
from pathlib import Path

import pytest
from dvc.repo import Repo
from scmrepo.git import Git

from segscope.artefacts.revisions import WORKSPACE, read_file
from segscope.errors import SegscopeError


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """Two versions of each file; the first is tagged `first`."""
    monkeypatch.chdir(tmp_path)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.invalid")
    git = Git.init(str(tmp_path))
    with Repo.init() as repo:
        for version in ("first", "second"):
            (tmp_path / "params.yaml").write_text(version)
            (tmp_path / "data.bin").write_text(f"{version} data")
            repo.add("data.bin")
            git.add(["params.yaml", "data.bin.dvc", ".gitignore", ".dvc"])
            git.commit(version)
            if version == "first":
                git.tag("first")
    git.close()
    return tmp_path


@pytest.mark.parametrize("path", ["params.yaml", "data.bin"])
def test_a_file_of_git_or_of_dvc_is_read_as_the_revision_has_it(project, path):
    (project / path).write_text("third")
    data = " data" if path == "data.bin" else ""
    assert read_file(path, "first") == f"first{data}".encode()
    assert read_file(path, "HEAD") == f"second{data}".encode()
    assert read_file(path, WORKSPACE) == b"third"


def test_what_a_revision_does_not_have_is_an_error_that_says_where_to_look(project):
    expected = (
        r"^{} of revision {} cannot be read \(.*\); `git log --all` and `dvc exp show` list revisions, `dvc fetch`"
    )
    for path, revision in (("other.bin", "first"), ("params.yaml", "nowhere"), ("other.bin", WORKSPACE)):
        with pytest.raises(SegscopeError, match=expected.format(path, revision)):
            read_file(path, revision)


def test_a_file_that_is_not_in_the_cache_is_an_error_that_says_how_to_get_it(project):
    shutil.rmtree(project / ".dvc" / "cache")
    with pytest.raises(SegscopeError, match=r"data\.bin of revision first cannot be read .*`dvc fetch`"):
        read_file("data.bin", "first")
