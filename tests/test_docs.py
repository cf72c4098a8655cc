"""README and docs/: links lead somewhere, and the front page stays short."""

import re
from pathlib import Path

import pytest
from project import ROOT

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
