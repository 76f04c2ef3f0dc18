"""Nothing needs a network, and nothing looks for one: commands run in a network namespace that has no interface."""

import errno
import json
import os
import shutil
import socket
import subprocess
import sys

import pytest
from conftest import PROJECT
from test_search import SENTENCES

from ner_elmo.formats.document import from_tokens
from ner_elmo.formats.table import write

UNSHARE = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]


@pytest.fixture(scope="module")
def cut_off():
    """How a command begins that has no network."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare (util-linux) is not installed")
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no network namespace can be made here: {tried.stderr.strip()}")
    return UNSHARE


@pytest.fixture(scope="module")
def workplace(cut_off, tmp_path_factory):
    """A model, trained without a network on a small corpus."""
    folder = tmp_path_factory.mktemp("cut_off")
    documents = [from_tokens(sentence.tokens, sentence.spans, "") for sentence in SENTENCES]
    write(documents, folder / "x.conll", "conll")
    run(cut_off, folder, "train_ner.py", "--train", "x.conll", "--dev", "x.conll", "--test", "x.conll", "--elmo",
        str(PROJECT / "data" / "bilm"), "--hidden-size", "16", "--epochs", "2", "--output", "model")  # fmt: skip
    return folder


def run(prefix, folder, *command, stdin: str = "") -> str:
    environment = os.environ | {
        "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'tests'}",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    script = [str(PROJECT / command[0])] if command[0].endswith(".py") else [command[0]]
    found = subprocess.run(
        [*prefix, sys.executable, *script, *command[1:]],
        cwd=folder, input=stdin, capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_the_namespace_has_no_network(cut_off):
    code = "import socket; s = socket.socket(); s.settimeout(2); print(s.connect_ex(('192.0.2.1', 80)))"
    assert run(cut_off, PROJECT, "-c", code).strip() == "101"  # ENETUNREACH


@pytest.mark.parametrize("name", ["192.0.2.1", "example.org"])
def test_every_test_is_cut_off(name):
    """See `conftest.loopback_alone`."""
    with pytest.raises(OSError) as refused:
        socket.create_connection((name, 80), timeout=2)
    assert refused.value.errno == errno.ENETUNREACH


def test_vectors_and_another_report(cut_off, workplace):
    (workplace / "text.txt").write_text("Ada Lund left Oslo .\n")
    run(cut_off, workplace, "-m", "biLM", "embed", str(PROJECT / "data" / "bilm"), "text.txt", "vectors.hdf5")
    run(cut_off, workplace, "-m", "ner_elmo", "report", "model", "--test", "x.conll", "--out", "again.html")
    assert (workplace / "vectors.hdf5").is_file() and (workplace / "again.html").is_file()


RAY = """
import os
from ner_elmo.scaling.pool import ray_started
os.environ.pop("RAY_USAGE_STATS_ENABLED", None)
with ray_started(None, 1, 0) as ray:
    found = ray.get(ray.remote(lambda: os.environ["RAY_USAGE_STATS_ENABLED"]).remote())
print(found)
"""


def test_ray_reports_no_usage(tmp_path):
    pytest.importorskip("ray", reason="needs the extra `scale`", exc_type=ImportError)
    assert run([], tmp_path, "-c", RAY) == "0\n"


def test_training_and_prediction(cut_off, workplace):
    assert (workplace / "model" / "report.html").is_file()
    rows = run(cut_off, workplace, "predict.py", "--format", "jsonl", stdin="Ada Lund left Oslo.\n").splitlines()
    assert json.loads(rows[0])["text"] == "Ada Lund left Oslo."


SERVE = """
import fcntl, json, socket, struct, sys
from pathlib import Path
from served import Process

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:  # loopback up: the only interface there is
    fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))
server = Process(Path(sys.argv[1]))
try:
    status, answer = server.post(text="Ada Lund left Oslo.")
    page = server.ask("GET", "/")
    print(json.dumps([status, answer["text"], page[0]]))
finally:
    server.stop(2)
"""


def test_the_server_and_its_page(cut_off, workplace):
    pytest.importorskip("gradio", reason="needs the extra `serve`", exc_type=ImportError)
    answer = run(cut_off, workplace, "-c", SERVE, str(workplace / "model"))
    assert json.loads(answer.splitlines()[-1]) == [200, "Ada Lund left Oslo.", 200]
