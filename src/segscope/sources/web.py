"""COCO over HTTPS: the annotations archive, then only the images that are asked for.

The archive is verified by its SHA-256; each image by decoding it, by its size, and by its MD5 if the server tells it.

Transport is requests, which honours the environment's proxies and certificates; tenacity retries. urllib3's own
retries end where the body begins, and it is the body that a bad connection cuts; pooch neither resumes nor
fetches many files at once. Both libraries are in the environment already: DVC needs them.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import socket
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import pandas as pd
import requests
import urllib3
from requests.adapters import HTTPAdapter
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_random_exponential,
)
from tqdm import tqdm

from segscope.artefacts.files import atomic_folder, atomic_path, sha256_of
from segscope.artefacts.images import SizeMismatchError, open_image
from segscope.errors import SegscopeError
from segscope.limits import (
    MAX_ANNOTATION_BYTES,
    MAX_ARCHIVE_BYTES,
    MAX_ARCHIVE_SECONDS,
    MAX_IMAGE_BYTES,
    MAX_IMAGE_SECONDS,
    MAX_REDIRECTS,
)
from segscope.sources.checksums import known_checksums
from segscope.sources.names import path_below

# SHA-256 of cocodataset.org's annotations_trainval2014.zip (252,872,794 bytes) and -2017.zip (252,907,541 bytes).
ARCHIVES = {
    "2014": "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
    "2017": "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
}
CONNECTIONS = 16
TIMEOUT = (10, 30)  # seconds: to connect, between bytes
CHUNK = 1 << 16
LOOK = 0.2  # seconds between looks at whether an exchange has to end
MAX_RETRY_AFTER = 120  # seconds


class _FetchError(Exception):
    """Why a file cannot be had."""


class _TransientError(_FetchError):
    """A failure that another attempt may mend; retry_after: seconds that the server asks to wait."""

    def __init__(self, message: str, retry_after: float = 0):
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class CocoWeb:
    """cocodataset.org or a mirror of it. What was fetched stays below `cache`.

    annotations_url: the folder of annotations_trainval{year}.zip. images_url: the parent of train{year}/ and
    val{year}/. archive_sha256: None for COCO's own archive. attempts: for one file without progress. patience:
    seconds, at most, before the first of them is repeated; then twice as long each time, up to 30.
    """

    year: str
    cache: Path
    annotations_url: str
    images_url: str
    archive_sha256: str | None = None
    attempts: int = 6
    patience: float = 1.0

    @property
    def root(self) -> None:
        """COCO plants no faults."""

    def annotation_file(self, split: str) -> Path:
        sha256 = self.archive_sha256 or ARCHIVES[self.year]
        target = self.cache / f"annotations-{sha256[:12]}" / f"instances_{split}{self.year}.json"
        if not target.exists():
            self._fetch_annotations(sha256, target.parent)
        return target

    def image_path(self, split: str, file_name: str) -> Path | None:
        folder = self.cache / f"{split}{self.year}"
        return path_below(folder, folder, file_name)

    def fetch(self, images: pd.DataFrame, allowed: int) -> dict[str, str]:
        images = images.drop_duplicates("path")
        known = known_checksums(images["path"].tolist(), self.cache.parent / "checksums.parquet")
        unknown = images[~images["path"].isin(known.index)]
        stop, failures = Event(), {}
        bar = tqdm(total=len(images), initial=len(known), desc="fetch images", unit="image", disable=None)
        with bar, _session() as session, ThreadPoolExecutor(CONNECTIONS) as pool:
            jobs = {pool.submit(self._fetch_image, session, row, stop): row.path for row in unknown.itertuples()}
            try:
                for job in as_completed(jobs):
                    if (reason := job.result()) is not None:
                        failures[jobs[job]] = reason
                        bar.write(f"not fetched: {jobs[job]}: {reason}", file=sys.stderr)
                    if len(failures) > allowed:
                        break
                    bar.update()
            finally:  # also when interrupted: no thread goes on with its attempts
                stop.set()
                pool.shutdown(cancel_futures=True)
        return failures

    def _fetch_image(self, session: requests.Session, row: Any, stop: Event) -> str | None:
        """Fetch and verify an image, unless it is there and whole; returns why it cannot be had, or None."""
        if _is_whole(row):
            return None
        url = f"{self.images_url}/{row.split}{self.year}/{quote(row.file_name)}"
        last = b""

        def attempt() -> None:
            nonlocal last
            previous = last
            last, md5 = _body(session, url, stop)
            if md5 and hashlib.md5(last, usedforsecurity=False).hexdigest() != md5:
                raise _TransientError("its MD5 is not that of the server's ETag")
            with atomic_path(row.path) as temporary:
                temporary.write_bytes(last)
                try:
                    open_image(temporary, _size_of(row)).close()
                except SizeMismatchError as error:
                    raise _FetchError(f"not of its annotations' size, {row.width}×{row.height}") from error
                except SegscopeError as error:
                    raise _TransientError("not a whole image") from error
                if not md5 and _may_lack_end(last) and last != previous:
                    raise _TransientError("not a whole image")

        try:
            self._retrying(stop)(attempt)
        except _FetchError as error:
            return None if stop.is_set() else str(error)  # what stopped them all is the reason to be told
        except OSError as error:
            stop.set()
            raise SegscopeError(f"{row.path} cannot be written: {error.strerror}") from error
        return None

    def _fetch_annotations(self, sha256: str, folder: Path) -> None:
        name = f"annotations_trainval{self.year}.zip"
        url, archive = f"{self.annotations_url}/{name}", self.cache / name
        archive.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _session() as session:
                self._fetch_archive(session, url, archive, sha256)
            names = [f"instances_{split}{self.year}.json" for split in ("train", "val")]
            unpack(archive, names, folder, _public(url))
            archive.unlink()
        except _FetchError as error:
            kept = "; what came so far is kept, run again to go on" if _size(archive) else ""
            raise SegscopeError(f"{_public(url)} could not be fetched: {error}{kept}") from error
        except OSError as error:
            raise SegscopeError(f"{self.cache} cannot be written: {error.strerror}") from error

    def _fetch_archive(self, session: requests.Session, url: str, archive: Path, sha256: str) -> None:
        """Append to the file what is missing of it, until its checksum is right.

        Headers are not believed: where a body ends before the checksum is right, the rest is asked for, and only
        when there is none (or the server cannot serve parts) are the bytes wrong and fetched once more.
        """
        most, wrong = _size(archive), 0

        def advance() -> bool:
            nonlocal most, wrong
            try:
                ended = _append(session, url, archive)
            except _TransientError:
                if _size(archive) <= most:
                    raise
                most = _size(archive)
                return False
            if _size(archive) and sha256_of(archive) == sha256:
                return True
            if ended:
                most, wrong = 0, wrong + 1
                archive.unlink()
                if wrong == 2:
                    raise _FetchError(
                        f"its SHA-256 is not {sha256} (data.archive_sha256 is for a mirror's own archive)"
                    )
            elif _size(archive) <= most:
                raise _TransientError("it ends early")
            most = _size(archive)
            return False

        while not self._retrying(Event())(advance):
            pass

    def _retrying(self, stop: Event) -> Callable:
        backoff = wait_random_exponential(multiplier=self.patience, max=30)

        def wait(state: RetryCallState) -> float:
            asked = getattr(state.outcome and state.outcome.exception(), "retry_after", 0)
            return max(backoff(state), min(asked, MAX_RETRY_AFTER))

        return Retrying(
            retry=retry_if_exception_type(_TransientError),
            stop=stop_after_attempt(self.attempts) | stop_when_event_set(stop),
            wait=wait,
            sleep=sleep_using_event(stop),
            reraise=True,
        )


class _Exchange:
    """A request and its answer, of so many seconds at most: then, or when `stop` is set, their connection is cut.

    However slowly the bytes come, of the answer's head or body: a server that sends some is never waited for in vain.
    """

    def __init__(self, seconds: float, stop: Event):
        self._seconds, self._stop = seconds, stop
        self._end, self._over = time.monotonic() + seconds, Event()
        self._connection: socket.socket | None = None

    def __enter__(self) -> None:
        _exchange.set(self)
        Thread(target=self._watch, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        """Raise what became of it, if it was cut, in place of what that led to."""
        self._over.set()
        if self._stop.is_set():
            raise _FetchError("interrupted")
        if time.monotonic() > self._end:
            raise _TransientError(f"it took longer than {self._seconds} s")

    def goes_over(self, connection: socket.socket) -> None:
        """Say which connection that is, from now on."""
        self._connection = connection

    def _watch(self) -> None:
        while not self._over.wait(LOOK):
            if self._connection and (self._stop.is_set() or time.monotonic() > self._end):
                with suppress(OSError):
                    socket.socket.shutdown(self._connection, socket.SHUT_RDWR)  # of TLS, too: without a farewell


_exchange: ContextVar[_Exchange] = ContextVar("exchange")


class _Connection(urllib3.connection.HTTPConnection):
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        """As of urllib3."""
        _exchange.get().goes_over(self.sock)
        return super().getresponse()


class _SecureConnection(_Connection, urllib3.connection.HTTPSConnection):
    pass


class _Adapter(HTTPAdapter):
    def get_connection_with_tls_context(self, *given: Any, **named: Any) -> Any:
        """As of requests: from a pool, of any proxy, whose connections say that they are used."""
        pool: Any = super().get_connection_with_tls_context(*given, **named)
        pool.ConnectionCls = _SecureConnection if pool.scheme == "https" else _Connection
        return pool


def _session() -> requests.Session:
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(pool_maxsize=CONNECTIONS))
    session.headers["Accept-Encoding"] = "identity"  # archives and photographs are compressed; ranges are of bytes
    return session


@contextmanager
def _response(
    session: requests.Session, url: str, exchange: _Exchange, headers: dict[str, str] | None = None
) -> Iterator[requests.Response]:
    """The answer to a GET. Raises _TransientError, or _FetchError where another attempt would be in vain."""
    try:
        with exchange, _followed(session, url, headers) as response:
            status = response.status_code
            if status >= 500 or status in (408, 425, 429):
                asked = response.headers.get("Retry-After", "")
                raise _TransientError(f"HTTP {status}", float(asked) if asked.isdecimal() else 0)
            if status >= 400 and status != 416:
                raise _FetchError(f"HTTP {status}")
            yield response
    except urllib3.exceptions.TimeoutError as error:
        raise _TransientError("timed out") from error
    except urllib3.exceptions.HTTPError as error:
        raise _TransientError(f"the connection failed ({_cause(error)})") from error
    except requests.exceptions.SSLError as error:
        raise _FetchError(
            f"the server's certificate is not trusted ({_cause(error)}); REQUESTS_CA_BUNDLE names a file of "
            "the authorities that are"
        ) from error
    except requests.exceptions.Timeout as error:
        raise _TransientError("timed out") from error
    except requests.exceptions.ProxyError as error:
        raise _TransientError(f"the proxy failed ({_cause(error)})") from error
    except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        raise _TransientError(f"the connection failed ({_cause(error)})") from error
    except requests.RequestException as error:
        raise _FetchError(str(error)) from error


def _followed(session: requests.Session, url: str, headers: Mapping[str, str] | None) -> requests.Response:
    """The answer to a GET, after redirects within the server. Raises _FetchError where one leads elsewhere."""
    for _ in range(MAX_REDIRECTS + 1):
        response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT, allow_redirects=False)
        if not response.is_redirect:
            return response
        response.close()
        target = urljoin(url, response.headers["Location"])
        if not _same_server(url, target):
            raise _FetchError(f"it is redirected to {_public(target)}: if you trust that, name it in params.yaml")
        url = target
    raise _FetchError(f"it is redirected more than {MAX_REDIRECTS} times")


def _same_server(url: str, target: str) -> bool:
    """Whether a redirect stays at a host and port, or goes from there to TLS."""
    ports = {"http": 80, "https": 443}
    (a, b), known = (urlsplit(url), urlsplit(target)), ports.get
    here, there = ((each.scheme, each.hostname, each.port or known(each.scheme)) for each in (a, b))
    return here == there or (here == ("http", b.hostname, 80) and there == ("https", a.hostname, 443))


def _public(url: str) -> str:
    """The address without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """The body as it comes."""
    while chunk := response.raw.read1(CHUNK):
        yield chunk


