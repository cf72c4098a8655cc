"""README and docs/: links lead somewhere, commands are such as there are, and the front page stays short."""

import argparse
import re
import shlex
import shutil
from itertools import chain
from pathlib import Path

import pytest
from dvc.cli.parser import DvcParserError, get_main_parser
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
from project import ROOT, STAGES

from segscope.cli import make_parser
from segscope.params_file import parse_params
from segscope.run import TABLES

PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|^    .*?$|`[^`]*`", re.S | re.M)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_pages_pictures_and_headings_that_there_are(page):
    for link in LINK.findall(CODE.sub("", page.read_text())):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not heading or heading in anchors(target), link


def test_every_page_is_reached_from_the_front_page():
    linked = {link.partition("#")[0] for link in LINK.findall((ROOT / "README.md").read_text())}
    assert {f"docs/{page.name}" for page in PAGES if page.parent.name == "docs"} <= linked


def test_the_front_page_is_short():
    assert len((ROOT / "README.md").read_text().split()) <= 1200


def test_every_table_of_a_run_is_listed():
    rows = re.findall(r"^\| `(\S+\.parquet)/?` \|", (ROOT / "docs" / "artefacts.md").read_text(), re.M)
    assert sorted(rows) == sorted([*(path for _, path, _ in TABLES.values()), "artifacts/measures.parquet"])


COMMAND = re.compile(r"(?:segscope|dvc|make|python|\.ci/\w+)(?: .*)?")
NONE = {"segscope needs Python 3.11 or 3.12", "segscope COMMAND --help"}  # a message, a form


def commands(page: Path) -> list[str]:
    """Those in blocks, and those within lines."""
    text = page.read_text().replace("\\\n", " ")
    blocks = re.findall(r"^(?:    |\t)+(?:\$ )?(.*)$", text, re.M)
    within = re.findall(r"`([^`]+)`", re.sub(r"^    .*$", "", text, flags=re.M))
    return sorted({each.strip() for each in chain(blocks, within) if COMMAND.fullmatch(each.strip())} - NONE)


def parse(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """As it does; of a name alone, as of a command that needs more than that, that there is one."""
    try:
        return parser.parse_args(arguments)
    except (SystemExit, DvcParserError):
        if any(each.startswith("-") and each != "--help" for each in arguments):
            raise
        with pytest.raises(SystemExit, match=r"^0$"):
            parser.parse_args([*arguments, "--help"])
        return argparse.Namespace()


def check_command(command: str, params: Path) -> None:
    """Raise what is wrong with it, without running it. params: params.yaml to change, as `dvc exp run` would."""
    for part in re.split(r" && ", re.sub(r" \| .*", "", command)):
        program, *arguments = shlex.split(part, comments=True)
        if program == "segscope":
            parse(make_parser(), arguments)
        elif program == "dvc":
            parsed = vars(parse(get_main_parser(), arguments))
            if parsed.get("cmd") == "repro" or parsed.get("set_param"):
                assert set(parsed["targets"]) <= {*STAGES, "STAGE"}
            shutil.copy(ROOT / "params.yaml", params)
            for each in get_hydra_sweeps({params: parsed.get("set_param") or []}):
                apply_overrides(params, each[params])
                parse_params(params.read_text(), "params.yaml")
        elif program == "make":
            targets = [each for each in arguments if "=" not in each and not each.startswith("-")]
            known = re.findall(r"^(\S+):", (ROOT / "Makefile").read_text(), re.M)
            assert set(targets) <= set(known)
        elif program.startswith(".ci/") or (program == "python" and arguments[:1] not in ([], ["-m"])):
            assert (ROOT / (arguments[0] if program == "python" else program)).exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_such_as_there_are(page, tmp_path):
    for command in commands(page):
        try:
            check_command(command, tmp_path / "params.yaml")
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{page.name}: {command}: {error!r}") from error


def test_a_command_that_is_none_is_found(tmp_path):
    for command in (
        "segscope similiar",
        "segscope similiar 3",
        "segscope compare main --marks",
        "dvc exp run -S train.epoch=3",
        "dvc exp run -S train.epochs=many",
        "dvc repro trian",
        "dvc metrics dif",
        "make tset",
        "python bench/scales.py FOLDER",
        ".ci/no",
    ):
        with pytest.raises((Exception, SystemExit)):
            check_command(command, tmp_path / "params.yaml")
