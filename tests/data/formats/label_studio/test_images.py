"""Images of Label Studio tasks: files in a local folder."""

import pytest

from fsdet.data.formats.label_studio import find_image
from fsdet.errors import InputError


def test_images_are_found_inside_their_folder_only(tmp_path):
    root = tmp_path / "media"
    (root / "upload" / "3").mkdir(parents=True)
    (root / "sub").mkdir()
    for name in ("upload/3/a b.png", "c.png", "sub/d.png"):
        (root / name).write_text("x")
    (tmp_path / "secret.png").write_text("x")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    for image, name in (
        ("/data/upload/3/a%20b.png", "upload/3/a b.png"),
        ("http://host:8080/data/upload/3/a%20b.png", "upload/3/a b.png"),
        ("/data/upload/7/c.png", "c.png"),
        ("/data/local-files/?d=sub%2Fd.png", "sub/d.png"),
        ("/data/local-files/?d=sub/d.png", "sub/d.png"),
        ("sub/d.png", "sub/d.png"),
    ):
        assert find_image(root, image) == root / name
    for image in (
        "/data/local-files/?d=../secret.png", "/data/local-files/?d=/etc/passwd", "link.png",
        "/data/upload/../../secret.png", "../secret.png", "/data/local-files/?d=%2e%2e/secret.png",
        "/data/local-files/", "nowhere.png", "http://[", "a\0b", "a" * 5000, "",
    ):  # fmt: skip
        with pytest.raises(InputError):
            find_image(root, image)
