"""What `fsdet detect` reads and writes: sources of every kind, videos for browsers, data sets."""

import functools
import http.server
import json
import signal
import threading

import av
import cv2
import numpy as np
import pytest
from helpers.commands import run
from helpers.detectors import knowing, square
from PIL import Image, ImageOps

import fsdet
from fsdet.apps.detect import write_video as writing
from fsdet.apps.detect.sources import common_folder, files_of, path_below, stream_of
from fsdet.apps.detect.stream import Stream
from fsdet.apps.detect.video import Video
from fsdet.apps.detect.write_video import write_video
from fsdet.data import open_data
from fsdet.errors import InputError

pytestmark = pytest.mark.slow


NAMES = ("a/1.jpg", "a/2.png", "b/1.jpg", "b/deep/3.png", "a/turned.jpg")


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A detector of red and blue, and photographs in two folders, with equal names and one on its side."""
    folder = tmp_path_factory.mktemp("detect")
    knowing().save(folder / "run")
    for n, name in enumerate(("a/1.jpg", "a/2.png", "b/1.jpg", "b/deep/3.png")):
        (folder / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / "photos" / name), square(("red", "blue")[n % 2], n)[0][..., ::-1])
    picture = np.zeros((96, 130, 3), np.uint8)
    picture[:, :96] = square("red", 5)[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture).save(folder / "photos" / "a" / "turned.jpg", exif=exif, quality=95)
    write_video(folder / "v.mp4", [square("red", 7)[0]] * 6, 10)
    return folder


@pytest.fixture(scope="module")
def found(room):
    """What the detector finds in each photograph."""
    detector = fsdet.load(room / "run")
    return {name: detector.predict(room / "photos" / name, 0.2) for name in NAMES}


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def address(room):
    """Where a server on this machine serves the folder."""
    handler = functools.partial(Silent, directory=room)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://user:secret@127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


ROUNDING = {"coco": 0.011, "voc": 0.51, "yolo": 1e-4}  # pixels


@pytest.mark.parametrize("kind", ROUNDING)
def test_labels_are_a_data_set_with_the_same_boxes(kind, room, found, tmp_path):
    out = tmp_path / "labelled"
    words = ("detect", room / "run", room / "photos" / "**", "--out", out, "--labels", kind)
    status, said, err = run(*words, "--threshold", 0.2)
    assert (status, err) == (0, "")
    data = open_data(out, "train")
    assert data.layout == kind.upper() and len(data) == 5
    assert said.splitlines()[-1].startswith(f"{out}: {kind.upper()}, subset train: 5 images, ")
    assert set(data.classes) == {one.name for of_one in found.values() for one in of_one}
    assert kind == "voc" or data.classes == ("red", "blue")
    for i in range(len(data)):
        image = data.image(i)
        name = next(n for n in NAMES if same(image, room / "photos" / n))
        rows = data.rows(i)
        assert len(found[name]) == len(data.boxes[rows]) > 0
        np.testing.assert_allclose(data.boxes[rows], found[name].boxes, atol=ROUNDING[kind])
        assert [data.classes[n - 1] for n in data.labels[rows]] == found[name].names
    assert run("check", out, "train")[0] == 0
    status, _, err = run(*words)
    assert status == 2 and "expected a new or empty folder" in err


def same(image, file):
    """Whether an image is that of a file, turned upright."""
    upright = np.asarray(ImageOps.exif_transpose(Image.open(file)).convert("RGB")).astype(int)
    return image.shape == upright.shape and np.abs(image - upright).mean() < 1


def test_labels_of_some_categories_list_those(room, tmp_path):
    words = (room / "photos" / "a", "--labels", "yolo", "--names", "blue", "--out", tmp_path / "x")
    assert run("detect", room / "run", *words, "--threshold", 0.1)[0] == 0
    assert open_data(tmp_path / "x", "train").classes == ("blue",)


def test_sources_are_files_folders_patterns_and_lists(room, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(room)
    (room / "photos" / "notes.md").write_text("")
    listed = room / "photos" / "list.txt"
    listed.write_text("a/1.jpg\n\nphotos/b/1.jpg\n")
    photos = [f"photos/{name}" for name in sorted(NAMES)]
    assert list(map(str, files_of(["photos/**"]))) == photos
    assert set(capsys.readouterr().err.splitlines()) == {
        f"left out, neither image nor video: photos/{name}" for name in ("notes.md", "list.txt")
    }
    assert list(map(str, files_of(["photos/**/*.png", "photos/a/2.png"]))) == [photos[1], photos[4]]
    assert list(map(str, files_of(["photos/list.txt"]))) == ["photos/a/1.jpg", "photos/b/1.jpg"]
    files = files_of(["photos/b", "v.mp4", "photos/a/1.jpg"])
    assert [path_below(common_folder(files), file) for file in files] == [
        "photos/b/1.jpg", "v.mp4", "photos/a/1.jpg",
    ]  # fmt: skip
    (room / "7").write_bytes((room / "photos/a/1.jpg").read_bytes())
    assert stream_of(["7"]) is None and stream_of(["8"]) == 8 and stream_of(["a", "b"]) is None
    assert stream_of(["rtsp://host/x"]) == "rtsp://host/x"
    listed.write_text("a/1.jpg\nrtsp://host/x\n")
    for sources, message in {
        ("photos/a/1.jpgs",): r"photos/a/1.jpgs: no such file or folder; did you mean '1.jpg'\?",
        ("photos/*.gif",): "no image and no video matches 'photos/",
        ("photos/list.txt",): "photos/list.txt, line 2: expected the path .* 'rtsp://host/x'",
        ("photos/" + 5000 * "x",): "no such file or folder",
    }.items():
        with pytest.raises(InputError, match=message):
            files_of(sources)
    with pytest.raises(InputError, match="expected one stream alone, got 2 sources"):
        stream_of(["0", "photos"])


def test_drawings_keep_the_folders_below_the_common_one(room, tmp_path):
    out = tmp_path / "out"
    status, said, err = run("detect", room / "run", room / "photos/**/1.jpg", "--out", out)
    assert (status, err) == (0, "")
    assert [line.split(":")[0] for line in said.splitlines()] == ["a/1.jpg", "b/1.jpg"]
    assert (out / "a/1.jpg").is_file() and (out / "b/1.jpg").is_file()
    names = {row["file_name"] for row in json.loads((out / "detections.json").read_text())}
    assert names == {"a/1.jpg", "b/1.jpg"}
    before = (room / "photos/a/1.jpg").read_bytes()
    words = ("detect", room / "run", room / "photos/**/1.jpg", "--out")
    for place in ("photos", "photos/b"):
        status, _, err = run(*words, room / place)
        assert status == 2 and "--out: expected another folder than that of the input" in err
    assert (room / "photos/a/1.jpg").read_bytes() == before


def test_tiles_are_those_of_predict(room, tmp_path):
    large = np.random.default_rng(0).integers(0, 90, (96, 960, 3), dtype=np.uint8)
    large[30:60, 700:730] = square("red", 7)[0].max(axis=(0, 1))
    Image.fromarray(large).save(tmp_path / "large.png")
    words = ("detect", room / "run", tmp_path / "large.png", "--out", tmp_path / "x")
    assert run(*words, "--threshold", 0.2, "--tiles", 96)[0] == 0
    rows = json.loads((tmp_path / "x" / "detections.json").read_text())
    detector = fsdet.load(room / "run")
    found = detector.predict(large, 0.2, tiles=96)
    assert [row["score"] for row in rows] == [one.score for one in found] != []
    assert found != detector.predict(large, 0.2)


def test_a_stream_is_kept_until_it_ends_or_is_stopped(room, address, tmp_path, monkeypatch):
    words = ("detect", room / "run", f"{address}/v.mp4", "--threshold", 0.2, "--out")
    status, said, err = run(*words, tmp_path / "whole")
    assert (status, err) == (0, "") and said.startswith("127.0.0.1-v.mp4: ")
    video = Video(tmp_path / "whole" / "127.0.0.1-v.mp4")
    assert len(list(video)) == 6 and video.rate == 10
    text = (tmp_path / "whole" / "detections.json").read_text()
    assert "secret" not in text and {row["frame"] for row in json.loads(text)} == set(range(6))

    frames, predict = [], fsdet.Detector.predict

    def stopped_at_the_third(*arguments, **options):
        frames.append(arguments)
        if len(frames) == 3:
            signal.raise_signal(signal.SIGINT)
        return predict(*arguments, **options)

    monkeypatch.setattr(fsdet.Detector, "predict", stopped_at_the_third)
    before = signal.getsignal(signal.SIGINT)
    status, said, err = run(*words, tmp_path / "part")
    assert status == 0 and err == "stopping after this frame; what was found is kept\n"
    assert signal.getsignal(signal.SIGINT) == before
    assert len(list(Video(tmp_path / "part" / "127.0.0.1-v.mp4"))) == 3
    rows = json.loads((tmp_path / "part" / "detections.json").read_text())
    assert {row["frame"] for row in rows} == set(range(3))


def test_a_second_interrupt_ends_a_stream_at_once(address):
    # pytest-xdist's processes ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            for _ in Stream(f"{address}/v.mp4"):
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_stream_that_cannot_be_opened_is_one_line(room, address, tmp_path, capfd):
    for source, message in {
        f"{address}/none.mp4": "127.0.0.1-none.mp4: cannot be opened",
        "987": "webcam-987: cannot be opened",
        "file:///etc/hostname": "expected an address such as rtsp://HOST/PATH",
        "rtsp://[": "expected an address such as rtsp://HOST/PATH",
    }.items():
        status, out, err = run("detect", room / "run", source, "--out", tmp_path / "x")
        assert (status, out, err.count("\n")) == (2, "", 1) and message in err
        assert "secret" not in err
    assert capfd.readouterr() == ("", "") and not (tmp_path / "x").exists()


def test_videos_are_h264_in_mp4_that_browsers_play(tmp_path, monkeypatch):
    frames = [np.full((41, 51, 3), 60 * n, np.uint8) for n in range(4)]  # odd sides
    write_video(tmp_path / "v.mp4", frames, 29.97)
    with av.open(str(tmp_path / "v.mp4")) as file:
        (stream,) = file.streams.video
        assert (stream.codec.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, float(stream.average_rate)) == (52, 42, 29.97)
        read = [frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]
    assert len(read) == 4
    for frame, given in zip(read, frames, strict=True):
        assert np.abs(frame[:41, :51].astype(int) - given).max() < 12
    content = (tmp_path / "v.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # plays before it is whole
    monkeypatch.setattr(writing, "has_h264", lambda: False)
    write_video(tmp_path / "w.mp4", frames, 10)
    with av.open(str(tmp_path / "w.mp4")) as file:
        assert file.streams.video[0].codec.name == "mpeg4"


def test_without_an_encoder_a_sentence_says_so(room, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "find_spec", lambda name: None)
    status, _, err = run("detect", room / "run", room / "v.mp4", "--out", tmp_path)
    assert status == 0 and err == f"{writing.WITHOUT_H264}\n"


def test_labels_are_of_images(room, tmp_path):
    words = ("detect", room / "run", "--out", tmp_path / "x", "--labels", "coco")
    for more, message in {
        (room / "v.mp4",): "--labels: expected images, got 'v.mp4'",
        (room / "v.mp4", "--track"): "expected --labels or --track, got both",
    }.items():
        status, _, err = run(*words, *more)
        assert status == 2 and message in err and err.count("\n") == 1
    assert not (tmp_path / "x").exists()
