"""A server under mixed requests: answers are those of their requests, malformed ones get a reason, memory does not grow.

LOAD_SECONDS, 10 where it is not set: `LOAD_SECONDS=1800 pytest -s tests/reliability/test_load.py` prints what was sent.
"""

import json
import os
import random
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("served", reason="needs the extra `serve`", exc_type=ImportError)
from served import Process

from ner_elmo.predictor import Predictor

SECONDS = float(os.environ.get("LOAD_SECONDS", "10"))
N_CLIENTS, PAUSE = 6, 0.01  # seconds between two requests of a client
MALFORMED = {
    b"": 422, b"{": 422, b'{"text": 3}': 422, b'{"text": "a", "text2": "b"}': 422, b"[]": 422, b'{"texts": "a"}': 422,
    b"\xff\xfe": 422, b'{"text": "\\ud800"}': 422, b"[" * 3000: 422, b'{"text": "' + b"x" * 60_000 + b'"}': 413,
}  # fmt: skip
SENTENCES = ("Ada Lund left Oslo on {}.", "Oslo called Ada for {}.", "New York slept in {}.", "Nobody left Oslo to {}.")
pytestmark = pytest.mark.slow


def found(entities: list[dict]) -> list[tuple]:
    return [(e["type"], e["start"], e["end"], e["text"]) for e in entities]


@pytest.fixture(scope="module")
def texts(small_model):
    """Texts and what the tagger finds in each: of no two the same, in type or place. The last ones are long."""
    tagger = Predictor.load(small_model)
    short = [f"{'Nobody spoke. ' * (n // 4)}{SENTENCES[n % 4].format(f'id{n}')}" for n in range(80)]
    long = [" ".join(random.Random(n).choices(short[:40], k=20)) for n in range(10)]
    answers = {text: found([asdict(entity) for entity in tagger.tag(text)]) for text in short + long}
    distinct = {str([place[:3] for place in answer]): text for text, answer in answers.items() if answer}
    assert len(distinct) > 60 and set(long) <= set(distinct.values())
    return {text: answers[text] for text in distinct.values()}


class Client:
    """Sends requests of all kinds until the time is over. counts: of each kind; wrong: what should not have come."""

    def __init__(self, server: Process, number: int, end: float, texts: dict[str, list[tuple]]):
        self.server, self.end, self.texts = server, end, texts
        self.short_ones, self.long_ones = list(texts)[:-10], list(texts)[-10:]
        self.rng, self.counts, self.wrong = random.Random(number), Counter(), []
        self.kinds = [self.short, self.short, self.several, self.long, self.malformed, self.hung_up]

    def run(self) -> None:
        while time.monotonic() < self.end:
            kind = self.rng.choice(self.kinds)
            kind()
            self.counts[kind.__name__] += 1
            time.sleep(PAUSE)

    def expect(self, body: dict, texts: list[str]) -> None:
        status, answer = self.server.post(**body)
        rows = answer if isinstance(answer, list) else [answer]
        if status != 200 or [row["text"] for row in rows] != texts:
            self.wrong.append((status, texts[0][:60], str(answer)[:200]))
        elif [found(row["entities"]) for row in rows] != [self.texts[text] for text in texts]:
            self.wrong.append(("entities of another text", answer))

    def short(self) -> None:
        text = self.rng.choice(self.short_ones)
        self.expect({"text": text}, [text])

    def several(self) -> None:
        texts = self.rng.choices(self.short_ones, k=self.rng.randrange(1, 9))
        self.expect({"texts": texts}, texts)

    def long(self) -> None:
        text = self.rng.choice(self.long_ones)
        self.expect({"text": text}, [text])

    def malformed(self) -> None:
        body, expected = self.rng.choice(list(MALFORMED.items()))
        status, _, answer = self.server.ask("POST", "/entities", body)
        if status != expected or not json.loads(answer).get("detail"):
            self.wrong.append((status, body[:40], answer[:200]))

    def hung_up(self) -> None:
        body = json.dumps({"text": self.rng.choice(self.short_ones)}).encode()
        head = f"POST /entities HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", self.server.port)) as connection:
            connection.sendall((head + body)[: self.rng.randrange(1, len(head) + len(body) + 1)])


def resident(server: Process) -> int:
    """Kilobytes of the server's memory."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def test_mixed_requests(small_model, texts):
    server = Process(small_model, "--max-bytes", "50000", "--no-demo")
    try:
        begin = time.monotonic()
        clients = [Client(server, number, begin + SECONDS, texts) for number in range(N_CLIENTS)]
        with ThreadPoolExecutor(N_CLIENTS) as threads:
            running = [threads.submit(client.run) for client in clients]
            time.sleep(SECONDS / 3)
            before = resident(server)
            for one in running:
                one.result()
        after = resident(server)
        server.wait_until(waiting=0)
    finally:
        status = server.stop()
    total = sum((client.counts for client in clients), Counter())
    print(f"{dict(total)} in {SECONDS:.0f} s; {before / 1024:.0f} MB, then {after / 1024:.0f}")
    assert [wrong for client in clients for wrong in client.wrong] == []
    assert status == 0
    assert server.stderr.count("\n") == 1, server.stderr  # "ready"
    assert len(total) == 5, total
    assert after < 1.05 * before
