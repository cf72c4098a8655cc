"""COCO over HTTP: the annotations archive, then only the images that are asked for.

Transport is requests with urllib3's Retry: it honours the environment's proxies and certificates, and both
are in the environment already (DVC needs them).
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import requests
from PIL import Image
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util.retry import Retry

from segscope.errors import SegscopeError
from segscope.files import atomic_path

CONNECTIONS = 16
TIMEOUT = (10, 60)  # seconds: to connect, between bytes


@dataclass(frozen=True)
class CocoMirror:
    """cocodataset.org or a mirror of its layout; what was fetched stays below `cache`."""

    base_url: str
    year: str
    cache: Path

    def annotation_file(self, split: str) -> Path:
        target = self.cache / "annotations" / f"instances_{split}{self.year}.json"
        if not target.exists():
            self._fetch_annotations()
        return target

    def image_folder(self, split: str) -> Path:
        return self.cache / f"{split}{self.year}"

    def fetch(self, split: str, file_names: Iterable[str]) -> None:
        folder = self.image_folder(split)
        wanted = [name for name in file_names if not (folder / name).exists()]
        if not wanted:
            return
        with _session() as session, ThreadPoolExecutor(CONNECTIONS) as pool:

            def fetch_one(name: str) -> str | None:
                try:
                    _fetch_image(session, f"{self.base_url}/{split}{self.year}/{quote(name)}", folder / name)
                except SegscopeError as error:
                    return str(error)
                return None

            results = tqdm(
                pool.map(fetch_one, wanted),
                total=len(wanted),
                desc=f"fetch {split}",
                unit="image",
                disable=None,
            )
            failures = [message for message in results if message]
        if failures:
            raise SegscopeError(
                f"{len(failures)} of {len(wanted)} images could not be fetched; run again to retry them:\n  "
                + "\n  ".join(failures[:20])
            )

    def _fetch_annotations(self) -> None:
        url = f"{self.base_url}/annotations/annotations_trainval{self.year}.zip"
        archive = self.cache / f"annotations_trainval{self.year}.zip"
        with _session() as session:
            _fetch_file(session, url, archive)
        try:
            with zipfile.ZipFile(archive) as opened:
                for split in ("train", "val"):
                    # Members are read by their known names and written to our own: no entry chooses a path.
                    name = f"annotations/instances_{split}{self.year}.json"
                    with atomic_path(self.cache / name) as temporary:
                        temporary.write_bytes(opened.read(name))
        except (zipfile.BadZipFile, KeyError) as error:
            archive.unlink()
            raise SegscopeError(f"{url} is not COCO's annotations archive: {error}") from error


def _session() -> requests.Session:
    retry = Retry(
        total=5,
        backoff_factor=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        respect_retry_after_header=True,
    )
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=CONNECTIONS))
    return session


def _fetch_file(session: requests.Session, url: str, target: Path) -> None:
    """Stream a URL to a file, with a progress bar. Raises SegscopeError if it fails or comes short."""
    try:
        with session.get(url, stream=True, timeout=TIMEOUT) as response, atomic_path(target) as temporary:
            response.raise_for_status()
            size = int(response.headers.get("Content-Length", 0))
            with (
                temporary.open("wb") as file,
                tqdm(total=size, desc=target.name, unit="B", unit_scale=True, disable=None) as bar,
            ):
                for chunk in response.iter_content(1 << 20):
                    file.write(chunk)
                    bar.update(len(chunk))
    except (requests.RequestException, ValueError) as error:
        raise SegscopeError(f"{url} could not be fetched: {error}") from error


def _fetch_image(session: requests.Session, url: str, target: Path) -> None:
    try:
        response = session.get(url, timeout=TIMEOUT)
        response.raise_for_status()
        with atomic_path(target) as temporary:
            temporary.write_bytes(response.content)
            with Image.open(temporary) as image:
                image.load()
    except (requests.RequestException, OSError, SyntaxError) as error:
        raise SegscopeError(f"{url}: {error}") from error
