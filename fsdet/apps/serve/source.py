"""Source of Label Studio's images: its host or a folder, and no other address that a task contains."""

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
        token: for its API: a legacy token, or a personal access token (a JWT), which is exchanged for a
            short-lived one.
        folder: Label Studio's LOCAL_FILES_DOCUMENT_ROOT.

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
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), _NoRedirection()
        )

    def image(self, name: str) -> bytes:
        """The file of an image, by its path or address in a task.

        Raises:
            InputError: an address outside host and folder, no such file, or too many bytes.
        """
        try:
            parts = urlsplit(name)
            origin = f"{parts.scheme}://{parts.netloc}"
            path = unquote(parts.path)
        except ValueError as error:
            raise InputError(f"'{name[:200]}' is not an address: {error}") from None
        if self._folder is not None and path.endswith(LOCAL_FILES):
            return self._read(self._folder, name)
        host = urlsplit(self.url)
        is_own = origin in (f"{host.scheme}://{host.netloc}", "://")
        path = path.removeprefix(host.path)
        if not self.url or not is_own or not path.startswith("/data/") or ".." in path.split("/"):
            where = f"/data/... of {self.url}" if self.url else "nothing: give --label-studio URL"
            raise Refusal(422, f"image '{name[:200]}': expected {where}")
        query = f"?{quote(parts.query, safe='=&%')}" if parts.query else ""
        return self._get(f"{quote(path)}{query}", self._limits.body)

    def export(self, project: int) -> bytes:
        """Label Studio's JSON export of all annotated tasks of a project."""
        return self._get(f"/api/projects/{project}/export?exportType=JSON", self._limits.export)

    def _read(self, folder: Path, name: str) -> bytes:
        try:
            with open(find_image(folder, name), "rb") as stream:
                content = stream.read(self._limits.body + 1)
        except (InputError, OSError):  # its message would show the path of the folder to a client
            raise Refusal(422, f"'{name[:200]}': not in the folder of local files") from None
        if len(content) > self._limits.body:
            raise Refusal(413, f"'{name[:200]}': expected at most {self._limits.body} bytes")
        return content

    def _get(self, path: str, max_bytes: int) -> bytes:
        return self._fetch(path, max_bytes, self._authorization())

    def _authorization(self) -> dict[str, str]:
        if not self._token:
            return {}
        if self._token.count(".") != 2:
            return {"Authorization": f"Token {self._token}"}
        refresh = json.dumps({"refresh": self._token}).encode()
        json_headers = {"Content-Type": "application/json"}
        answer = self._fetch("/api/token/refresh", CHUNK, json_headers, refresh)
        try:
            return {"Authorization": f"Bearer {json.loads(answer)['access']}"}
        except (ValueError, LookupError, TypeError):
            raise Refusal(
                502, f"{self.url}: expected an access token for the personal one, got none"
            ) from None

    def _fetch(
        self, path: str, max_bytes: int, headers: dict[str, str], body: bytes | None = None
    ) -> bytes:
        """Label Studio's answer, if it is short enough and arrives in time."""
        request = urllib.request.Request(self.url + path, body, headers)
        deadline = time.monotonic() + self._limits.seconds / 2
        address, chunks, size = request.full_url[:200], [], 0
        try:
            with self._opener.open(request, timeout=self._limits.seconds / 4) as answer:
                while chunk := answer.read1(CHUNK):
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > max_bytes:
                        raise Refusal(413, f"{address}: expected at most {max_bytes} bytes")
                    if time.monotonic() > deadline:
                        raise Refusal(504, f"{address}: did not arrive in time")
        except urllib.error.HTTPError as error:
            raise Refusal(
                502, f"{address}: Label Studio answers {error.code} {error.reason}"
            ) from None
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            reason = getattr(error, "reason", None) or error
            raise Refusal(502, f"{address}: cannot be fetched ({reason})") from None
        return b"".join(chunks)


def _is_host(url: str) -> bool:
    """Whether this is an http(s) address of a host, perhaps with a path, and nothing else."""
    try:
        parts = urlsplit(url)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    extras = parts.username or parts.password or parts.query or parts.fragment
    return bool(parts.scheme in ("http", "https") and parts.hostname and has_port and not extras)


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: it could lead to any address."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        return None
