"""The HTTP API as clients see it: every endpoint, every limit, many clients at once, clients that hang up, and the end."""

import json
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection

import pytest
from conftest import PROJECT

from ner_elmo import NerTagger
from ner_elmo.output import json_line
from ner_elmo.serving.options import ServeOptions

pytest.importorskip("served", reason="needs the extra `serve`", exc_type=ImportError)
from served import Process, server_in_thread

TEXT = "Ada Lund left Oslo. Nobody in New York noticed 😀, said Ada."
TEXTS = [
    TEXT,
    "",
    " \n",
    "Oslo\tcalled\r\nAda .",
    "Oslo e\u0301 <b>Ada</b> \u2028 😀 New York",
    "x" * 5000 + " Oslo called Ada.",
]


@pytest.fixture(scope="module")
def tagger(small_model):
    return NerTagger.load(small_model)


def rows_like(found, expected):
    """Equal but for rounding in the confidence."""
    assert len(found) == len(expected)
    for row, other in zip(found, expected, strict=True):
        confidences = [[entity.pop("confidence") for entity in each["entities"]] for each in (row, other)]
        assert row == other
        assert confidences[0] == pytest.approx(confidences[1], abs=2e-4)


def expected_rows(tagger, texts):
    return [json.loads(json_line(text, tagger.tag(text))) for text in texts]


def test_one_text_gives_one_row(server, tagger):
    status, headers, body = server.ask("POST", "/entities", json.dumps({"text": TEXT}))
    assert (status, headers["content-type"]) == (200, "application/json")
    assert body.decode() == json_line(TEXT, tagger.tag(TEXT))  # to the letter, alone in its batch
    assert [entity["text"] for entity in json.loads(body)["entities"]][:2] == ["Ada Lund", "Oslo"]


def test_texts_give_a_row_each_in_their_order(server, tagger):
    status, rows = server.post(texts=TEXTS)
    assert status == 200
    rows_like(rows, expected_rows(tagger, TEXTS))
    for row in rows:
        assert all(row["text"][e["start"] : e["end"]] == e["text"] for e in row["entities"])
    assert server.post(texts=[]) == (200, [])


def test_minimum_confidence(server, tagger):
    (row,) = expected_rows(tagger, [TEXT])
    confidences = sorted(entity["confidence"] for entity in row["entities"])
    between = (confidences[0] + confidences[-1]) / 2
    assert confidences[0] < between
    _, found = server.post(text=TEXT, min_confidence=between)
    assert [e["start"] for e in found["entities"]] == [e["start"] for e in row["entities"] if e["confidence"] >= between]
    assert server.post(text=TEXT, min_confidence=0)[1] == server.post(text=TEXT)[1]


def test_health_and_model(server, small_model):
    assert server.get("/health") == {"status": "ok", "waiting": 0}
    about = server.get("/model")
    assert about["types"] == ["LOC", "PER"]
    assert about["config"]["hidden_size"] == 32
    assert set(about["versions"]) == {"keras", "backend", "numpy"}
    assert about["scores"] == json.loads((small_model / "scores.json").read_text())


