"""Source of Label Studio's images: its own host or a folder, never an address that a task names."""

import http.client
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from fsdet.apps.serve.limits import Limits, Refusal
from fsdet.data.formats.label_studio import LOCAL_FILES, find_image
from fsdet.errors import InputError

CHUNK = 2**16


class Source:
    """Label Studio's host, its folder of local files, both, or neither.

    Args:
        limits: of bytes and of time.
        url: of Label Studio, such as http://127.0.0.1:8080.
        token: for its API: an access token, or a personal one (a JWT), which is exchanged for one.
        folder: what Label Studio calls LOCAL_FILES_DOCUMENT_ROOT.

    Raises:
        InputError: another kind of address, or no such folder.
    """

    def __init__(
        self,
        limits: Limits,
        url: str | None = None,
        token: str | None = None,
        folder: Path | None = None,
    ):
        self._limits, self._token, self._folder = limits, token, folder
        self.url = (url or "").rstrip("/")
        if self.url and not _is_host(self.url):
            raise InputError(f"--label-studio: expected http://HOST:PORT, got '{url}'")
        if folder is not None and not folder.is_dir():
            raise InputError(f"--label-studio-files: no folder '{folder}'")
        handlers = [urllib.request.ProxyHandler({}), _Stay()]
        self._opener = urllib.request.build_opener(*handlers)

    def image(self, name: str) -> bytes:
        """The file of an image as a task names it.

        Raises:
            InputError: it is neither of the host nor of the folder, is not there, or is too long.
        """
        try:
            parts = urlsplit(name)
            origin = f"{parts.scheme}://{parts.netloc}"
            path = unquote(parts.path)
        except ValueError as error:
            raise InputError(f"'{name[:200]}' is not an address: {error}") from None
        base = urlsplit(self.url)
        if self._folder is not None and path.endswith(LOCAL_FILES):
            return self._of_folder(self._folder, name)
        own = origin == f"{base.scheme}://{base.netloc}" or not (parts.scheme or parts.netloc)
        inner = path.removeprefix(base.path)
        if not self.url or not own or not inner.startswith("/data/") or ".." in path.split("/"):
            where = f"/data/... of {self.url}" if self.url else "nothing: give --label-studio URL"
            raise Refusal(422, f"image '{name[:200]}': expected {where}")
        query = f"?{quote(parts.query, safe='=&%')}" if parts.query else ""
        return self._get(f"{quote(inner)}{query}", self._limits.body)

    def export(self, project: int) -> bytes:
        """All annotated tasks of a project, as Label Studio exports them to JSON."""
        return self._get(f"/api/projects/{project}/export?exportType=JSON", self._limits.export)

    def _of_folder(self, folder: Path, name: str) -> bytes:
        try:
            with open(find_image(folder, name), "rb") as stream:
                content = stream.read(self._limits.body + 1)
        except (InputError, OSError):  # where the folder is concerns nobody
            raise Refusal(422, f"'{name[:200]}': not in the folder of local files") from None
        if len(content) > self._limits.body:
            raise Refusal(413, f"'{name[:200]}': expected at most {self._limits.body} bytes")
        return content

    def _get(self, path: str, most: int) -> bytes:
        return self._open(urllib.request.Request(self.url + path, headers=self._headers()), most)

    def _headers(self) -> dict[str, str]:
        if not self._token:
            return {}
        if self._token.count(".") != 2:
            return {"Authorization": f"Token {self._token}"}
        request = urllib.request.Request(
            f"{self.url}/api/token/refresh",
            json.dumps({"refresh": self._token}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            access = json.loads(self._open(request, CHUNK))["access"]
        except (ValueError, LookupError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise Refusal(502, f"{self.url}: no access token came for the personal one") from None
        return {"Authorization": f"Bearer {access}"}

    def _open(self, request: urllib.request.Request, most: int) -> bytes:
        """The answer to a request, if it is as long as allowed and comes in time."""
        until = time.monotonic() + self._limits.seconds / 2
        where, chunks, size = request.full_url[:200], [], 0
        try:
            with self._opener.open(request, timeout=self._limits.seconds / 4) as answer:
                while chunk := answer.read1(CHUNK):
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > most:
                        raise Refusal(413, f"{where}: expected at most {most} bytes")
                    if time.monotonic() > until:
                        raise Refusal(504, f"{where}: did not come in time")
        except urllib.error.HTTPError as error:
            raise Refusal(
                502, f"{where}: Label Studio answers {error.code} {error.reason}"
            ) from None
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            reason = getattr(error, "reason", None) or error
            raise Refusal(502, f"{where}: cannot be fetched ({reason})") from None
        return b"".join(chunks)


def _is_host(url: str) -> bool:
    """Whether this is the address of a host, perhaps with a path, and nothing else."""
    try:
        parts = urlsplit(url)
        usable = parts.port is None or parts.port > 0
    except ValueError:
        return False
    more = parts.username or parts.password or parts.query or parts.fragment
    return bool(parts.scheme in ("http", "https") and parts.hostname and usable and not more)


class _Stay(urllib.request.HTTPRedirectHandler):
    """No redirection: it would lead to an address that nobody configured."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        return None
