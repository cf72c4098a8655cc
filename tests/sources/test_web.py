import hashlib
import json
import shutil
import ssl
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import trustme
from conftest import as_mirror
from PIL import Image
from serving import FAULTS, serve

from segscope.artefacts.skipped import SPLITS
from segscope.errors import SegscopeError
from segscope.params import Data
from segscope.sources import web
from segscope.sources.checksums import checksums
from segscope.sources.coco import read_coco
from segscope.sources.web import CocoWeb

ARCHIVE = "/annotations/annotations_trainval2017.zip"


@pytest.fixture(autouse=True)
def no_settings_of_the_environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def source(url: str, cache: Path, sha256: str, **options: object) -> CocoWeb:
    options = {"patience": 0.01} | options
    return CocoWeb("2017", cache / "coco2017", f"{url}/annotations", url, sha256, **options)


def images_of(coco: CocoWeb) -> pd.DataFrame:
    tables = []
    for split in SPLITS:
        images = read_coco(coco.annotation_file(split)).images
        paths = [coco.image_path(split, name).as_posix() for name in images["file_name"]]
        tables.append(images.assign(split=split, path=paths))
    return pd.concat(tables, ignore_index=True)


@pytest.fixture
def small(small_coco, tmp_path):
    """The small dataset laid out to be served, and its archive's checksum."""
    served = tmp_path / "served"
    return served, as_mirror(small_coco, served)


def same_files(images: pd.DataFrame, served: Path) -> bool:
    return all(
        Path(row.path).read_bytes() == (served / f"{row.split}2017" / row.file_name).read_bytes()
        for row in images.itertuples()
    )


def test_only_what_is_asked_for_is_fetched_and_only_once(small, tmp_path):
    served, sha256 = small
    with serve(served) as (url, server):
        coco = source(url, tmp_path / "cache", sha256)
        images = images_of(coco).query("image_id in (1, 3, 102)")
        assert coco.fetch(images, 0) == {}
        assert server.requests.total() == 4
        images_of(coco)
        assert coco.fetch(images, 0) == {}
        assert server.requests.total() == 4
    assert same_files(images, served)
    assert sorted(p.name for p in (tmp_path / "cache" / "coco2017").iterdir()) == [
        f"annotations-{sha256[:12]}",
        "train2017",
        "val2017",
    ]
    assert not list(tmp_path.rglob("escaped.txt"))


@pytest.mark.parametrize("seed", range(4))
def test_a_bad_connection_delivers_every_file_whole(small, tmp_path, seed):
    served, sha256 = small
    with serve(served, rate=0.5, seed=seed) as (url, _):
        coco = source(url, tmp_path / "cache", sha256, attempts=30)
        images = images_of(coco)
        assert coco.fetch(images, 0) == {}
    assert same_files(images, served)


def test_photographs_arrive_whole_over_a_bad_connection(coco_mini, tmp_path):
    served = tmp_path / "served"
    sha256 = as_mirror(coco_mini, served)
    with serve(served, rate=0.4, seed=1) as (url, server):
        coco = source(url, tmp_path / "cache", sha256, attempts=40)
        images = images_of(coco)
        assert coco.fetch(images, 0) == {}
        assert set(server.faults) == set(FAULTS)
    assert len(images) == 475
    assert same_files(images, served)


def test_a_line_that_is_too_bad_leaves_whole_files_and_names_the_others(coco_mini, tmp_path):
    served = tmp_path / "served"
    sha256 = as_mirror(coco_mini, served)
    with serve(served) as (url, _):
        images = images_of(source(url, tmp_path / "cache", sha256)).head(60)
    with serve(served, rate=0.7, seed=1) as (url, _):
        failures = source(url, tmp_path / "cache", sha256, attempts=2).fetch(images, 60)
    missing = images["path"].isin(failures)
    assert 5 < missing.sum() < 55
    assert same_files(images[~missing], served)
    assert not any(Path(path).exists() for path in failures)
    with serve(served) as (url, server):
        assert source(url, tmp_path / "cache", sha256).fetch(images, 0) == {}
        assert server.requests.total() == missing.sum()
    assert same_files(images, served)


