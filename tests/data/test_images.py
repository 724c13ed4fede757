"""Image files: pixels of every usual format, EXIF orientation, size limits, broken files."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from helpers.folders import picture
from PIL import Image, ImageOps

from fsdet.data.images import image_size, is_cut_short, is_stored_turned, read_image
from fsdet.errors import InputError

SIZE = (24, 40)


def smooth() -> np.ndarray:
    """A picture that JPEG reproduces within a few grey levels."""
    down, across = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    return np.stack([down * 8, across * 5, 200 - across * 3], axis=2).astype(np.uint8)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_files_keep_every_pixel(kind):
    expected = picture(SIZE)
    options = {"lossless": True} if kind == "WEBP" else {}
    image = read_image(saved(Image.fromarray(expected), kind, **options))
    np.testing.assert_array_equal(image, expected)
    assert image.dtype == np.uint8 and image.flags.c_contiguous and image.flags.writeable


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_jpeg_is_decoded_within_its_loss(options):
    image = read_image(saved(Image.fromarray(smooth()), "JPEG", quality=98, **options))
    assert np.abs(image.astype(int) - smooth()).max() <= 8


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_grey_is_repeated_in_three_channels(kind):
    grey = smooth()[..., 1]
    quality = {"quality": 98} if kind == "JPEG" else {}
    image = read_image(saved(Image.fromarray(grey), kind, **quality))
    assert (image == image[..., :1]).all()
    assert np.abs(image[..., 0].astype(int) - grey).max() <= 4


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_are_scaled_and_not_clipped(channels):
    shape = SIZE if channels == 1 else (*SIZE, channels)
    deep = np.linspace(0, 65535, int(np.prod(shape))).astype(np.uint16).reshape(shape)
    deep_bgr = deep if channels == 1 else deep[..., [2, 1, 0, 3][:channels]]
    image = read_image(cv2.imencode(".png", deep_bgr)[1].tobytes())
    expected = np.repeat(deep[..., None], 3, 2) if channels == 1 else deep[..., :3]
    assert image.dtype == np.uint8
    assert np.abs(image.astype(float) - expected / 257).max() <= 1


def test_16_bit_grey_tiff_is_scaled():
    deep = np.linspace(0, 65535, SIZE[0] * SIZE[1]).astype(np.uint16).reshape(SIZE)
    image = read_image(saved(Image.fromarray(deep), "TIFF"))
    assert np.abs(image[..., 2].astype(float) - deep / 257).max() <= 1


def test_alpha_is_dropped():
    expected = picture(SIZE)
    with_alpha = np.dstack([expected, np.random.default_rng(1).integers(0, 256, SIZE, np.uint8)])
    np.testing.assert_array_equal(read_image(saved(Image.fromarray(with_alpha), "PNG")), expected)
    grey_alpha = saved(Image.fromarray(expected[..., 0]).convert("LA"), "PNG")
    np.testing.assert_array_equal(read_image(grey_alpha)[..., 1], expected[..., 0])


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_images_become_rgb(kind):
    image = Image.fromarray(picture(SIZE)).quantize(16)
    np.testing.assert_array_equal(read_image(saved(image, kind)), np.array(image.convert("RGB")))


def test_one_bit_images_become_black_and_white():
    image = Image.fromarray(picture(SIZE)[..., 0] > 128)
    expected = np.array(image.convert("RGB"))
    assert set(np.unique(expected)) == {0, 255}
    np.testing.assert_array_equal(read_image(saved(image, "PNG")), expected)


def test_cmyk_keeps_its_colours():
    image = read_image(saved(Image.fromarray(smooth()).convert("CMYK"), "JPEG", quality=98))
    assert np.abs(image.astype(int) - smooth()).max() <= 12


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright_by_exif_orientation(kind, orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    quality = {"quality": 98} if kind == "JPEG" else {}
    encoded = saved(Image.fromarray(smooth()), kind, exif=exif, **quality)
    upright = np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))))
    size = upright.shape[:2]
    assert size == (SIZE if orientation < 5 else SIZE[::-1])
    for expected_size in (None, size):
        image = read_image(encoded, expected_size)
        assert image.shape == upright.shape and np.abs(image.astype(int) - upright).max() <= 8
    (tmp_path / "image").write_bytes(encoded)
    assert image_size(tmp_path / "image") == size
    if orientation >= 5 and kind != "TIFF":  # boxes drawn on the pixels as stored
        image = read_image(encoded, SIZE)
        assert np.abs(image.astype(int) - smooth()).max() <= 8


def test_a_size_that_differs_from_the_annotations_is_refused(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(saved(Image.fromarray(picture(SIZE)), "PNG"))
    with pytest.raises(InputError, match=r"a\.png: .* 24 x 40 pixels, the image has 40 x 24"):
        read_image(file, (40, 24))


def png_header(width: int, height: int) -> bytes:
    """A PNG with a large size in its header and no pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_001, 14_000, 60_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused_from_its_header(side, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(InputError, match="above 100 million pixels"):
        read_image(png_header(side, side))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_refused(kind, share, tmp_path):
    if (kind, share) == ("JPEG", 0.95):
        share = 0.8  # a little may be missing
    encoded = saved(Image.fromarray(picture((64, 64))), kind)
    file = tmp_path / "cut.img"
    file.write_bytes(encoded[: int(len(encoded) * share)])
    with pytest.raises(InputError, match=r"cut\.img: (cannot be decoded|not an image)") as caught:
        read_image(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\xff\xd8\xff\xe0", b"%!PS"])
def test_a_file_that_is_not_an_image_is_refused(content, tmp_path):
    file = tmp_path / "a.jpg"
    file.write_bytes(content)
    for read in (read_image, image_size):
        with pytest.raises(InputError, match=r"a\.jpg: not an image"):
            read(file)


def test_a_missing_file_is_refused(tmp_path):
    for read in (read_image, image_size):
        with pytest.raises(InputError, match=r"b\.jpg: cannot be read \(No such file"):
            read(tmp_path / "b.jpg")


def test_float_pixels_are_refused():
    encoded = saved(Image.fromarray(np.ones(SIZE, np.float32)), "TIFF")
    with pytest.raises(InputError, match="expected 8 or 16 bits"):
        read_image(encoded)


def test_a_jpeg_that_lacks_a_little_is_read_as_viewers_show_it(tmp_path):
    content = picture((128, 160))
    whole = saved(Image.fromarray(content), "JPEG", quality=95)
    (tmp_path / "cut.jpg").write_bytes(whole[:-20])
    (tmp_path / "whole.jpg").write_bytes(whole)
    image, expected = read_image(tmp_path / "cut.jpg"), read_image(whole)
    np.testing.assert_array_equal(image[:110], expected[:110])
    assert is_cut_short(tmp_path / "cut.jpg") and not is_cut_short(tmp_path / "whole.jpg")


def test_pixels_that_only_exif_turns_are_told(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a.jpg").write_bytes(saved(Image.fromarray(smooth()), "JPEG", exif=exif))
    (tmp_path / "b.jpg").write_bytes(saved(Image.fromarray(smooth()), "JPEG"))
    assert is_stored_turned(tmp_path / "a.jpg", SIZE)
    assert not is_stored_turned(tmp_path / "a.jpg", SIZE[::-1])
    assert not is_stored_turned(tmp_path / "b.jpg", SIZE)


def test_an_address_is_refused_as_it_was_given():
    with pytest.raises(InputError, match=r"https://example\.org/a\.jpg: addresses are not fetched"):
        read_image("https://example.org/a.jpg")