def test_the_description_holds_the_request_and_the_row(server):
    described = server.get("/openapi.json")
    post = described["paths"]["/entities"]["post"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {"text", "texts", "min_confidence"}
    assert {"200", "413", "422", "429", "503"} <= set(post["responses"])
    assert server.post(**schema["example"])[0] == 200
    page = server.ask("GET", "/docs")[2].decode()
    assert "http://" not in page and "https://" not in page


def test_fifty_clients_at_once_get_their_own(server, tagger):
    texts = [f"Oslo called Ada {'once more ' * (n % 7)}and left number {n} ." for n in range(50)]
    with ThreadPoolExecutor(50) as clients:
        found = list(clients.map(lambda text: server.post(text=text), texts))
    assert {status for status, _ in found} == {200}
    rows_like([row for _, row in found], expected_rows(tagger, texts))


BAD = {
    "no JSON": (b"text=Oslo", "Invalid JSON"),
    "nothing": (b"", "Invalid JSON"),
    "cut off": (b'{"text": "Oslo', "Invalid JSON"),
    "a list": (b"[]", "Input should be an object"),
    "neither": (b"{}", "either text or texts must be given"),
    "both": (b'{"text": "a", "texts": ["b"]}', "either text or texts must be given"),
    "a number": (b'{"text": 1}', "text: Input should be a valid string"),
    "a null in texts": (b'{"texts": ["a", null]}', "texts.1: Input should be a valid string"),
    "an unknown key": (b'{"txt": "a"}', "txt: Extra inputs are not permitted"),
    "a high minimum": (b'{"text": "a", "min_confidence": 1.5}', "min_confidence: Input should be less than or equal to 1"),
    "no number": (b'{"text": "a", "min_confidence": NaN}', "min_confidence"),
    "bytes": (b'{"text": "caf\xe9"}', "Invalid JSON"),
    "half a pair": (b'{"text": "\\ud83d"}', "Invalid JSON"),
    "deep": (b'{"texts":' + b"[" * 20_000, "Invalid JSON"),
}


@pytest.mark.parametrize(("body", "reason"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_said_in_one_line(server, body, reason):
    status, _, answer = server.ask("POST", "/entities", body)
    detail = json.loads(answer)["detail"]
    assert status == 422
    assert reason in detail
    assert "\n" not in detail and len(detail) < 400
    assert 'the body must be JSON, {"text": TEXT} or {"texts": [TEXT, ...]}' in detail


def test_other_methods_and_places(server):
    assert server.ask("GET", "/entities")[0] in (404, 405)
    assert server.ask("POST", "/nowhere", b"{}")[0] in (404, 405)


def test_a_body_beyond_the_limit(server):
    def parts():
        for _ in range(50):
            yield b"x" * 1_000_000

    status, _, answer = server.ask("POST", "/entities", b"x" * 50_000_000)
    assert (status, json.loads(answer)["detail"]) == (413, "a body may hold 50000 bytes. Send the text in parts.")
    assert server.ask("POST", "/entities", parts())[0] == 413  # of a length that nobody said before
    assert server.ask("POST", "/gradio_api/queue/join", b"x" * 60_000)[0] == 413
    text = "Oslo called Ada . " * 2700
    status, row = server.post(text=text)
    assert (status, row["entities"][-1]["end"]) == (200, len(text) - 3)  # below the limit, to its end


def test_clients_that_hang_up_are_harmless(server):
    whole = json.dumps({"text": "Oslo called Ada . " * 500}).encode()
    head = b"POST /entities HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(whole)
    for sent in (head, head + whole[:20], head + whole, b"POST /ent") * 8:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(sent)
    server.wait_until(waiting=0)
    assert server.post(text=TEXT)[0] == 200


def test_requests_that_take_too_long(small_model, tagger):
    with server_in_thread(tagger, small_model, timeout=0.4, window=1000.0) as slow:
        status, _, answer = slow.ask("POST", "/entities", json.dumps({"text": TEXT}))
        assert (status, json.loads(answer)["detail"]) == (
            503, "not done within 0.4 seconds. Send less text at once, or try again later.",
        )  # fmt: skip
        slow.wait_until(waiting=0)
        with socket.create_connection(("127.0.0.1", slow.port)) as connection:
            connection.sendall(b"POST /entities HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
            connection.settimeout(30)
            assert connection.recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_thousand_requests_at_once(server, tagger):
    """All are sent before an answer is read. Each is answered, with its own entities or with 429."""
    texts = [f"Oslo called Ada , number {n} ." for n in range(1000)]
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(HTTPConnection("127.0.0.1", server.port, timeout=60))) for _ in texts]
        for connection, text in zip(connections, texts, strict=True):
            connection.request("POST", "/entities", json.dumps({"text": text}))
        responses = [connection.getresponse() for connection in connections]
        found = [(response.status, json.loads(response.read())) for response in responses]
    assert {status for status, _ in found} <= {200, 429}
    answered = [n for n, (status, _) in enumerate(found) if status == 200]
    assert len(answered) >= 64
    rows_like([found[n][1] for n in answered], expected_rows(tagger, [texts[n] for n in answered]))
    server.wait_until(waiting=0)


def test_a_full_queue_and_the_end(small_model):
    """Without Gradio installed; requests that wait when the end comes are answered."""
    process = Process(small_model, "--no-demo", "--max-waiting", "2", "--batch-tokens", "1", without="gradio")
    assert process.ask("GET", "/")[0] == 404
    with ThreadPoolExecutor(2) as clients:
        waiting = [clients.submit(process.post, text="Oslo called Ada . " * 500) for _ in range(2)]  # seconds of work
        process.wait_until(waiting=2)
        status, headers, answer = process.ask("POST", "/entities", json.dumps({"text": TEXT}))
        assert (status, headers["retry-after"]) == (429, "1")
        assert json.loads(answer)["detail"] == "2 requests are waiting. Try again in a second."
        assert process.stop(signal.SIGTERM) == 0
        for one in waiting:
            status, row = one.result()
            assert (status, [entity["text"] for entity in row["entities"]]) == (200, ["Oslo", "Ada"] * 500)
    assert process.stdout == ""
    assert len(process.stderr.splitlines()) == 1  # that it was ready


MISTAKES = {
    "a port in use": (["--port", "{port}"], "127.0.0.1, port {port}: is in use already. Name another --port, or 0"),
    "not an address of ours": (["--host", "203.0.113.7"], "203.0.113.7, port 8000: cannot be listened on"),
    "an impossible port": (["--port", "70000"], "port must be from 0 to 65535. Received: 70000"),
    "no room": (["--max-bytes", "0"], "max_bytes must be at least 1. Received: 0"),
    "no time": (["--timeout", "0"], "timeout must be above 0. Received: 0.0"),
    "an endless window": (["--window", "5000"], "window must be from 0 to 1000 milliseconds. Received: 5000.0"),
    "no model": (["--model", "nowhere"], "nowhere: is no model directory"),
    "no Gradio": (
        ["without gradio"],
        'Install the extra: pip install "ner-elmo[serve]" or leave the page out with --no-demo.',
    ),
    "no FastAPI": (
        ["without fastapi", "--no-demo"],
        'serve needs fastapi. Install the extra: pip install "ner-elmo[serve]".',
    ),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_said_at_once(server, small_model, arguments, message):
    hidden = [argument.split()[1] for argument in arguments if argument.startswith("without")]
    arguments = [argument.format(port=server.port) for argument in arguments if not argument.startswith("without")]
    code = f"import sys, runpy; sys.modules |= dict.fromkeys({hidden}); runpy.run_module('ner_elmo', run_name='__main__')"
    command = [sys.executable, "-c", code, "serve", "--model", str(small_model), *arguments]
    found = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 2, found.stderr
    (line,) = found.stderr.splitlines()
    assert message.format(port=server.port) in line


def test_answers_do_not_wait_for_an_ack():
    """Head and body are written one after another; with Nagle's algorithm on the body would wait 40 ms at each request."""
    from ner_elmo.commands_serve import listen

    with listen(ServeOptions(port=0)) as listening, socket.create_connection(listening.getsockname()) as _:
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
