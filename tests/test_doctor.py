"""Each check judges facts of machines that are not ours; then the command is called in places where little is."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import serve

from segscope import doctor
from segscope.cli import main
from segscope.doctor import Answer, Finding, Git
from segscope.params import Params

ROOT = Path(__file__).parent.parent
CLEAN = Git(Answer(0, "## main...origin/main\n"), commits=True, shallow=False, identity=True)


def git(**state: object) -> Finding:
    return doctor.check_git(Git(**{**vars(CLEAN), **state}), "/project")


def artefacts(state: dict, remotes: str = "") -> Finding:
    return doctor.check_artefacts(Answer(0, json.dumps(state) + "\n"), Answer(0, remotes))


def no_artefacts(said: str) -> Finding:
    return doctor.check_artefacts(Answer(255, err=said), Answer(255))


LACKING = {"not_in_cache": ["a", "b/"], "uncommitted": {"deleted": ["a", "b/"]}}
CASES = [
    (doctor.check_python((3, 11), "/venv", "/venv"), "ok", "3.11 in /venv", ""),
    (doctor.check_python((3, 13), "/venv", "/venv"), "error", "3.13", "3.11 or 3.12"),
    (doctor.check_python((3, 12), "/venv", "/usr/bin"), "warning", "/usr/bin/python", "activate"),
    (doctor.check_python((3, 12), "/venv", None), "warning", "no `python` on PATH", "activate"),
    (doctor.check_packages("0.1", Answer(0, "No broken requirements found.")), "ok", "0.1", ""),
    (doctor.check_packages(None, Answer(0)), "error", "not installed", "make env"),
    (doctor.check_packages("0.1", Answer(1, "segscope 0.1 requires dvc\n")), "error", "requires dvc", "make env"),
    (doctor.check_packages("0.1", Answer(1, "black 1 requires click\n")), "warning", "requires click", "make env"),
    (doctor.check_packages("0.1", Answer(1, err="python: No module named pip")), "warning", "pip is", "ensurepip"),
    (doctor.check_tensorflow(Answer(0, 'hello\n["2.19", ["CPU"]]\n'), False), "ok", "2.19, no GPU", ""),
    (doctor.check_tensorflow(Answer(0, '["2.19", ["CPU", "GPU", "GPU"]]'), True), "ok", "2.19, 2 GPUs", ""),
    (doctor.check_tensorflow(Answer(0, '["2.19", ["CPU"]]'), True), "warning", "sees no GPU", "and-cuda"),
    (doctor.check_tensorflow(Answer(1, err="Traceback …\n  File\nImportError: x.so"), False), "error", "x.so", "make"),
    (doctor.check_tensorflow(Answer(None, err="no answer in 180 s"), False), "error", "180 s", "make env"),
    (doctor.check_memory(8000), "ok", "8.0 GB free", ""),
    (doctor.check_memory(1500), "warning", "1.5 GB free", "killed"),
    (doctor.check_memory(None), "ok", "cannot be found out", ""),
    (doctor.check_disk("here", 2000, 1000), "ok", "2.0 GB free in here", ""),
    (doctor.check_disk("here", 900, 1000), "error", "up to 1.0 GB more", "data.max_images"),
    (doctor.check_writable({".": True, "data": True}, True), "ok", "project and home", ""),
    (doctor.check_writable({".": True}, False), "ok", "the home cannot", ""),
    (doctor.check_writable({".": True, "data": False}, True), "error", "data cannot be written", "git clone"),
    (doctor.check_writable({".": False, "data": False}, True), "error", "nothing in this folder", "git clone"),
    (doctor.check_params(None, "sample", True), "ok", "data.source is sample", ""),
    (doctor.check_params("variant: unknown", "", True), "error", "variant: unknown", "segscope check"),
    (doctor.check_params("cannot be read", "", False), "error", "no dvc.yaml here", "cd"),
    (doctor.check_address("http://a", "images", None, "x"), "ok", "http://a answers", ""),
    (doctor.check_address("http://a", "images", "HTTP 404", "a mirror"), "error", "HTTP 404", "a mirror"),
    (git(), "ok", "main, no uncommitted changes", ""),
    (git(status=Answer(0, "## main\n M a\n?? b\n")), "ok", "main, 2 uncommitted changes", ""),
    (git(status=Answer(None, err="git: No such file")), "error", "not installed", "apt-get install git"),
    (git(status=Answer(128, err="fatal: not a git repository (or any")), "error", "not a git repository", "ZIP"),
    (git(status=Answer(128, err="fatal: detected dubious ownership in")), "error", "another user's", "safe.directory"),
    (git(status=Answer(128, err="fatal: bad config line 3")), "error", "bad config line 3", "mend"),
    (git(commits=False), "error", "no commit", "git commit"),
    (git(identity=False), "warning", "no name and e-mail", "user.email"),
    (git(shallow=True), "warning", "shallow", "--unshallow"),
    (doctor.check_dvc("3.60", "/venv/dvc"), "ok", "3.60, /venv/dvc", ""),
    (doctor.check_dvc("3.60", None), "warning", "no command `dvc`", "activate"),
    (doctor.check_dvc(None, None), "error", "not installed", "make env"),
    (artefacts({}), "ok", "this machine alone", ""),
    (artefacts({}, "origin  s3://there (default)\n"), "ok", "remotes: origin", ""),
    (artefacts(LACKING), "warning", "2 outputs of dvc.lock are not here", "nowhere to fetch from"),
    (artefacts(LACKING, "origin  s3://there\n"), "warning", "remotes: origin", "`dvc pull` fetches"),
    (
        artefacts({"uncommitted": {"modified": ["a"], "renamed": [{"old": "b", "new": "c"}]}}),
        "warning",
        "3 outputs are not as",
        "dvc status",
    ),
    (no_artefacts("'./dvc.lock' is invalid (possible merge conflicts).\n\nWhile"), "error", "merge", "--ours"),
    (no_artefacts("ERROR: unexpected error - 'getpwuid(): uid not found: 1234'"), "error", "1234", "USER=me"),
    (no_artefacts("WARNING: x\nERROR: something new\n\nHaving"), "error", "ERROR: something new", "mend what DVC"),
    (doctor.check_browser("/usr/bin/chromium", True), "ok", "/usr/bin/chromium", ""),
    (doctor.check_browser(None, True), "warning", "no Chromium", "apt-get install chromium"),
    (doctor.check_browser(None, False), "ok", "which only the tests need", ""),
]


@pytest.mark.parametrize(("finding", "state", "found", "advice"), CASES, ids=lambda case: None)
def test_a_check_says_what_was_found_and_what_to_do(finding, state, found, advice):
    assert finding.state == state
    assert found in finding.found
    assert advice in finding.advice
    assert bool(finding.advice) == (state != "ok")


def test_the_pythons_are_those_that_an_installation_asks_for():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert wanted == ">={}.{},<{}.{}".format(*doctor.PYTHONS[0], doctor.PYTHONS[-1][0], doctor.PYTHONS[-1][1] + 1)


def test_the_disk_that_a_run_needs():
    data = Params().data
    # The sample's 280 + 140 images: 100 + 420 (0.06 + 0.09); at 256 pixels 100 + 420 (0.24 + 0.09).
    assert doctor.needed_disk(data) == pytest.approx((163, 0))
    assert doctor.needed_disk(data.model_copy(update={"image_size": 256})) == pytest.approx((238.6, 0))
    # 20,000 of COCO: 100 + 20,000 · 0.15 made, 800 + 20,000 · 0.16 fetched; never more than COCO has.
    coco = data.model_copy(update={"source": "coco2014"})
    assert doctor.needed_disk(coco) == pytest.approx((3100, 4000))
    sizes = data.max_images.model_copy(update={"train": 10**9})
    assert doctor.needed_disk(coco.model_copy(update={"max_images": sizes}))[1] == pytest.approx(20525.92)


def test_a_finding_is_one_line_and_what_to_do_stands_beneath_it():
    shown = doctor.render(Finding("git", "warning", "shallow", "word " * 30 + "end")).splitlines()
    assert shown[0] == "warning git           shallow"
    assert [line[:25].strip() for line in shown[1:]] == ["->", ""]
    assert max(map(len, shown)) <= 120


@pytest.fixture
def alone(monkeypatch) -> Callable[[str], None]:
    """Leaves out all looks but one."""

    def leave(name: str) -> None:
        for other in ("python", "packages", "tensorflow", "memory", "project", "network", "git", "dvc", "artefacts"):
            if other != name:
                monkeypatch.setattr(doctor, f"_{other}", lambda folder: [])
        monkeypatch.setattr(doctor, "_browser", lambda folder: [])

    return leave


def test_a_check_that_cannot_even_look_is_a_finding(alone, monkeypatch, tmp_path):
    def _git(folder: Path) -> None:
        raise OSError(5, "Input/output error")

    alone("git")
    monkeypatch.setattr(doctor, "_git", _git)
    [finding] = doctor.examine(tmp_path)
    assert (finding.name, finding.state) == ("git", "error")
    assert "Input/output error" in finding.found


def test_the_addresses_that_a_run_will_ask_are_asked(alone, tmp_path):
    alone("network")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "annotations_trainval2014.zip").write_bytes(b"PK")

    def states(source: str, url: str) -> list[str]:
        data = {"source": source, "annotations_url": url, "images_url": url}
        document = {"variant": "a", "variants": {"a": {"person": ["person"]}}, "data": data}
        (tmp_path / "params.yaml").write_text(json.dumps(document | {"model": {"encoder_weights": "none"}}))
        return [finding.state for finding in doctor.examine(tmp_path)]

    with serve(tmp_path / "served") as (url, _):
        assert states("coco2014", url) == ["ok", "ok"]
        assert states("coco2017", url) == ["error", "ok"]  # there is no such archive
    assert states("coco2014", url) == ["error", "error"]  # nobody answers there now
    assert states("sample", url) == ["ok"]


def test_in_an_empty_folder_each_check_has_a_line_and_none_ends_the_command(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert main(["doctor"]) == 1
    out, err = capfd.readouterr()
    assert err == ""  # TensorFlow has said nothing
    states = {line[8:22].strip(): line[:8].strip() for line in out.splitlines() if line[:8].strip()}
    assert list(states) == (
        "Python,packages,TensorFlow,memory,params.yaml,permissions,git,DVC,artefacts,browser".split(",")
    )
    assert states["TensorFlow"] == "ok"
    assert {states[name] for name in ("params.yaml", "git", "artefacts")} == {"error"}


@pytest.mark.parametrize(
    ("command", "status"), [("--version", 0), ("check", 1), ("predict a.jpg", 1), ("similar 1", 1), ("compare a b", 1)]
)
def test_the_command_line_starts_without_any_package(command, status):
    """In a Python that has the package beside it and nothing installed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    call = [sys.executable, "-S", "-m", "segscope", *command.split()]
    result = subprocess.run(call, env=environment, capture_output=True, text=True)
    assert result.returncode == status
    if status:
        assert result.stderr.startswith("error: No module named")
        assert "`segscope doctor`" in result.stderr
        assert "Traceback" not in result.stderr


def test_the_doctor_starts_there_too():
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-S", "-c", "import segscope.doctor"], env=environment, check=True)
