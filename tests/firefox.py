"""The report in Firefox, as Debian packages it (firefox-esr): driven by Marionette, which every Firefox speaks.

Playwright asks such a Firefox for what it does not know, and Debian packages no geckodriver for Selenium. Marionette is
JSON over a socket: https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FIREFOX = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
_WAIT = 60  # seconds, for it to start


class Firefox:
    """A running browser's window."""

    def __init__(self, port: int) -> None:
        self._socket = _connected(port)
        self._read()  # what it says of itself
        self._number = 0
        self.command("WebDriver:NewSession", {"capabilities": {}})

    def command(self, name: str, parameters: dict[str, Any] | None = None) -> Any:
        """What a command gives. Raises AssertionError with what Firefox says of it."""
        self._number += 1
        message = json.dumps([0, self._number, name, parameters or {}]).encode()
        self._socket.sendall(b"%d:%s" % (len(message), message))
        _, _, error, result = self._read()
        assert error is None, error
        return result

    def run(self, script: str, *arguments: Any) -> Any:
        """What the body of a function gives on the page; of a promise what it comes to."""
        body = f"const [done] = [...arguments].slice(-1); (async (...a) => {{ {script} }})(...arguments).then(done)"
        return self.command("WebDriver:ExecuteAsyncScript", {"script": body, "args": list(arguments)})["value"]

    def open(self, path: Path) -> None:
        """Show a file."""
        self.command("WebDriver:Navigate", {"url": path.resolve().as_uri()})

    def errors(self) -> list[str]:
        """What its console has of errors in the scripts of pages."""
        self.command("Marionette:SetContext", {"value": "chrome"})
        found = self.run(
            """return Services.console.getMessageArray()
                .filter((m) => m instanceof Ci.nsIScriptError && !(m.flags & 1) && m.sourceName.startsWith("file:"))
                .map((m) => m.errorMessage)"""
        )
        self.command("Marionette:SetContext", {"value": "content"})
        return found

    def _read(self) -> Any:
        length = b""
        while (digit := self._socket.recv(1)) != b":":
            assert digit, "Firefox has ended"
            length += digit
        content = b""
        while len(content) < int(length):
            content += self._socket.recv(int(length) - len(content))
        return json.loads(content)


def _connected(port: int) -> socket.socket:
    end = time.monotonic() + _WAIT
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=_WAIT)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@contextmanager
def firefox() -> Iterator[Firefox]:
    """A running Firefox of a profile of its own; the test is skipped where there is none."""
    if FIREFOX is None:
        pytest.skip("no Firefox was found: install one (Debian: apt-get install firefox-esr) to test the report in it")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as profile:
        (Path(profile) / "user.js").write_text(f'user_pref("marionette.port", {port});\n')
        arguments = ["--headless", "--no-remote", "--marionette", "--remote-allow-system-access", "--profile", profile]
        process = subprocess.Popen(
            [FIREFOX, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"HOME": profile}
        )
        try:
            yield Firefox(port)
        finally:
            process.terminate()
            process.wait(30)
