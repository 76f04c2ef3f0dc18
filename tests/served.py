"""A small tagger that knows its sentences, and servers of it: a process of its own, or a thread of the test's."""

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from conftest import PROJECT

from biLM import load_bilm
from ner_elmo.batching import Features
from ner_elmo.bundle import save_model
from ner_elmo.config import TrainConfig
from ner_elmo.entities import Span
from ner_elmo.metrics import evaluate
from ner_elmo.model_directory import write_scores
from ner_elmo.readers import Sentence
from ner_elmo.serving.options import ServeOptions
from ner_elmo.serving.server import create_app
from ner_elmo.training import train_tagger

SENTENCES = [
    Sentence(("Ada", "Lund", "left", "Oslo", "."), (Span("PER", 0, 2), Span("LOC", 3, 4))),
    Sentence(("Nobody", "spoke", "."), ()),
    Sentence(("New", "York", "slept", "."), (Span("LOC", 0, 2),)),
    Sentence(("Oslo", "called", "Ada", "."), (Span("LOC", 0, 1), Span("PER", 2, 3))),
] * 5


def train_small(weights: Path, directory: Path) -> Path:
    """A model directory. All sentences are one batch: one shape, which is compiled once."""
    config = TrainConfig(
        elmo=str(weights), hidden_size=32, dropout=0.0, batch_size=len(SENTENCES), learning_rate=0.01, epochs=80, patience=80
    )
    features = Features.of(config, [sentence.tokens for sentence in SENTENCES], load_bilm(weights))
    trained = train_tagger(config, ["LOC", "PER"], SENTENCES, SENTENCES, features)
    save_model(directory, trained.tagger, trained.features, config, {"dev_f1": trained.best.dev.f1})
    spans = [sentence.spans for sentence in SENTENCES]
    write_scores(directory, evaluate(spans, spans, [len(sentence.tokens) for sentence in SENTENCES]))
    return directory


class Server:
    """Where a server listens, and how to ask it."""

    def __init__(self, port: int):
        self.port, self.url = port, f"http://127.0.0.1:{port}"

    def ask(self, method: str, path: str, body=None, headers=()) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def post(self, **body) -> tuple[int, dict | list]:
        status, _, answer = self.ask("POST", "/entities", json.dumps(body))
        return status, json.loads(answer)

    def get(self, path: str) -> dict:
        return json.loads(self.ask("GET", path)[2])

    def wait_until(self, waiting: int) -> None:
        """Until so many requests wait."""
        for _ in range(200):
            if self.get("/health")["waiting"] == waiting:
                return
            time.sleep(0.05)
        raise AssertionError(self.get("/health"))


class Process(Server):
    """`python -m ner_elmo serve` on a free port, ready."""

    def __init__(self, model: Path, *options: str, without: str | None = None):
        start = f"import sys, runpy; sys.modules[{without!r}] = None; " if without else "import runpy; "
        code = start + "runpy.run_module('ner_elmo', run_name='__main__', alter_sys=True)"
        command = [sys.executable, "-c", code, "serve", "--model", str(model), "--port", "0", *options]
        environment = os.environ | {"PYTHONPATH": str(PROJECT)}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.stderr = self.process.stderr.readline()
        found = re.match(r"ready: http://127\.0\.0\.1:(\d+) ", self.stderr)
        assert found, self.stderr + self.process.stderr.read()
        super().__init__(int(found[1]))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit status; what was written is in `stdout` and `stderr`."""
        self.process.send_signal(number)
        self.stdout, rest = self.process.communicate(timeout=60)
        self.stderr += rest
        return self.process.returncode


@contextmanager
def server_in_thread(tagger, model: Path, **options):
    """The same application and server, in this process: for limits that each need a server of their own."""
    app = create_app(tagger, model, ServeOptions(port=0, demo=False, **options))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield Server(server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    thread.join(60)