@pytest.mark.parametrize("ranges", [True, False])
def test_an_archive_is_resumed_where_the_server_can(small, tmp_path, monkeypatch, ranges):
    served, sha256 = small
    monkeypatch.setattr("serving.FAULTS", ("truncate",))
    monkeypatch.setattr(web, "CHUNK", 64)
    archive = served / ARCHIVE.lstrip("/")
    with serve(served, rate=0.9, seed=0, ranges=ranges) as (url, server):
        source(url, tmp_path / "cache", sha256, attempts=40).annotation_file("val")
        assert server.faults["truncate"] > 2
        once = archive.stat().st_size + 64 * server.faults["truncate"]  # a broken chunk is lost
        assert (server.sent[ARCHIVE] <= once) is ranges


def test_what_came_of_an_archive_is_kept_for_the_next_run(small, tmp_path, monkeypatch):
    served, sha256 = small
    monkeypatch.setattr("serving.FAULTS", ("truncate",))
    monkeypatch.setattr(web, "CHUNK", 64)
    size = (served / ARCHIVE.lstrip("/")).stat().st_size
    with (
        serve(served, rate=1, ranges=False) as (url, _),
        pytest.raises(SegscopeError, match=r"could not be fetched: .*; what came so far is kept, run again to go on"),
    ):
        source(url, tmp_path / "cache", sha256, attempts=3).annotation_file("val")
    with serve(served) as (url, server):
        source(url, tmp_path / "cache", sha256).annotation_file("val")
        assert 0 < server.sent[ARCHIVE] < size


@pytest.mark.parametrize("ranges", [True, False])
def test_an_archive_of_another_checksum_is_refused(small, tmp_path, ranges):
    served, _ = small
    with (
        serve(served, ranges=ranges) as (url, _),
        pytest.raises(SegscopeError, match=r"SHA-256 is not 0000.*archive_sha256"),
    ):
        source(url, tmp_path / "cache", "0" * 64).annotation_file("val")
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_an_archive_damaged_on_disk_is_fetched_anew(small, tmp_path):
    served, sha256 = small
    partial = tmp_path / "cache" / "coco2017" / "annotations_trainval2017.zip"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"damaged")
    with serve(served) as (url, _):
        assert len(read_coco(source(url, tmp_path / "cache", sha256).annotation_file("val")).images) == 4


def test_cocos_own_archives_are_pinned(small, tmp_path):
    served, _ = small
    with (
        serve(served) as (url, _),
        pytest.raises(SegscopeError, match="SHA-256 is not 113a836d90195ee1f884e704da6304df"),
    ):
        source(url, tmp_path / "cache", None).annotation_file("val")


def test_an_archive_without_the_annotations_is_an_error(small, tmp_path):
    served, _ = small
    archive = served / ARCHIVE.lstrip("/")
    with web.zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("readme.txt", json.dumps({}))
    with serve(served) as (url, _), pytest.raises(SegscopeError, match="is not COCO's annotations archive"):
        source(url, tmp_path / "cache", web.sha256_of(archive)).annotation_file("train")


def served_image(served: Path, name: str) -> Path:
    """A file of the served train split that may be changed."""
    folder = served / "train2017"
    if folder.is_symlink():
        original = folder.resolve()
        folder.unlink()
        shutil.copytree(original, folder)
    return folder / name


def test_images_that_cannot_be_had_are_named_with_the_reason(small, tmp_path, monkeypatch, capsys):
    served, sha256 = small
    served_image(served, "000000000001.jpg").unlink()
    broken = served_image(served, "000000000002.jpg")
    broken.write_bytes(broken.read_bytes()[:200])
    Image.new("RGB", (30, 40)).save(served_image(served, "000000000003.jpg"))
    served_image(served, "000000000004.jpg").write_bytes(bytes(5000))
    monkeypatch.setattr(web, "MAX_IMAGE_BYTES", 4999)
    with serve(served) as (url, server):
        coco = source(url, tmp_path / "cache", sha256, attempts=3)
        failures = coco.fetch(images_of(coco), 8)
        assert server.requests["/train2017/000000000001.jpg"] == 1
        assert server.requests["/train2017/000000000002.jpg"] == 3
    assert {Path(path).name: reason for path, reason in failures.items()} == {
        "000000000001.jpg": "HTTP 404",
        "000000000002.jpg": "not a whole image",
        "000000000003.jpg": "not of its annotations' size, 40×30",
        "000000000004.jpg": "larger than 4999 bytes",
    }
    assert "000000000001.jpg: HTTP 404" in capsys.readouterr().err
    assert not list((tmp_path / "cache" / "coco2017" / "train2017").iterdir())


