"""The report in a real Chromium: behind the fixture `open_report`; tests skip where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from segscope.artefacts.files import sha256_of

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Software rendering everywhere; nothing is fetched in the background.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser."""
    if CHROMIUM is None:
        pytest.skip("no Chromium was found: install one (Debian: apt-get install chromium) to test the report in it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def shown(
    browser: Any,
    folder: Path,
    width: int = 1280,
    fragment: str = "",
    allowed: str | None = None,
    theme: str = "light",
    ready: str = "html[data-ready]",
) -> Iterator[Any]:
    """A page that shows the report from disk, in a window of its own.

    Errors on its console and requests beyond its folder fail the test. allowed: what an error may say that is expected.
    ready: what there is when the page is.
    """
    wrong: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page = context.new_page()
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
    own = ("data:", "blob:", folder.resolve().as_uri())
    page.on("request", lambda r: None if r.url.startswith(own) else wrong.append(f"request {r.url}"))
    page.goto(f"{folder.resolve().as_uri()}/index.html{fragment}")
    page.wait_for_selector(ready)
    yield page
    context.close()
    unexpected = [text for text in wrong if allowed is None or allowed not in text]
    assert not unexpected, unexpected


AXE = Path(__file__).parent / "data" / "axe-4.14.1.min.js"  # of npm's axe-core, MPL 2.0
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
# It may not fetch what the policy forbids; the tabs of a narrow screen, scrolled out of it, are no skip links.
_RUN_AXE = """axe.run({
  runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  rules: {"skip-link": {enabled: false}}, resultTypes: ["violations"], preload: false,
}).then((found) => found.violations.map((each) => [each.id, each.nodes.length, each.nodes[0].html.slice(0, 160)]))"""


def violations(page: Any) -> list[list]:
    """What axe-core finds against WCAG 2.2 AA on the page as it is: the rule, how often, an element."""
    assert sha256_of(AXE) == AXE_SHA256
    page.evaluate(AXE.read_text())
    return page.evaluate(_RUN_AXE)