def _cause(error: Exception) -> str:
    """The kind of the innermost failure: messages hold ports and addresses of memory, which differ each time."""
    inner = error
    while inner.args and isinstance(inner.args[-1], Exception):
        inner = inner.args[-1]
    inner = getattr(inner, "reason", None) or inner
    return (inner if isinstance(inner, str) else type(inner).__name__) or type(error).__name__


def _body(session: requests.Session, url: str, stop: Event) -> tuple[bytes, str | None]:
    """A file, and its MD5 if the server tells it."""
    with _response(session, url, _Exchange(MAX_IMAGE_SECONDS, stop)) as response:
        data = bytearray()
        for chunk in _chunks(response):
            data += chunk
            if len(data) > MAX_IMAGE_BYTES:
                raise _FetchError(f"larger than {MAX_IMAGE_BYTES} bytes")
        return bytes(data), _md5_of(response.headers)


def _md5_of(headers: Mapping[str, str]) -> str | None:
    """The MD5 that an answer of Amazon S3 has as its ETag; None where its ETag is none, as of an upload in parts.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html: it is of objects that are plain or encrypted by
    S3's own keys. Other servers' ETags mean other things.
    """
    encryption = headers.get("x-amz-server-side-encryption", "AES256")
    customers = "x-amz-server-side-encryption-customer-algorithm" in headers
    if headers.get("Server") != "AmazonS3" or encryption != "AES256" or customers:
        return None
    tag = re.fullmatch(r'"([0-9a-f]{32})"', headers.get("ETag", ""))
    return tag[1] if tag else None


