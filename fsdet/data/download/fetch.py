"""Resumable downloads with a checksum.

`torchvision.datasets.utils` and pooch check their downloads but start again after every interruption, which is
impractical for 20 GB; huggingface_hub resumes, but only from its own host. Hence urllib with byte ranges.
"""

import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tqdm import tqdm

from fsdet.errors import InputError

CHUNK = 2**20  # bytes
TIMEOUT = 60.0  # seconds without a byte
PAUSE = 5.0  # seconds before a cut connection is opened again
RESUME_HINT = "downloaded parts are kept, the same command resumes"
STATUS_TEXTS = {404: "has no such file", 416: "has a shorter file than expected"}

bytes_bar = partial(tqdm, unit="B", unit_scale=True, disable=None, leave=False)


def fetch(url: str, to: Path, size: int, sha256: str) -> None:
    """Download a file, or resume its download.

    The incomplete file is called `to` + `.part`; the next call resumes it if the server supports byte ranges.
    A cut connection is opened again as long as bytes arrive. A file `to` that exists already is treated as
    such a part: it is completed if it is short, and its checksum is verified.

    Args:
        url: http or https.
        to: the file, in a folder that exists.
        size: bytes of the complete file.
        sha256: its checksum, in lower case.

    Raises:
        InputError: no connection, no such file, or one of another size: the part is kept. Or another checksum:
            the file is renamed to `to` + `.wrong`, and the next call starts again.
    """
    part = with_suffix(to, ".part")
    if to.exists():
        os.replace(to, part)
    _receive(url, part, size)
    actual = _sha256(part)
    if actual != sha256:
        wrong = with_suffix(to, ".wrong")
        os.replace(part, wrong)
        raise InputError(
            f"{url}: expected a file with SHA-256 {sha256}, got {actual}; it is kept as '{wrong}', "
            "which may be removed; the same command downloads it again, with --mirror URL from another server"
        )
    os.replace(part, to)


def with_suffix(file: Path, suffix: str) -> Path:
    """The path with a suffix added to the whole name: a.zip -> a.zip.part."""
    return file.with_name(file.name + suffix)


def length(file: Path) -> int:
    """Bytes of a file; 0 if it does not exist."""
    return file.stat().st_size if file.exists() else 0


def _receive(url: str, part: Path, size: int) -> None:
    """Append to the part until it has `size` bytes; from the beginning if the server has no byte ranges."""
    with bytes_bar(desc=part.stem, total=size, initial=length(part)) as bar:
        while (before := length(part)) < size:
            with _request(url, before, size) as response:
                mode = "ab" if response.status == http.client.PARTIAL_CONTENT else "wb"
                with open(part, mode) as file:
                    bar.n = file.tell()
                    for chunk in _chunks(response, size - bar.n):
                        file.write(chunk)
                        bar.update(len(chunk))
            after = length(part)
            if (
                after <= before
            ):  # no byte came, or a new start did not reach the length of the last one
                restarts = "the server cannot resume a file, the same command starts again"
                hint = restarts if before and mode == "wb" else RESUME_HINT
                raise InputError(f"{url}: cut at {after} of {size} bytes; {hint}")
            if after < size:
                time.sleep(PAUSE)


def _request(url: str, start: int, size: int) -> http.client.HTTPResponse:
    """Request a file from byte `start`; the server may send all of it instead (see its status)."""
    if not url.startswith(("http://", "https://")):
        raise InputError(f"expected an address that begins with http:// or https://, got '{url}'")
    headers = {"User-Agent": "fsdet"}  # some hosts refuse urllib's
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        request = urllib.request.Request(url, headers=headers)
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        status = STATUS_TEXTS.get(error.code, "refuses the file")
        raise InputError(
            f"{url}: the server {status} ({error.code} {error.reason}); "
            "another server with the same files: --mirror URL"
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise InputError(
            f"{url}: no connection ({getattr(error, 'reason', None) or error}); needed: a network, "
            f"perhaps https_proxy in the environment, or --mirror URL; {RESUME_HINT}"
        ) from None
    if response.status == http.client.PARTIAL_CONTENT:
        content_range = response.headers.get("Content-Range", "")
        parsed = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", content_range)
        offset, total = (int(parsed[1]), int(parsed[2])) if parsed else (-1, -1)
    else:
        start = offset = 0
        total = size if response.length is None else response.length
    if (offset, total) != (start, size):
        response.close()
        raise InputError(
            f"{url}: expected a file of {size} bytes from byte {start} on, the server has one of "
            f"{total} from byte {offset} on; another server: --mirror URL"
        )
    return response


def _chunks(response: http.client.HTTPResponse, most: int) -> Iterator[bytes]:
    """Chunks until the response ends, is cut, or exceeds `most` bytes; the file's length tells these apart."""
    while most >= 0:
        try:
            chunk = response.read1(CHUNK)
        except (OSError, http.client.HTTPException):
            return
        if not chunk:
            return
        most -= len(chunk)
        yield chunk


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as content, bytes_bar(desc="checking", total=length(file)) as bar:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()
