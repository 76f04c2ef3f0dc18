"""Clients of `python -m ner_elmo serve` on loopback, each a thread with one connection.

They share the machine with the server, so they cost as little as they can: bare sockets, a request is one `sendall`.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import BinaryIO


@contextmanager
def serving_process(*arguments: str) -> Iterator[int]:
    """Gives the port of a server that is ready; it ends with the block."""
    command = [sys.executable, "-m", "ner_elmo", "serve", "--no-demo", "--port", "0", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        ready = re.search(r"ready: http://[^ ]*:(\d+)", line)
        if ready is None:
            raise RuntimeError(line + process.stderr.read())
        try:
            yield int(ready[1])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


class Load:
    """So many clients; each sends a text, waits for the answer and takes the next text."""

    def __init__(self, port: int, n_clients: int):
        self.port, self.n_clients = port, n_clients

    def run(self, texts: Sequence[str]) -> tuple[float, list[float]]:
        """Seconds for all texts, and milliseconds of each request."""
        waiting: SimpleQueue[str] = SimpleQueue()
        for text in texts:
            waiting.put(text)
        begin = time.perf_counter()
        with ThreadPoolExecutor(self.n_clients) as clients:
            done = [clients.submit(self._client, waiting) for _ in range(self.n_clients)]
        seconds = time.perf_counter() - begin
        return seconds, [milliseconds for one in done for milliseconds in one.result()]

    def _client(self, waiting: SimpleQueue[str]) -> list[float]:
        taken = []
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=120) as connection,
            connection.makefile("rb") as answers,
        ):
            while (text := _next(waiting)) is not None:
                body = json.dumps({"text": text}).encode()
                begin = time.perf_counter()
                connection.sendall(b"POST /entities HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                status, answer = _answer(answers)
                taken.append(1000 * (time.perf_counter() - begin))
                if status != 200 or json.loads(answer)["text"] != text:
                    raise RuntimeError(f"status {status}: {answer[:200]!r}")
        return taken


def _answer(stream: BinaryIO) -> tuple[int, bytes]:
    """Status and body of the next answer; ours always have a Content-Length."""
    status, length = int(stream.readline().split()[1]), 0
    while line := stream.readline().strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return status, stream.read(length)


def _next(waiting: SimpleQueue[str]) -> str | None:
    try:
        return waiting.get_nowait()
    except Empty:
        return None