def unpack(archive: Path, names: Sequence[str], folder: Path, called: str) -> None:
    """Make a folder of these files of a ZIP archive's folder `annotations`.

    called: how errors name the archive. Raises SegscopeError if they cannot be had, and OSError where they cannot be
    written; then there is no folder.
    """
    wrong = f"{called} is not COCO's annotations archive"
    try:
        with zipfile.ZipFile(archive) as opened, atomic_folder(folder) as temporary:
            for name in names:
                # Members are read by their known names and written to our own: no entry chooses a path.
                with opened.open(f"annotations/{name}") as source, (temporary / name).open("wb") as target:
                    while chunk := source.read(CHUNK):
                        target.write(chunk)
                        if target.tell() > MAX_ANNOTATION_BYTES:
                            raise SegscopeError(f"{wrong}: {name} in it is larger than {MAX_ANNOTATION_BYTES} bytes")
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, KeyError, EOFError, RuntimeError) as error:
        # RuntimeError: it is encrypted, or packed by a method that Python does not know.
        raise SegscopeError(f"{wrong}: {error}") from error


def _append(session: requests.Session, url: str, archive: Path) -> bool:
    """Append the rest of a file; returns whether that is all the server has of it, as far as can be known."""
    have = _size(archive)
    exchange, headers = _Exchange(MAX_ARCHIVE_SECONDS, Event()), {"Range": f"bytes={have}-"} if have else None
    with _response(session, url, exchange, headers) as response:
        if response.status_code == 416:
            return True
        resumed = response.status_code == 206
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise _TransientError("the server sent another part than was asked for")
        length = response.headers.get("Content-Length", "")
        total = int(length) + have * resumed if length.isdecimal() else None
        with (
            archive.open("ab" if resumed else "wb") as file,
            tqdm(
                total=total, initial=have * resumed, desc=archive.name, unit="B", unit_scale=True, disable=None
            ) as bar,
        ):
            for chunk in _chunks(response):
                file.write(chunk)
                bar.update(len(chunk))
                if file.tell() > MAX_ARCHIVE_BYTES:
                    raise _FetchError(f"larger than {MAX_ARCHIVE_BYTES} bytes")
        return bool(have) and not resumed  # the server knows no ranges: it sent the whole


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _size_of(row: Any) -> tuple[int, int] | None:
    """The size that an image should be of, if its annotations tell it."""
    return (row.width, row.height) if row.width else None


def _is_whole(row: Any) -> bool:
    """Whether the image is on disk, decodes, and is of the size it should be."""
    try:
        open_image(row.path, _size_of(row)).close()
    except SegscopeError:
        return False
    return True


def _may_lack_end(data: bytes) -> bool:
    """A JPEG decodes without its last bytes; one that was made without them comes so each time."""
    return data.startswith(b"\xff\xd8") and not data.rstrip(b"\0").endswith(b"\xff\xd9")
