"""Downloads from a local server: complete, cut, refused, wrong; and unpacking."""

import errno
import hashlib
import http.server
import io
import os
import re
import shutil
import socket
import tarfile
import tempfile
import threading
import time
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from helpers.commands import run
from helpers.folders import CLASSES, SCENE, coco_content, write_coco, write_voc
from helpers.http_server import serving
from hypothesis import given, settings
from hypothesis import strategies as st
from tqdm import tqdm

from fsdet.data import open_data
from fsdet.data.download import voc0712
from fsdet.data.download.catalog import PUBLISHED, Archive
from fsdet.data.download.download import download, space
from fsdet.data.download.fetch import fetch
from fsdet.data.download.unpack import unpack
from fsdet.errors import InputError

CONTENT = np.random.default_rng(0).bytes(5000)


class Files(http.server.BaseHTTPRequestHandler):
    """Serves `content` by path; the next response is cut after the first of `cuts` bytes, if any."""

    content: ClassVar[dict[str, bytes]] = {}
    cuts: ClassVar[list[int]] = []
    asked: ClassVar[list[tuple[str, str | None]]] = []
    ranges = True
    lengths = True
    shift = 0  # added to the start in the header Content-Range
    silent = threading.Event()  # a cut connection stays open until this is set

    def do_GET(self):
        part = self.headers.get("Range")
        self.asked.append((self.path, part))
        content = self.content.get(self.path)
        if content is None:
            return self.send_error(404)
        start = int(re.fullmatch(r"bytes=(\d+)-", part)[1]) if part and self.ranges else 0
        if start >= len(content) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            last = len(content) - 1
            begin = start + self.shift
            self.send_header("Content-Range", f"bytes {begin}-{last}/{len(content)}")
        if self.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = self.cuts.pop(0) if self.cuts else None
        self.wfile.write(content[start:][:cut])
        if cut is not None:
            self.wfile.flush()
            self.silent.wait(20)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with serving(Files) as address:
        yield address