def test_too_many_failures_end_the_attempt_early(small, tmp_path):
    served, sha256 = small
    (served / "train2017").unlink()
    with serve(served) as (url, server):
        coco = source(url, tmp_path / "cache", sha256)
        images = images_of(coco)
        many = pd.concat([images[:1].assign(path=f"{images['path'][0]}-{i}") for i in range(2000)])
        assert len(coco.fetch(many, 3)) == 4
        assert server.requests.total() < 1000


def test_a_damaged_image_is_fetched_again(small, tmp_path):
    served, sha256 = small
    memory = tmp_path / "cache" / "checksums.parquet"
    with serve(served) as (url, server):
        coco = source(url, tmp_path / "cache", sha256)
        images = images_of(coco)
        coco.fetch(images, 0)
        checksums(images["path"].tolist(), memory)
        damaged = Path(images["path"][0])
        damaged.write_bytes(damaged.read_bytes()[:-200])
        before = server.requests.total()
        assert coco.fetch(images, 0) == {}
        assert server.requests.total() == before + 1
    assert same_files(images, served)


def test_a_jpeg_without_its_end_is_taken_if_it_always_comes_so(small, tmp_path):
    served, sha256 = small
    file = served_image(served, "000000000001.jpg")
    file.write_bytes(file.read_bytes() + b"1")
    with serve(served) as (url, server):
        coco = source(url, tmp_path / "cache", sha256)
        assert coco.fetch(images_of(coco).head(1), 0) == {}
        assert server.requests["/train2017/000000000001.jpg"] == 2


def test_a_server_that_asks_to_wait_is_waited_for(small, tmp_path, monkeypatch):
    served, sha256 = small
    monkeypatch.setattr("serving.FAULTS", ("busy",))
    with serve(served, rate=1, retry_after=1) as (url, server):
        start = time.monotonic()
        with pytest.raises(SegscopeError, match=r"could not be fetched: HTTP 503$"):
            source(url, tmp_path / "cache", sha256, attempts=2).annotation_file("val")
        assert server.requests[ARCHIVE] == 2
        assert time.monotonic() - start >= 1


def test_names_are_quoted_and_sub_folders_made(tmp_path):
    served, name = tmp_path / "served", "a b/ä#1?.png"
    (served / "val2017" / "a b").mkdir(parents=True)
    Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(served / "val2017" / name)
    with serve(served) as (url, _):
        coco = source(url, tmp_path / "cache", "0" * 64)
        path = coco.image_path("val", name)
        row = {"split": "val", "file_name": name, "path": str(path), "width": 4, "height": 3}
        assert coco.fetch(pd.DataFrame([row]), 0) == {}
    assert path.is_file()


def test_an_unreachable_server_is_a_clear_error(tmp_path):
    with pytest.raises(SegscopeError, match=r"could not be fetched: the connection failed \(\w+\)"):
        source("http://127.0.0.1:9", tmp_path, "0" * 64, attempts=2).annotation_file("val")


def test_a_disk_that_cannot_be_written_is_a_clear_error(small, tmp_path):
    served, sha256 = small
    with serve(served) as (url, _):
        coco = source(url, tmp_path / "cache", sha256)
        images = images_of(coco)
        (tmp_path / "cache" / "coco2017" / "train2017").write_text("a file in the way")
        with pytest.raises(SegscopeError, match="cannot be written"):
            coco.fetch(images, 0)


def test_the_environments_proxy_is_used(small, tmp_path, monkeypatch):
    served, sha256 = small
    with serve(served) as (url, server):
        monkeypatch.setenv("http_proxy", url)
        coco = source("http://coco.invalid", tmp_path / "cache", sha256)
        images = images_of(coco)
        assert coco.fetch(images, 0) == {}
        assert server.requests.total() == 9
    with pytest.raises(SegscopeError, match=r"could not be fetched: the proxy failed \(\w+\)"):
        source("http://coco.invalid", tmp_path / "other", sha256, attempts=1).annotation_file("val")


