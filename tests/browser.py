"""The report in a real Chromium. Import as `from browser import open_report`; tests skip where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Software rendering everywhere, so that WebGL works without a screen; nothing is fetched in the background.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@contextmanager
def open_report(folder: Path, width: int = 1280, fragment: str = "", ready: str = "html[data-ready]") -> Iterator:
    """A page that shows the folder's index.html from disk, when there is what `ready` selects.

    Errors on its console and requests beyond its folder fail the test.
    """
    if CHROMIUM is None:
        pytest.skip("no Chromium was found: install one (Debian: apt-get install chromium) to test the report in it")
    from playwright.sync_api import sync_playwright

    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        own = ("data:", "blob:", folder.resolve().as_uri())
        page.on("request", lambda r: None if r.url.startswith(own) else wrong.append(f"request {r.url}"))
        page.goto(f"{folder.resolve().as_uri()}/index.html{fragment}")
        page.wait_for_selector(ready)
        yield page
        browser.close()
    assert wrong == []
