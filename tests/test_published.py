"""Published weights by name, from a real HTTP server that breaks, truncates, corrupts, redirects and refuses."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import PROJECT

from biLM import InputError, load_bilm, published
from biLM.__main__ import parser
from biLM.download import TRIES, Remote, fetch
from biLM.errors import run_command
from biLM.published import resolve

DATA = bytes(range(256)) * 300


class Handler(BaseHTTPRequestHandler):
    """Answers each request as the next word of the script for its path says; "ok" when there is none left."""

    def do_GET(self):
        server, path = self.server, self.path
        server.asked.append((path, self.headers.get("Range")))
        how = server.script[path].pop(0) if server.script.get(path) else "ok"
        data = server.files.get(path)
        if how.isdigit() or data is None:
            return self.send_error(int(how) if how.isdigit() else 404)
        if how.startswith("to "):
            return self._redirect(how.split()[1], data)
        etag = hashlib.md5(data).hexdigest()
        start = 0
        if self.headers.get("Range") and self.headers.get("If-Range") == f'"{etag}"' and how != "no ranges":
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if start > len(data):
            return self.send_error(416)
        body = data[start:]
        if how == "corrupt":
            body = body[:-1] + bytes([body[-1] ^ 1])
        if how == "short":  # a proxy that cut the file and says that this is all of it
            body = body[: len(body) // 2]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if how == "lengthless":  # the end of the connection is the end of the file
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        if how not in ("nameless", "early"):
            self.send_header("ETag", f'"{etag}"')
        self.end_headers()
        if how in ("break", "nameless", "early", "stall"):
            self.wfile.write(body[: len(body) // (4 if how == "early" else 2)])
            self.wfile.flush()
            if how == "stall":
                server.go_on.wait(30)
            self.close_connection = True
            return None
        self.wfile.write(body)
        return None

    def _redirect(self, target, data):
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("X-Linked-Etag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A client that goes away is part of these tests."""


