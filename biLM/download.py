"""One file over HTTP: resumed after a break, checked, and put in its place only when it is whole.

A partial file stays beside its place, with the server's name for that version of it (ETag), so that the next try, or the
next run, goes on only where it is still the same file. Where the server gives no such name, or no ranges, it begins anew.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

from biLM.errors import InputError
from biLM.progress import Report, silent

TRIES = 5  # in a row that bring nothing new
MOST = 20 * 10**9  # bytes of a file whose size is not known beforehand
TIMEOUT = 30.0  # seconds without a byte
BLOCK = 2**18
_AGAIN = (408, 425, 429, 500, 502, 503, 504)  # statuses that may be other ones in a while
_BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


@dataclass(frozen=True)
class Remote:
    """A file: its address, and its size in bytes and SHA-256 where they are known."""

    url: str
    size: int | None = None
    sha256: str | None = None


def fetch(
    remote: Remote,
    path: Path,
    check: Callable[[Path], None] = lambda path: None,
    report: Report = silent,
    pause: float = 1.0,
) -> None:
    """Downloads a file to `path`, unless it is there; of several processes one does, and the others wait.

    Arguments:
        check: raises InputError for a whole file that is not what it should be; it is then removed.
        report: (bytes done, in all). pause: seconds before the second try, doubled before each next one.

    Raises: InputError, one line, where the file cannot be had or is not the right one.
    """
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if path.is_file():
            return
        transfer = _Transfer(remote, path)
        transfer.run(report, pause)
        try:
            transfer.check()
            check(transfer.partial)
        except InputError:
            transfer.forget()
            raise
        os.replace(transfer.partial, path)
        transfer.forget()


class _Transfer:
    """A partial file on its way."""

    def __init__(self, remote: Remote, path: Path):
        self.remote, self.path = remote, path
        self.partial = path.with_name(f".{path.name}.part")
        self.version = path.with_name(f".{path.name}.version")
        self.total, self.sha256 = remote.size, remote.sha256

    @property
    def done(self) -> int:
        return self.partial.stat().st_size if self.partial.is_file() else 0

    def run(self, report: Report, pause: float) -> None:
        """Tries until the file is there; each try goes on where the one before broke off, if the server lets it."""
        tries, most = 0, self.done
        while True:
            try:
                self._once(report)
                return
            except _BROKEN as error:
                tries = 1 if self.done > most else tries + 1
                most = max(most, self.done)
                if not _may_pass(error) or tries >= TRIES:
                    raise InputError(self._says(error)) from error
                time.sleep(pause * 2 ** (tries - 1))

    def _once(self, report: Report) -> None:
        request = urllib.request.Request(self.remote.url, headers={"Accept-Encoding": "identity", "User-Agent": "ner-elmo"})
        start, version = self.done, self.version.read_text("utf-8") if self.version.is_file() else ""
        if start and version:
            request.add_header("Range", f"bytes={start}-")
            request.add_header("If-Range", version)
        redirect = _Redirect()
        try:
            response = urllib.request.build_opener(redirect).open(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            self.forget()  # more is here than there: not the same file
            raise ConnectionError("the server's file is another one now") from error
        with response:
            self.sha256 = self.remote.sha256 or redirect.sha256
            if response.status != http.HTTPStatus.PARTIAL_CONTENT:
                start = 0
            self.total = _total(response, start)
            self._check_room(self.total or 0)
            self.version.write_text(_version(response), encoding="utf-8")
            self._write(response, start, report)
        if self.total is not None and self.done < self.total:
            raise ConnectionError(f"the connection ended after {self.done:,} of {self.total:,} bytes")

    def _write(self, response: http.client.HTTPResponse, start: int, report: Report) -> None:
        try:
            with open(self.partial, "r+b" if start else "wb") as file:
                file.truncate(start)
                file.seek(start)
                while block := response.read1(BLOCK):
                    self._check_room(file.tell() + len(block))
                    file.write(block)
                    report(file.tell(), self.total)
                os.fsync(file.fileno())
        except OSError as error:
            if isinstance(error, _BROKEN):
                raise
            raise OSError(error.errno, os.strerror(error.errno or errno.EIO), str(self.path)) from error  # a full disk

    def _check_room(self, n_bytes: int) -> None:
        """Raises InputError where more comes than is taken of an unknown server: a stream may have no end."""
        most = MOST if self.remote.size is None else self.remote.size
        if n_bytes > most:
            self.forget()
            raise InputError(
                f"{self.remote.url}: must hold {most:,} bytes at most. Received: {n_bytes:,} or more. Nothing was kept. "
                f"If it is the right file, fetch it by hand and put it at {self.path}."
            )

    def check(self) -> None:
        """Raises InputError where size or SHA-256 are not what they must be."""
        wanted = self.remote.size
        if wanted is not None and self.done != wanted:
            raise InputError(f"{self.remote.url}: must hold {wanted:,} bytes. Received: {self.done:,}. Nothing was kept.")
        if self.sha256:
            with open(self.partial, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != self.sha256:
                raise InputError(
                    f"{self.remote.url}: its SHA-256 must be {self.sha256}. Received: {found}. Nothing was kept; try again."
                )

    def forget(self) -> None:
        self.partial.unlink(missing_ok=True)
        self.version.unlink(missing_ok=True)

    def _says(self, error: Exception) -> str:
        reason = getattr(error, "reason", None) or error
        code = f"{error.code} " if isinstance(error, urllib.error.HTTPError) else ""
        text = " ".join(f"{code}{reason}".split())
        kept = f" {self.done:,} bytes are kept: the same command goes on from there." if self.done else ""
        return f"{self.remote.url}: cannot be downloaded: {text}.{kept} By hand, put it at {self.path}."


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Follows redirects, never from https to http, and notes the SHA-256 that the Hugging Face hub tells with them."""

    sha256: str | None = None

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if req.full_url.startswith("https:") and urlsplit(newurl).scheme != "https":
            raise urllib.error.HTTPError(req.full_url, code, f"a redirect to {newurl}, not https", headers, fp)
        tag = headers.get("X-Linked-Etag", "").strip('"')
        if re.fullmatch("[0-9a-f]{64}", tag):
            self.sha256 = tag
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _may_pass(error: Exception) -> bool:
    """Whether another try may end otherwise."""
    return error.code in _AGAIN if isinstance(error, urllib.error.HTTPError) else True


def _version(response: http.client.HTTPResponse) -> str:
    """What the server calls this version of the file, if it says so in a way that holds for each byte."""
    tag = response.headers.get("ETag", "")
    return "" if tag.startswith("W/") else tag


def _total(response: http.client.HTTPResponse, start: int) -> int | None:
    """Bytes of the whole file, where the server says it."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if not found or int(found[1]) != start:
            raise http.client.HTTPException("the server sent another range than it was asked for")
        return int(found[2])
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None