@pytest.fixture
def authority(tmp_path, monkeypatch) -> trustme.CA:
    """An authority of certificates that is trusted."""
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "trusted.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "trusted.pem"))
    return made


def certified(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    return context


def s3(tag: Callable[[bytes], str]) -> Callable[[bytes], dict[str, str]]:
    return lambda data: {"Server": "AmazonS3", "ETag": tag(data)}


def md5(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def test_an_image_whose_md5_is_not_the_servers_is_not_taken(small, tmp_path, authority):
    served, sha256 = small
    wrong = served_image(served, "000000000002.jpg").read_bytes()  # as if it were another picture of the same size
    headers = s3(lambda data: md5(b"another" if data == wrong else data))
    with serve(served, certified(authority, "127.0.0.1"), headers=headers) as (url, server):
        coco = source(url, tmp_path / "cache", sha256, attempts=3)
        images = images_of(coco)
        failures = coco.fetch(images, 8)
        assert server.requests["/train2017/000000000002.jpg"] == 3
    assert {Path(path).name: why for path, why in failures.items()} == {
        "000000000002.jpg": "its MD5 is not that of the server's ETag"
    }
    assert same_files(images[~images["path"].isin(failures)], served)
    assert not Path(next(iter(failures))).exists()


@pytest.mark.parametrize(
    "headers",
    [
        s3(lambda _: '"d41d8cd98f00b204e9800998ecf8427e-3"'),  # of an upload in parts
        s3(lambda _: 'W/"d41d8cd98f00b204e9800998ecf8427e"'),
        lambda _: {"Server": "AmazonS3"},
        lambda _: {"Server": "nginx", "ETag": '"d41d8cd98f00b204e9800998ecf8427e"'},
        lambda data: s3(lambda _: md5(b""))(data) | {"x-amz-server-side-encryption": "aws:kms"},
    ],
    ids=["parts", "weak", "none", "another server", "encrypted"],
)
def test_an_etag_that_is_no_md5_is_not_believed(small, tmp_path, authority, headers):
    served, sha256 = small
    with serve(served, certified(authority, "127.0.0.1"), headers=headers) as (url, _):
        coco = source(url, tmp_path / "cache", sha256)
        images = images_of(coco)
        assert coco.fetch(images, 0) == {}
    assert same_files(images, served)


def test_a_jpeg_of_the_right_md5_may_lack_its_end(small, tmp_path):
    served, sha256 = small
    file = served_image(served, "000000000001.jpg")
    file.write_bytes(file.read_bytes() + b"1")
    with serve(served, headers=s3(md5)) as (url, server):
        coco = source(url, tmp_path / "cache", sha256)
        assert coco.fetch(images_of(coco).head(1), 0) == {}
        assert server.requests["/train2017/000000000001.jpg"] == 1


def test_a_certificate_of_another_host_is_refused(small, tmp_path, authority):
    served, sha256 = small
    with (
        serve(served, certified(authority, "images.cocodataset.invalid")) as (url, server),
        pytest.raises(SegscopeError, match=r"could not be fetched: the server's certificate is not trusted"),
    ):
        source(url, tmp_path / "cache", sha256).annotation_file("val")
    assert not server.requests


def test_coco_itself_is_asked_over_tls():
    assert Data().images_url == "https://s3.amazonaws.com/images.cocodataset.org"
    assert Data().annotations_url == f"{Data().images_url}/annotations"


def test_the_environments_authorities_are_trusted(small, tmp_path, monkeypatch):
    served, sha256 = small
    authority = trustme.CA()
    with serve(served, certified(authority, "127.0.0.1")) as (url, _):
        with pytest.raises(SegscopeError, match=r"certificate is not trusted .* REQUESTS_CA_BUNDLE"):
            source(url, tmp_path / "cache", sha256).annotation_file("val")
        authority.cert_pem.write_to_path(tmp_path / "authority.pem")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
        coco = source(url, tmp_path / "cache", sha256)
        assert coco.fetch(images_of(coco), 0) == {}


@pytest.mark.parametrize("head", [False, True])
def test_a_server_that_drips_is_given_up(small, tmp_path, monkeypatch, head):
    """Bytes come all the time: no wait between two of them is long."""
    served, sha256 = small
    with serve(served) as (url, _):
        images = images_of(source(url, tmp_path / "cache", sha256)).head(1)
    monkeypatch.setattr(web, "MAX_IMAGE_SECONDS", 0.2)
    with serve(served, drip=0.01, drip_head=head) as (url, _):
        failures = source(url, tmp_path / "cache", sha256, attempts=2).fetch(images, 1)
    assert list(failures.values()) == ["it took longer than 0.2 s"]


def test_other_images_are_not_waited_for_when_too_many_fail(small, tmp_path):
    """As when the user interrupts: what drips is cut off at once."""
    served, sha256 = small
    with serve(served) as (url, _):
        images = images_of(source(url, tmp_path / "cache", sha256))
    first = f"/{images['split'][0]}2017/{images['file_name'][0]}"
    (served / first[1:]).unlink()
    with serve(served, drip=20) as (url, _):  # a day for each
        failures = source(url, tmp_path / "cache", sha256).fetch(images, 0)
    assert list(failures.values()) == ["HTTP 404"]


@pytest.mark.parametrize(("stays", "message"), [(True, None), (False, "it is redirected to http://127.0.0.1:")])
def test_redirects_are_followed_within_the_server_only(small, tmp_path, stays, message):
    served, sha256 = small
    with serve(served) as (other, _), serve(served) as (url, server):
        images = images_of(source(url, tmp_path / "cache", sha256)).query("image_id == 1")
        (name,) = images["file_name"]
        (served / "moved.jpg").write_bytes((served / "train2017" / name).read_bytes())
        server.redirects[f"/train2017/{name}"] = "/moved.jpg" if stays else f"{other}/moved.jpg"
        failures = source(url, tmp_path / "cache", sha256).fetch(images, 1)
    if stays:
        assert failures == {}
        assert same_files(images, served)
    else:
        (said,) = failures.values()
        assert said.startswith(message)


def test_redirects_without_end_end(small, tmp_path):
    served, sha256 = small
    with serve(served, redirects={ARCHIVE: ARCHIVE}) as (url, server):
        with pytest.raises(SegscopeError, match="redirected more than 5 times"):
            source(url, tmp_path / "cache", sha256).annotation_file("val")
        assert server.requests.total() == 6


def test_a_password_in_an_address_is_not_shown(small, tmp_path):
    served, sha256 = small
    with serve(served, redirects={ARCHIVE: "http://me:hidden@127.0.0.1:1/x"}) as (url, _):
        address = url.replace("//", "//you:secret@")
        with pytest.raises(SegscopeError, match="could not be fetched") as raised:
            source(address, tmp_path / "cache", sha256).annotation_file("val")
    assert "secret" not in str(raised.value)
    assert "hidden" not in str(raised.value)


def archive_of(path: Path, **options: object) -> str:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for split in SPLITS:
            archive.writestr(f"annotations/instances_{split}2017.json", bytes(5_000_000))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_archive_that_unpacks_without_end_is_given_up(small, tmp_path, monkeypatch):
    """Whoever chooses the archive chooses its checksum."""
    served, _ = small
    sha256 = archive_of(served / ARCHIVE.lstrip("/"), compression=zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(web, "MAX_ANNOTATION_BYTES", 10**6)
    with serve(served) as (url, _), pytest.raises(SegscopeError, match="in it is larger than 1000000 bytes"):
        source(url, tmp_path / "cache", sha256).annotation_file("val")
    assert sum(path.stat().st_size for path in tmp_path.glob("cache/**/*.json")) == 0


@pytest.mark.parametrize(("offset", "value"), [(6, 1), (8, 99)])
def test_an_archive_encrypted_or_packed_unknown_is_an_error(small, tmp_path, offset, value):
    served, _ = small
    path = served / ARCHIVE.lstrip("/")
    archive_of(path)
    content = bytearray(path.read_bytes())
    # The flags and the method of each entry, in its own header and in the list at the end.
    for mark, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        at = content.find(mark)
        while at >= 0:
            content[at + offset + shift] = value
            at = content.find(mark, at + 4)
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    with serve(served) as (url, _), pytest.raises(SegscopeError, match="is not COCO's annotations archive"):
        source(url, tmp_path / "cache", sha256).annotation_file("val")