@pytest.fixture
def server(small_weights, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("NER_ELMO_OFFLINE", raising=False)
    server = Server(("127.0.0.1", 0), Handler)
    server.files = {
        "/data": DATA,
        "/elmo_weights.hdf5": small_weights.read_bytes(),
        "/elmo_options.json": small_weights.with_name("options.json").read_bytes(),
    }
    server.script, server.asked, server.go_on = {}, [], threading.Event()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


def get(server, path, **known):
    fetch(Remote(server.url + "/data", **known), path, pause=0)


def nothing_else(path):
    """Only the file (if any) and its lock are left."""
    return {p.name for p in path.parent.iterdir()} <= {path.name, f".{path.name}.lock"}


@pytest.mark.parametrize(
    ("script", "ranges"),
    [
        (["ok"], [None]),
        (["break", "ok"], [None, "bytes=38400-"]),
        (["break", "break", "ok"], [None, "bytes=38400-", "bytes=57600-"]),
        (["break", "500", "503", "ok"], [None] + ["bytes=38400-"] * 3),
        (["break", "no ranges"], [None, "bytes=38400-"]),
        (["nameless", "ok"], [None, None]),  # who knows whether it is still the same file
    ],
)
def test_a_break_is_mended(server, tmp_path, script, ranges):
    server.script["/data"] = list(script)
    get(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA
    assert [wanted for _, wanted in server.asked] == ranges
    assert nothing_else(tmp_path / "x")
    get(server, tmp_path / "x")
    assert len(server.asked) == len(ranges)  # once


def test_progress_is_told_and_goes_on_after_a_break(server, tmp_path):
    server.files["/data"] = DATA * 20
    server.script["/data"] = ["break"]
    told = []
    fetch(Remote(server.url + "/data"), tmp_path / "x", report=lambda done, total: told.append((done, total)), pause=0)
    assert told == sorted(told) and len(told) > 3
    assert {total for _, total in told} == {len(DATA) * 20} and told[-1][0] == len(DATA) * 20


def test_a_server_that_breaks_for_ever_is_given_up(server, tmp_path):
    """It gives no name to go on by, so each try begins anew; one that gets as far as another brought nothing new."""
    server.script["/data"] = ["nameless", "early"] * 20
    with pytest.raises(InputError, match="cannot be downloaded"):
        get(server, tmp_path / "x")
    assert len(server.asked) == TRIES


def test_a_later_run_goes_on(server, tmp_path):
    server.script["/data"] = ["break", *["500"] * TRIES]
    with pytest.raises(
        InputError, match="500 Internal Server Error. 38,400 bytes are kept: the same command goes on"
    ) as error:
        get(server, tmp_path / "x")
    assert str(tmp_path / "x") in str(error.value)
    assert not (tmp_path / "x").exists()
    get(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA
    assert server.asked[-1] == ("/data", "bytes=38400-")


def test_another_file_in_its_place_begins_anew(server, tmp_path):
    server.script["/data"] = ["break", *["500"] * TRIES]
    with pytest.raises(InputError):
        get(server, tmp_path / "x")
    server.files["/data"] = DATA[::-1]
    get(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA[::-1]


def test_a_partial_file_that_is_too_long_begins_anew(server, tmp_path):
    (tmp_path / ".x.part").write_bytes(DATA + b"more")
    (tmp_path / ".x.version").write_text(f'"{hashlib.md5(DATA).hexdigest()}"')
    get(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize(
    ("how", "known", "message"),
    [
        ("corrupt", {"sha256": hashlib.sha256(DATA).hexdigest()}, "its SHA-256 must be .* Received: .* Nothing was kept"),
        ("short", {"size": len(DATA)}, "must hold 76,800 bytes. Received: 38,400. Nothing was kept"),
        ("404", {}, "/data: cannot be downloaded: 404 Not Found. By hand, put it at "),
        ("403", {}, "/data: cannot be downloaded: 403 Forbidden"),
    ],
)
def test_what_is_wrong_is_refused(server, tmp_path, how, known, message):
    server.script["/data"] = [how]
    with pytest.raises(InputError, match=message) as error:
        get(server, tmp_path / "x", **known)
    assert "\n" not in str(error.value)
    assert len(server.asked) == 1
    assert not (tmp_path / "x").exists()
    assert nothing_else(tmp_path / "x")
    get(server, tmp_path / "x", **known)
    assert (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize("how", ["lengthless", "ok"])
@pytest.mark.parametrize("known", [{}, {"size": 1000}])
def test_a_file_without_end_is_cut_off(server, tmp_path, monkeypatch, how, known):
    monkeypatch.setattr("biLM.download.MOST", 1000)
    server.script["/data"] = [how]
    told = []
    with pytest.raises(InputError, match="/data: must hold 1,000 bytes at most. Received: .* or more. Nothing was kept"):
        fetch(Remote(server.url + "/data", **known), tmp_path / "x", report=lambda done, total: told.append(done), pause=0)
    assert not told and len(server.asked) == 1
    assert nothing_else(tmp_path / "x")


def test_nobody_answers(server, tmp_path):
    with pytest.raises(InputError, match="http://127.0.0.1:9/x: cannot be downloaded: .*refused"):
        fetch(Remote("http://127.0.0.1:9/x"), tmp_path / "x", pause=0)


def test_a_redirect_that_tells_the_sha256(server, tmp_path):
    server.files["/moved"] = DATA
    server.script["/data"] = ["to /moved", "to /moved"]
    server.script["/moved"] = ["corrupt"]
    with pytest.raises(InputError, match="its SHA-256 must be"):
        get(server, tmp_path / "x")
    get(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_full_disk_is_named(server, full_disk):
    server.files["/data"] = bytes(20_000_000)
    with pytest.raises(OSError, match="No space left") as error:
        get(server, full_disk / "x")
    assert error.value.filename == str(full_disk / "x")
    assert not (full_disk / "x").exists()


@pytest.mark.parametrize("name", ["small", "elmo_weights.hdf5", "hf:OWNER/REPO", "hf:OWNER/REPO@v1", "folder/"])
def test_names_and_what_they_load(server, small_weights, monkeypatch, name):
    url = f"{server.url}/{name}"
    stems = {"small": "/elmo_", "elmo_weights.hdf5": "/elmo_", "hf:OWNER/REPO": "/OWNER/REPO/resolve/main/",
             "hf:OWNER/REPO@v1": "/OWNER/REPO/resolve/v1/", "folder/": "/folder/"}  # fmt: skip
    for file in ("weights.hdf5", "options.json"):
        server.files[stems[name] + file] = server.files[f"/elmo_{file}"]
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setitem(published.PUBLISHED, "small", published._beside(server.url + "/elmo_"))
    named = name if name.startswith(("hf:", "small")) else url
    folder = resolve(named)
    assert {p.name for p in folder.iterdir() if p.name[0] != "."} == {"weights.hdf5", "options.json"}
    assert (folder / "weights.hdf5").read_bytes() == small_weights.read_bytes()
    assert len(server.asked) == 2
    assert resolve(named, offline=True) == folder


def test_what_is_on_disk_is_taken_as_it_is(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    assert str(resolve("small")) == "small"
    assert str(resolve("nowhere.hdf5")) == "nowhere.hdf5"
    assert not server.asked


def test_offline_says_where_files_belong(server, monkeypatch, tmp_path):
    monkeypatch.setenv("NER_ELMO_OFFLINE", "1")
    message = (
        "original: options.json is not here, and this is offline. Put https://allennlp.s3.amazonaws.com/models/elmo/"
        f"2x4096_512_2048cnn_2xhighway/elmo_2x4096_512_2048cnn_2xhighway_options.json at {tmp_path}/keras/models/elmo/"
        "original/options.json."
    )
    with pytest.raises(InputError) as error:
        load_bilm("original")
    assert str(error.value) == message


def test_offline_commands_ask_nobody(server, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("NER_ELMO_OFFLINE", "0")
    (tmp_path / "t.txt").write_text("a\n")
    url = f"{server.url}/elmo_weights.hdf5"
    args = parser().parse_args(["embed", url, str(tmp_path / "t.txt"), str(tmp_path / "o.hdf5"), "--offline"])
    assert run_command("biLM embed", lambda: args.run(args)) == 2
    assert not server.asked
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "options.json is not here, and this is offline" in lines[0]


@pytest.mark.parametrize(
    ("file", "data", "message"),
    [
        ("options.json", b"<html>Sign in</html>", "options.json: must be an options.json. Nothing was kept"),
        ("weights.hdf5", b"<html>Sign in</html>", "weights.hdf5: must be a whole HDF5 file. Nothing was kept"),
        ("weights.hdf5", None, "weights.hdf5: must be a whole HDF5 file. Nothing was kept"),
    ],
)
def test_a_page_or_half_a_file_is_no_weights(server, file, data, message):
    right = server.files[f"/elmo_{file}"]
    server.files[f"/elmo_{file}"] = right[: len(right) // 2] if data is None else data
    with pytest.raises(InputError, match=message):
        resolve(f"{server.url}/elmo_weights.hdf5")
    server.files[f"/elmo_{file}"] = right
    assert load_bilm(f"{server.url}/elmo_weights.hdf5", initial_state="zero").width == 10


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:REPO", "must be hf:OWNER/REPO"),
        ("http://127.0.0.1/model.bin", "a URL of weights must end in weights.hdf5, or in /"),
    ],
)
def test_names_that_are_none(name, message):
    with pytest.raises(InputError, match=message):
        resolve(name)


def start(url, tmp_path):
    code = f"from biLM.published import resolve; print(resolve({url!r}))"
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, cwd=tmp_path)


def wait_for(server, path):
    while not any(asked == path for asked, _ in server.asked):
        time.sleep(0.01)


def test_two_at_once_download_once(server, tmp_path):
    server.script["/elmo_weights.hdf5"] = ["stall"]
    both = [start(f"{server.url}/elmo_weights.hdf5", tmp_path) for _ in range(2)]
    wait_for(server, "/elmo_weights.hdf5")
    server.go_on.set()
    outputs = {process.communicate()[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(outputs) == 1
    weights = [wanted for path, wanted in server.asked if path == "/elmo_weights.hdf5"]
    assert len(weights) == 2 and weights[0] is None and weights[1] is not None  # the second is the first one's next try


def test_killed_in_the_middle_it_goes_on(server, tmp_path):
    server.script["/elmo_weights.hdf5"] = ["stall"]
    process = start(f"{server.url}/elmo_weights.hdf5", tmp_path)
    wait_for(server, "/elmo_weights.hdf5")
    while not list((tmp_path / "keras").rglob(".weights.hdf5.part")):
        time.sleep(0.01)
    while not next((tmp_path / "keras").rglob(".weights.hdf5.part")).stat().st_size:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list((tmp_path / "keras").rglob("weights.hdf5"))
    server.go_on.set()
    resolve(f"{server.url}/elmo_weights.hdf5")
    assert server.asked[-1][1] is not None
