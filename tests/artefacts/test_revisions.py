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


def said_of(path: str, revision: str) -> str:
    with pytest.raises(SegscopeError, match=rf"^{path} of revision {revision} cannot be read: ") as caught:
        read_file(path, revision)
    return str(caught.value)


def test_what_is_not_there_is_an_error_that_says_what_to_do(project):
    assert "no such revision; `git log --all` and `dvc exp show` list them" in said_of("params.yaml", "nowhere")
    assert "`dvc repro` makes it where first is checked out" in said_of("other.bin", "first")
    assert said_of("other.bin", WORKSPACE).endswith("it is not here; `dvc repro` makes it")


@pytest.mark.parametrize("revision", ["first:params.yaml", "-x", "--upload-pack=touch mine", "first..HEAD", "a\nb"])
def test_what_is_no_revision_is_an_error_and_no_option(project, revision):
    before = sorted(project.iterdir())
    assert said_of("params.yaml", revision)
    assert sorted(project.iterdir()) == before


def test_an_empty_revision_is_not_the_workspace(project):
    with pytest.raises(SegscopeError, match="a revision needs a name"):
        read_file("params.yaml", "")


def test_a_file_that_is_not_in_the_cache_is_an_error_that_says_where_it_may_come_from(project):
    shutil.rmtree(project / ".dvc" / "cache")
    said = said_of("data.bin", "first")
    assert "no remote is configured to fetch it from" in said
    assert "fetch`" not in said
    (project / "remote").mkdir()
    with Repo() as repo, repo.config.edit() as config:
        config["remote"]["store"] = {"url": str(project / "remote")}
        config["core"]["remote"] = "store"
    said = said_of("data.bin", "first")
    assert "nor in the remote store" in said
    assert "`dvc push`" in said


def test_a_folder_without_git_is_an_error_that_names_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "is not a git repository; `segscope doctor`" in said_of("params.yaml", "HEAD")
