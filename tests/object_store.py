"""An object store on this machine that speaks as much of S3 as pyarrow's client asks for; tests of scale read and write it.

Requests must be signed by a known key, as a private bucket's must; signatures themselves are not checked.
"""

import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

KEY = "AKIDTEST"
BEGIN = '<?xml version="1.0" encoding="UTF-8"?>\n'
DATE = "Wed, 25 Nov 2026 12:00:00 GMT"


class Store(ThreadingHTTPServer):
    """objects: "bucket/key" -> bytes. uploads: what is on its way in parts. asked: method and key of each request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.asked: list[tuple[str, str]] = []

    def address(self, place: str) -> str:
        return f"s3://{place}?scheme=http&endpoint_override=127.0.0.1:{self.server_port}&region=us-east-1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:  # a client that was killed
            self.close_connection = True

    def _begin(self) -> tuple[str, dict[str, list[str]], bytes] | None:
        """The key, the query and the body of a request; None where it was refused."""
        url = urlsplit(self.path)
        key, body = unquote(url.path).strip("/"), self._body()
        self.server.asked.append((self.command, key))
        if KEY not in self.headers.get("Authorization", ""):
            self._error(403, "AccessDenied", "Access Denied")
            return None
        return key, parse_qs(url.query, keep_blank_values=True), body

    def _body(self) -> bytes:
        if "Transfer-Encoding" in self.headers:
            body = _chunks(self.rfile)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return _chunks(io.BytesIO(body)) if "aws-chunked" in self.headers.get("Content-Encoding", "") else body

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _xml(self, text: str, status: int = 200) -> None:
        self._answer(status, (BEGIN + text).encode(), Content_Type="application/xml")

    def _error(self, status: int, code: str, message: str) -> None:
        self._xml(f"<Error><Code>{code}</Code><Message>{message}</Message></Error>", status)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if (begun := self._begin()) is None:
            return
        key, query, _ = begun
        data = self.server.objects.get(key)
        if "list-type" in query:
            self._list(key, query)
        elif "/" not in key:
            self._answer(200)
        elif data is None:
            self._error(404, "NoSuchKey", "The specified key does not exist.")
        elif "Range" in self.headers:
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            part = data[int(first) : int(last) + 1]
            content_range = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
            self._answer(206, part, Content_Range=content_range, ETag=_tag(data), Last_Modified=DATE)
        else:
            self._answer(200, data, ETag=_tag(data), Last_Modified=DATE)

    def _list(self, bucket: str, query: dict[str, list[str]]) -> None:
        prefix, delimiter = (query.get(name, [""])[0] for name in ("prefix", "delimiter"))
        files, folders = [], set()
        for name, data in sorted(self.server.objects.items()):
            key = name.removeprefix(f"{bucket}/")
            if key == name or not key.startswith(prefix):
                continue
            inside, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            if cut:
                folders.add(prefix + inside + delimiter)
                continue
            date = "2026-11-25T12:00:00.000Z"
            files.append(
                f"<Contents><Key>{escape(key)}</Key><LastModified>{date}</LastModified><ETag>{escape(_tag(data))}</ETag>"
                f"<Size>{len(data)}</Size></Contents>"
            )
        common = [f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in sorted(folders)]
        count = f"<KeyCount>{len(files) + len(common)}</KeyCount><IsTruncated>false</IsTruncated>"
        self._xml(f"<ListBucketResult>{count}{''.join(files + common)}</ListBucketResult>")

    def do_PUT(self) -> None:
        if (begun := self._begin()) is None:
            return
        key, query, body = begun
        if "partNumber" in query:
            self.server.uploads[query["uploadId"][0]][int(query["partNumber"][0])] = body
        elif "/" in key:
            self.server.objects[key] = body
        self._answer(200, ETag=_tag(body))

    def do_POST(self) -> None:
        if (begun := self._begin()) is None:
            return
        key, query, _ = begun
        if "uploads" in query:
            upload = f"upload-{len(self.server.asked)}"
            self.server.uploads[upload] = {}
            self._xml(f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")
        else:
            parts = self.server.uploads.pop(query["uploadId"][0])
            self.server.objects[key] = data = b"".join(parts[number] for number in sorted(parts))
            self._xml(f"<CompleteMultipartUploadResult><ETag>{escape(_tag(data))}</ETag></CompleteMultipartUploadResult>")

    def do_DELETE(self) -> None:
        if (begun := self._begin()) is None:
            return
        self.server.objects.pop(begun[0], None)
        self._answer(204)

    def log_message(self, *args) -> None:
        pass


def _chunks(stream: BinaryIO) -> bytes:
    """A body that was sent in chunks, each after a line with its size; what follows the last one is passed over."""
    whole = b""
    while n_bytes := int(stream.readline().split(b";")[0], 16):
        whole += stream.read(n_bytes)
        stream.readline()
    while stream.readline().strip():
        pass
    return whole


def _tag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


@contextmanager
def object_store() -> Iterator[Store]:
    with Store() as store:
        thread = threading.Thread(target=store.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield store
        finally:
            store.shutdown()
            thread.join()