@pytest.fixture(autouse=True)
def host(server, monkeypatch, tmp_path):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("FSDET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("fsdet.data.download.fetch.PAUSE", 0)
    for name in ("ranges", "lengths", "shift"):  # tests set them
        monkeypatch.setattr(Files, name, getattr(Files, name))
    Files.content, Files.cuts, Files.asked = {"/file": CONTENT}, [], []
    Files.silent.set()
    return Files


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def get(server: str, to: Path, content: bytes = CONTENT) -> None:
    fetch(f"{server}/file", to, len(content), sha256(content))


def names(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*"))


def test_file_is_downloaded(server, host, tmp_path):
    get(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert names(tmp_path) == ["file"] and host.asked == [("/file", None)]


@settings(max_examples=40)
@given(size=st.integers(1, 4000), cuts=st.lists(st.integers(1, 900), max_size=5))
def test_cut_connection_resumes_at_the_next_byte(server, size, cuts):
    Files.content, Files.cuts, Files.asked = {"/file": CONTENT[:size]}, list(cuts), []
    with tempfile.TemporaryDirectory() as folder:
        get(server, Path(folder) / "file", CONTENT[:size])
        assert (Path(folder) / "file").read_bytes() == CONTENT[:size]
    starts, at = [], 0
    for cut in [*cuts, size]:
        if at < size:
            starts.append(f"bytes={at}-" if at else None)
            at += cut
    assert [part for _, part in Files.asked] == starts


def test_stopped_download_resumes(server, host, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:1234])
    get(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT and names(tmp_path) == ["file"]
    assert host.asked == [("/file", "bytes=1234-")]


@pytest.mark.parametrize("have", [len(CONTENT), 100])
def test_existing_file_is_completed_and_checked(server, host, tmp_path, have):
    (tmp_path / "file").write_bytes(CONTENT[:have])
    get(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert host.asked == ([] if have == len(CONTENT) else [("/file", "bytes=100-")])


def test_server_without_ranges_starts_again(server, host, tmp_path):
    host.ranges = False
    (tmp_path / "file.part").write_bytes(CONTENT[:1234])
    get(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    host.cuts[:] = [3000, 3000]
    with pytest.raises(InputError, match="cut at 3000 of 5000 bytes; the server cannot resume"):
        get(server, tmp_path / "other")


def test_connection_without_progress_is_an_error(server, host, tmp_path):
    host.cuts[:] = [700, 0]
    with pytest.raises(InputError, match="cut at 700 of 5000 bytes; downloaded parts are kept"):
        get(server, tmp_path / "file")
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:700]


def test_silent_server_times_out_and_is_asked_again(server, host, tmp_path, monkeypatch):
    monkeypatch.setattr("fsdet.data.download.fetch.TIMEOUT", 0.3)
    host.cuts[:] = [700]
    host.silent.clear()
    start = time.monotonic()
    get(server, tmp_path / "file")
    host.silent.set()
    assert time.monotonic() - start < 15  # the server would have waited for 20
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert host.asked == [("/file", None), ("/file", "bytes=700-")]


def test_file_with_a_wrong_checksum_is_renamed_and_not_resumed(server, host, tmp_path):
    host.content = {"/file": CONTENT[::-1]}
    with pytest.raises(InputError, match=f"{sha256(CONTENT)}, got {sha256(CONTENT[::-1])}"):
        get(server, tmp_path / "file")
    assert names(tmp_path) == ["file.wrong"]
    host.content = {"/file": CONTENT}
    get(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "content", "part", "message"),
    [
        ("/other", CONTENT, b"", r"has no such file \(404 Not Found\); .*--mirror URL"),
        ("/file", CONTENT[:100], CONTENT[:200], r"a shorter file than expected \(416"),
        (
            "/file",
            CONTENT[:300],
            CONTENT[:200],
            "expected a file of 5000 .* one of 300 .* byte 200",
        ),
        ("/file", CONTENT[:300], b"", "expected a file of 5000 bytes .* one of 300 from byte 0"),
        ("/file", CONTENT * 2, CONTENT[:200], "expected a file of 5000 bytes .* one of 10000"),
        ("/file", CONTENT * 2, b"", "expected a file of 5000 bytes .* one of 10000"),
    ],
)
def test_file_of_another_size_is_refused_and_the_part_kept(
    server, host, tmp_path, path, content, part, message
):
    host.content = {path: content}
    if part:
        (tmp_path / "file.part").write_bytes(part)
    with pytest.raises(InputError, match=message):
        get(server, tmp_path / "file")
    assert names(tmp_path) == (["file.part"] if part else [])
    assert not part or (tmp_path / "file.part").read_bytes() == part


def test_response_from_another_byte_is_refused(server, host, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:200])
    host.shift = 1
    with pytest.raises(InputError, match=r"from byte 200 on, the server has .* from byte 201 on"):
        get(server, tmp_path / "file")
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:200]


def test_response_without_length_ends_at_the_expected_size(server, host, tmp_path):
    host.lengths = False
    get(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    host.content["/file"] = bytes(2**25)
    with pytest.raises(InputError, match="expected a file with SHA-256"):
        get(server, tmp_path / "other")
    assert (tmp_path / "other.wrong").stat().st_size < 2**22


def test_error_without_connection(server, tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    message = "no connection .*refused.*https_proxy in the environment, or --mirror URL"
    with pytest.raises(InputError, match=message):
        get(f"http://127.0.0.1:{port}", tmp_path / "file")
    with pytest.raises(InputError, match=r"no connection .*SSL"):
        get(server.replace("http:", "https:"), tmp_path / "file")
    for address in (
        "http://[",
        "http://a b",
        "http://127.0.0.1:x",
        "http://",
        "http://" + "ü" * 80,
    ):
        with pytest.raises(InputError, match="no connection"):
            get(address, tmp_path / "file")
    with pytest.raises(InputError, match="http:// or https://, got 'file:///etc/passwd"):
        get("file:///etc/passwd#", tmp_path / "file")

    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(InputError, match=r"no connection .*Name or service not known"):
        get("http://thor.example", tmp_path / "file")
    assert names(tmp_path) == []


def tar(file: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> Path:
    with tarfile.open(file, "w") as target:
        for member in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member[0])
            content = b"" if isinstance(member, tarfile.TarInfo) else member[1]
            info.size = len(content)
            target.addfile(info, io.BytesIO(content))
    return file


def zipped(file: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members:
            target.writestr(name, content)
    return file


def linked(kind: bytes, to: str = "a") -> tarfile.TarInfo:
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, to
    return info


@pytest.mark.parametrize("pack", [tar, zipped])
def test_archive_is_unpacked(tmp_path, pack):
    folder = tarfile.TarInfo("a")
    folder.type = tarfile.DIRTYPE
    first = [folder] if pack is tar else [("a/", b"")]
    content = [("a/b/c.txt", b"c"), ("a/d", CONTENT), ("./e", b"")]
    archive = pack(tmp_path / "archive", *first, *content)
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "a" / "d").write_bytes(b"half unpacked" * 1000)
    unpack(archive, tmp_path / "out")
    assert names(tmp_path / "out") == ["a", "a/b", "a/b/c.txt", "a/d", "e"]
    for name, expected in content:
        assert (tmp_path / "out" / name).read_bytes() == expected


@pytest.mark.parametrize(
    ("pack", "bad", "message"),
    [
        (tar, ("../x", b"x"), r"'\.\./x' points outside"),
        (tar, ("a/../../x", b"x"), "points outside"),
        (tar, ("/tmp/fsdet-x", b"x"), "'/tmp/fsdet-x' points outside"),
        (tar, ("away/x", b"x"), "'away/x' points outside"),
        (tar, ("ä\0/b", b"x"), "null byte"),
        (tar, linked(tarfile.SYMTYPE), "files and folders only, 'link' is"),
        (tar, linked(tarfile.SYMTYPE, "/etc/passwd"), "files and folders only, 'link' is"),
        (tar, linked(tarfile.LNKTYPE), "files and folders only, 'link' is"),
        (tar, linked(tarfile.CHRTYPE), "files and folders only, 'link' is"),
        (zipped, ("../x", b"x"), r"'\.\./x' points outside"),
        (zipped, ("/tmp/fsdet-x", b"x"), "'/tmp/fsdet-x' points outside"),
        (zipped, ("away/x", b"x"), "'away/x' points outside"),
    ],
)
def test_nothing_is_unpacked_from_an_archive_with_a_path_outside(tmp_path, pack, bad, message):
    archive = pack(tmp_path / "archive", ("a", b"a"), bad)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "away").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=message):
        unpack(archive, tmp_path / "out")
    assert names(tmp_path) == ["archive", "elsewhere", "out", "out/away"]


def test_error_names_a_damaged_archive(tmp_path):
    whole = zipped(tmp_path / "a.zip", ("a", CONTENT.hex().encode())).read_bytes()
    # A different checksum, or no deflated stream at all.
    spoilt = [whole[:at] + bytes(20) + whole[at + 20 :] for at in range(40, 1000, 60)]
    cut = tar(tmp_path / "a.tar", ("a", CONTENT), ("b", CONTENT)).read_bytes()[:3000]
    for content in (b"neither", whole[:-100], *spoilt, cut):
        (tmp_path / "archive").write_bytes(content)
        with pytest.raises(InputError, match=r"archive: cannot be unpacked .*; remove the file"):
            unpack(tmp_path / "archive", tmp_path / "out")


def folder_of(root: Path) -> list[tuple[str, bytes]]:
    return [(name, (root / name).read_bytes()) for name in names(root) if (root / name).is_file()]


PARTS = {
    "VOCtrainval_06-Nov-2007.tar": ("VOC2007", "trainval", {"000005": SCENE["a"]}),
    "VOCtest_06-Nov-2007.tar": ("VOC2007", "test", {"000001": SCENE["b"], "000002": SCENE["c"]}),
    "VOCtrainval_11-May-2012.tar": ("VOC2012", "trainval", {"2008_000002": SCENE["c"]}),
}


@pytest.fixture
def published(monkeypatch, tmp_path, host):
    """The catalog and a server with tiny archives."""

    def serve(name: str, contents: dict[str, bytes]) -> None:
        data = PUBLISHED[name]
        tiny = [
            replace(a, size=len(c := contents[a.name]), sha256=sha256(c)) for a in data.archives
        ]
        host.content |= {f"/{a.path}": contents[a.name] for a in tiny}
        monkeypatch.setitem(PUBLISHED, name, replace(data, archives=tuple(tiny)))

    made = tmp_path / "made"
    contents = {}
    for name, (year, subset, scene) in PARTS.items():
        write_voc(made / name / "VOCdevkit" / year, scene, subset)
        contents[name] = tar(made / f"{name}.packed", *folder_of(made / name)).read_bytes()
    serve("voc", contents)
    images = made / "images"
    for year in ("2014", "2017"):
        for subset in ("train", "val"):
            write_coco(images, None, f"{subset}{year}")
            content = folder_of(images / "images" / f"{subset}{year}")
            members = [(f"{subset}{year}/{name}", picture) for name, picture in content]
            file = zipped(made / f"{subset}{year}.zip", *members)
            contents[file.name] = file.read_bytes()
        members = [
            (f"annotations/{name}", text)
            for name, text in folder_of(images / "annotations")
            if year in name
        ]
        file = zipped(made / f"annotations_trainval{year}.zip", *members)
        contents[file.name] = file.read_bytes()
    serve("coco", contents)
    serve("coco2014", contents)
    for subset in ("train", "val"):
        file = zipped(made / f"lvis_v1_{subset}.json.zip", (f"lvis_v1_{subset}.json", b"{}"))
        contents[file.name] = file.read_bytes()
    serve("lvis", contents)
    return contents


def test_voc_years_are_joined(server, host, published, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run("download", "voc", "--mirror", server)
    assert (status, err) == (0, "")
    assert out.endswith("data.root=VOC0712: subsets trainval, test\n")
    assert not list(Path().glob("*.tar.*")) and len(host.asked) == 3
    for name, (year, subset, scene) in PARTS.items():
        data = open_data(Path("VOCdevkit", year), subset)
        assert [Path(data.paths[i]).stem for i in range(len(data))] == list(scene), name
    trainval, test = (open_data("VOC0712", subset) for subset in ("trainval", "test"))
    assert trainval.classes == test.classes == CLASSES
    assert trainval.boxes.tolist() == [
        list(map(float, box)) for key in "ac" for _, *box in SCENE[key][1]
    ]
    assert [Path(test.paths[i]).stem for i in range(2)] == ["000001", "000002"]
    assert trainval.image(0).shape == (40, 60, 3)
    name = "JPEGImages/000005.png"
    assert Path("VOC0712", name).samefile(Path("VOCdevkit/VOC2007", name))
    shutil.rmtree("VOC0712")
    status, out, err = run("download", "voc", "--mirror", server)
    assert (status, err) == (0, "") and out.count("there already") == 3
    assert len(host.asked) == 3 and len(open_data("VOC0712", "trainval")) == 2


def test_coco_and_lvis_share_images(server, host, published, tmp_path):
    folder = tmp_path / "data" / "coco"
    words = ("--folder", folder, "--mirror", f"{server}/")
    status, out, err = run("download", "coco", *words, "--keep")
    assert (status, err) == (0, "")
    assert out.endswith(f"data.root={folder}: subsets train2017, val2017\n")
    data = open_data(folder, "train2017")
    assert [data.paths[i] for i in range(3)] == [f"train2017/{name}.png" for name in SCENE]
    assert len(data.boxes) == len(coco_content()["annotations"])
    kept = {"annotations_trainval2017.zip", "train2017.zip", "val2017.zip"}
    assert {file.name for file in folder.iterdir() if file.is_file()} == kept
    host.asked.clear()
    status, out, _ = run("download", "lvis", *words)
    assert status == 0 and out.count("there already") == 2
    assert [path for path, _ in host.asked] == [
        f"/LVIS/lvis_v1_{s}.json.zip" for s in ("val", "train")
    ]
    assert (folder / "annotations" / "lvis_v1_train.json").read_bytes() == b"{}"
    status, out, _ = run("download", "coco2014", *words)
    assert (
        status == 0 and len(open_data(folder, "val2014")) == len(open_data(folder, "val2017")) == 3
    )


def test_only_selects_archives(server, host, published, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted = "VOCtest_06-Nov-2007.tar"
    status, out, _ = run("download", "voc", "--mirror", server, "--only", wanted)
    assert status == 0 and "subsets" not in out and not Path("VOC0712").exists()
    assert [Path(path).name for path, _ in host.asked] == [wanted]
    assert len(open_data("VOCdevkit/VOC2007", "test")) == 2


def test_ctrl_c_keeps_the_part(server, host, published, tmp_path, monkeypatch):
    class Stopped(tqdm):
        def update(self, n=1):
            raise KeyboardInterrupt

    words = ("coco", "--folder", tmp_path / "coco", "--mirror", server, "--only", "val2017.zip")
    path, size = "/zips/val2017.zip", len(published["val2017.zip"])
    host.cuts[:] = [100]
    with monkeypatch.context() as patch:
        patch.setattr("fsdet.data.download.fetch.bytes_bar", partial(Stopped, disable=True))
        status, _, err = run("download", *words)
    assert status == 130
    assert err == "stopped; downloaded parts are kept, the same command resumes\n"
    assert names(tmp_path / "coco") == ["val2017.zip.part"]
    assert 0 < (tmp_path / "coco" / "val2017.zip.part").stat().st_size <= 100 < size

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fsdet.data.download.unpack.shutil.copyfileobj", stop)
        assert run("download", *words)[0] == 130
    assert host.asked == [(path, None), (path, "bytes=100-")]
    assert names(tmp_path / "coco") == ["val2017", "val2017.zip.unpacking", "val2017/a.png"]
    assert run("download", *words)[0] == 0
    assert len(host.asked) == 2
    assert dict(folder_of(tmp_path / "coco")) == {
        f"val2017/{name}": picture
        for name, picture in folder_of(tmp_path / "made" / "images" / "images" / "val2017")
    }


def test_errors_are_one_line(server, host, published, tmp_path):
    folder = tmp_path / "coco"
    for words, message in (
        (("coc",), "error: no data set 'coc'; did you mean 'coco'?\n"),
        (("coco", "--only", "train2017"), "error: --only: no file 'train2017'; did you mean 'train2017.zip'?\n"),
        (("coco", "--mirror", "ftp://host"), "begins with http:// or https://, got 'ftp://host/annotations"),
        (("coco", "--mirror", f"{server}/x"), "has no such file (404 Not Found)"),
        (("coco", "--year", "2014"), "unrecognized arguments"),
    ):  # fmt: skip
        status, _, err = run("download", *words, "--folder", folder)
        assert status == 2 and message in err and err.count("\n") == 1
    (tmp_path / "file").write_text("")
    status, _, err = run("download", "coco", "--folder", tmp_path / "file")
    assert status == 2 and err == f"error: {tmp_path / 'file'}: File exists\n"


def test_error_about_free_space_comes_before_the_download(
    server, host, published, tmp_path, monkeypatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(
        InputError, match=r"of free space for .*train2017\.zip, the disk has 0\.00 GB"
    ):
        download(PUBLISHED["coco"].archives, tmp_path / "coco", server)
    assert not host.asked


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk without space")
def test_error_on_a_full_disk(server, host, published, tmp_path):
    archive = PUBLISHED["coco"].archives[1]
    (tmp_path / f"{archive.name}.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match=os.strerror(errno.ENOSPC)):
        download([archive], tmp_path, server)


def test_space_is_the_peak_of_disk_use(tmp_path):
    def archive(name: str, size: int, growth: float) -> Archive:
        return Archive("http://host", name, size, "", ("never",), growth=growth)

    first, second = archive("a.zip", 100, 2), archive("b.zip", 1000, 1)
    assert space([], tmp_path) == 0
    # While b is downloaded and unpacked, a is unpacked and its archive removed.
    assert space([first, second], tmp_path) == 200 + 2000
    assert space([first, second], tmp_path, keep=True) == 300 + 2000
    assert space([second, first], tmp_path) == 2000
    (tmp_path / "b.zip.part").write_bytes(bytes(400))
    assert space([first, second], tmp_path) == 200 + 600 + 1000
    # The archive is removed once it is unpacked, with the part that existed before.
    assert space([second, archive("c.zip", 5000, 1)], tmp_path) == 600 + 1000 - 1000 + 10000
    (tmp_path / "b.zip.part").rename(tmp_path / "b.zip.unpacking")
    assert space([first, second], tmp_path) == 300


def test_years_are_copied_without_hard_links(tmp_path, monkeypatch):
    for year, subset, scene in PARTS.values():
        write_voc(tmp_path / "VOCdevkit" / year, scene, subset)

    def refused(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    done = tmp_path / "done"
    (done / "JPEGImages").mkdir(parents=True)
    (done / "JPEGImages" / "000005.png").write_bytes(b"of a stopped run")
    voc0712.join(tmp_path / "VOCdevkit", done)
    assert (done / "JPEGImages" / "000005.png").read_bytes() == b"of a stopped run"
    copied = "JPEGImages/000002.png"
    assert not (done / copied).samefile(tmp_path / "VOCdevkit" / "VOC2007" / copied)
    assert (done / copied).read_bytes() == (tmp_path / "VOCdevkit/VOC2007" / copied).read_bytes()
    lists = {file.name: file.read_text() for file in (done / "ImageSets" / "Main").iterdir()}
    assert lists == {"trainval.txt": "000005\n2008_000002\n", "test.txt": "000001\n000002\n"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_catalog_names_each_file_once(name):
    archives = PUBLISHED[name].archives
    assert len({archive.name for archive in archives}) == len(archives)
    given = [path for archive in archives for path in archive.contents]
    assert len(set(given)) == len(given) >= len(archives)
    for archive in archives:
        assert re.fullmatch("[0-9a-f]{64}", archive.sha256) and archive.size > 10**7
