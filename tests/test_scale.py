"""`python -m ner_elmo scale` gives every row once, as `predict.py` gives it, whoever is killed meanwhile."""

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conftest import PROJECT
from object_store import KEY, object_store

from ner_elmo.inputs import Item, read_items

pytest.importorskip("pyarrow", reason="needs the extra `scale`")
from pyarrow import parquet
from test_scale_files import parquet_file

from ner_elmo.scaling.pieces import cut, find_files
from ner_elmo.scaling.places import Place

FAULTS = int(os.environ.get("FAULTS", "0"))
SHARD_BYTES = 6000
LINES = [f"Ada Lund {n} left Oslo 😀 at dawn.{' She slept. ' * (n % 5)}" for n in range(1200)]
LINES[7] = ""
LINES[8] = "tabs\tand\rline ends\u2028"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The directory of an untrained tagger, which finds entities everywhere."""
    import keras

    from ner_elmo.batching import Features, Words
    from ner_elmo.bundle import save_model
    from ner_elmo.config import TrainConfig
    from ner_elmo.tagger import build_tagger

    keras.utils.set_random_seed(3)
    config = TrainConfig(elmo="none", hidden_size=4, word_dim=4)
    features = Features(None, Words(["ada", "lund", "oslo"]))
    network = build_tagger(config, ["LOC", "PER"], **features.sizes)
    kernel, bias = network.emitter.get_weights()
    bias[0], bias[4::4] = -1.0, 1.0  # less of O, more of entities of one token
    network.emitter.set_weights([kernel * 30, bias])
    directory = tmp_path_factory.mktemp("scale") / "model"
    save_model(directory, network, features, config, {})
    return directory


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A directory of every kind of file."""
    folder = tmp_path_factory.mktemp("input")
    (folder / "deep").mkdir()
    (folder / "a.txt").write_text("\ufeff" + "\r\n".join(LINES), encoding="utf-8", newline="")
    rows = [{"id": n, "text": line} for n, line in enumerate(LINES)]
    lines = [json.dumps(row) + "\n" * (1 + row["id"] % 2) for row in rows]
    lines[3] = json.dumps({"row_id": "mine", "text": "Oslo", "entities": [1]}) + "\n"
    (folder / "deep" / "b.jsonl").write_text("".join(lines))
    (folder / "deep" / "c.csv").write_text('id,text\n1,"Ada\r\nleft ""Oslo"""\n\n2,Oslo\n', newline="")
    (folder / "d.txt.gz").write_bytes(gzip.compress("\n".join(LINES[:50]).encode()))
    (folder / "empty.txt").touch()
    parquet_file(folder / "e.parquet", rows, 500)
    return folder


@pytest.fixture(scope="module")
def expected(model, source):
    """The rows of each file as `predict.py --format jsonl` writes them; of Parquet those of the same rows in JSON Lines."""
    from ner_elmo import output
    from ner_elmo.predictor import Predictor

    tagger = Predictor.load(model)

    def rows_of(items):
        return [json.loads(line) for line in output.write(output.results(tagger, items), "jsonl", [])]

    names = ["a.txt", "deep/b.jsonl", "deep/c.csv", "d.txt.gz", "empty.txt"]
    found = {name: rows_of(read_items([str(source / name)])) for name in names}
    rows = parquet.read_table(source / "e.parquet").to_pylist()
    found["e.parquet"] = rows_of(Item(row["text"], None, row) for row in rows)
    mine = found["deep/b.jsonl"][3]
    found["deep/b.jsonl"][3] = {"row_id_given" if key == "row_id" else key: value for key, value in mine.items()}
    assert sum(len(row["entities"]) for rows in found.values() for row in rows) > 1000
    return found


@contextmanager
def process_of(*command):
    """A process. Whatever fails meanwhile, it ends, and nothing that it started is left to write."""
    mark = str(uuid.uuid4())
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "RAY_USAGE_STATS_ENABLED": "0", "TEST_SCALE": mark}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, *command], cwd=PROJECT, env=environment, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()
    end = time.monotonic() + 600
    while "ray::Worker" in "".join(processes_of(mark).values()):  # those of a killed command need a moment to notice
        assert time.monotonic() < end
        time.sleep(0.1)
    left = processes_of(mark)
    assert not left or process.returncode == -signal.SIGKILL, left
    for number in left:  # Ray's agents, which have no work now, wait a minute for their node
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def running(*arguments):
    """The command in a process of its own."""
    return process_of("-m", "ner_elmo", "scale", *map(str, arguments), "--shard-bytes", str(SHARD_BYTES))


def processes_of(mark: str) -> dict[int, str]:
    """Number and command of all processes with this mark in their environment."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, or somebody else's
            if mark in (folder / "environ").read_text(errors="replace"):
                found[int(folder.name)] = (folder / "cmdline").read_text(errors="replace")
    return found


def run(*arguments) -> tuple[int, str, str]:
    with running(*arguments) as process:
        return finished(process)


def finished(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=1200)
    return process.returncode, out, err


def shards(out):
    return {path for path in (out / "shards").rglob("*.jsonl") if _mark(out, path).exists()}


def _mark(out, shard):
    return out / "marks" / shard.relative_to(out / "shards").with_suffix(".json")


def wait_for_more(out, process, more: int):
    """Until some more shards are there than now, and not all."""
    before, end = len(shards(out)), time.monotonic() + 1200
    while len(shards(out)) < before + more:
        assert process.poll() is None, finished(process)
        assert time.monotonic() < end
        time.sleep(0.02)


def assert_whole(out, expected):
    """Every row once, in order, and equal but for the last digit of a confidence, which a batch may change."""
    files = {str(path.parent.relative_to(out / "shards")) for path in shards(out)}
    assert files == {name for name, rows in expected.items() if rows}
    ids = Counter()
    for name, rows in expected.items():
        text = "".join(path.read_text() for path in sorted((out / "shards" / name).glob("*.jsonl")))
        found = [json.loads(line) for line in text.splitlines()]
        ids.update(row.pop("row_id") for row in found)
        assert [_without_confidence(row) for row in found] == [_without_confidence(row) for row in rows], name
        for one, other in zip(found, rows, strict=True):
            confidences = [[entity["confidence"] for entity in row["entities"]] for row in (one, other)]
            assert confidences[0] == pytest.approx(confidences[1], abs=1.1e-4)
    assert set(ids.values()) == {1} and ids.total() == sum(map(len, expected.values()))
    assert not list(out.rglob("*.partial"))


def _without_confidence(row):
    entities = [{key: value for key, value in entity.items() if key != "confidence"} for entity in row["entities"]]
    return list((row | {"entities": entities}).items())


@pytest.mark.slow
def test_stopped_and_killed_and_started_again(model, source, expected, tmp_path):
    pytest.importorskip("ray", reason="needs the extra `scale`")
    out = tmp_path / "out"
    ends = [(signal.SIGTERM, 1, "ner_elmo scale: stopped. The same command goes on from here.\n"), (signal.SIGKILL, -9, "")]
    for number, status, says in ends:
        with running(model, source, out, "--actors", "1") as process:
            wait_for_more(out, process, 3)
            process.send_signal(number)
            code, stdout, stderr = finished(process)
        assert (code, stdout) == (status, "") and stderr.endswith(says) and "Traceback" not in stderr, stderr
    before = {path: path.stat().st_mtime_ns for path in shards(out)}
    victim = max(before)
    victim.unlink()  # a mark without its shard counts for nothing
    code, stdout, stderr = run(model, source, out, "--actors", "2")
    assert code == 0, stderr
    assert f", {len(before) - 1} shards were there; 6 files, " in stdout
    assert_whole(out, expected)
    assert {path: path.stat().st_mtime_ns for path in before if path != victim} == {
        path: time for path, time in before.items() if path != victim
    }
    ids = [json.loads(line)["row_id"] for line in (out / "shards/deep/c.csv/000000.jsonl").read_text().splitlines()]
    assert ids == ["deep/c.csv:2", "deep/c.csv:5"]
    code, stdout, stderr = run(model, source, out)
    assert (code, stderr) == (0, "") and "0 rows" in stdout and "nothing was left to do" in stdout


@pytest.mark.slow
@pytest.mark.skipif(not FAULTS, reason="FAULTS says how many times it is killed; the test above kills it once")
def test_killed_again_and_again(model, source, expected, tmp_path):
    """At random moments, and just after a shard was written: what is marked as whole is whole, and the next run goes on."""
    pytest.importorskip("ray", reason="needs the extra `scale`")
    rng, out, options = random.Random(6), tmp_path / "out", ("--actors", "1")
    for kills in range(FAULTS):
        with running(model, source, out, *options) as process:
            if kills % 2:
                time.sleep(rng.uniform(0, 12))
            else:
                wait_for_more(out, process, 1)
                time.sleep(rng.uniform(0, 0.05))
            process.kill()
            code, _, stderr = finished(process)
        assert code in (-signal.SIGKILL, 0), stderr
        for path in shards(out):
            assert [json.loads(line) for line in path.read_text().splitlines()]
        if len(shards(out)) > 20 or kills == FAULTS - 1:
            code, _, stderr = run(model, source, out, *options)
            assert code == 0, stderr
            assert_whole(out, expected)
            shutil.rmtree(out)


@pytest.mark.slow
def test_from_an_object_store_to_an_object_store(model, source, expected, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="needs the extra `scale`")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with object_store() as store:
        paths = [path for path in source.rglob("*") if path.is_file()]
        store.objects |= {f"bucket/in/{path.relative_to(source)}": path.read_bytes() for path in paths}
        store.objects["bucket/other/e.parquet"] = (source / "e.parquet").read_bytes()
        wrong = ("--field", "body", "--actors", "1")
        code, stdout, stderr = run(model, store.address("bucket/other"), store.address("bucket/wrong"), *wrong)
        assert (code, stdout) == (2, ""), stderr
        assert stderr.splitlines()[-1:] == [  # on a busy machine, after a line of progress
            "ner_elmo scale: error: s3://bucket/other/e.parquet:1: must hold the text under body. Received the keys: id, "
            "text. Name it: --field."
        ]
        command = (model, store.address("bucket/in"), store.address("bucket/out"), "--actors", "1")
        code, stdout, stderr = run(*command)
        assert code == 0, stderr
        assert stdout.startswith(f"s3://bucket/out: {sum(map(len, expected.values())):,} rows, ")
        for key, data in store.objects.items():
            (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / key).write_bytes(data)
        assert_whole(tmp_path / "bucket/out", expected)
        code, stdout, stderr = run(*command)
        assert (code, stderr) == (0, "") and "nothing was left to do" in stdout


CLUSTER = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster()
cluster.add_node(num_cpus=1, object_store_memory=10**8, include_dashboard=False)
print(cluster.address, flush=True)
for line in sys.stdin:
    if line == "add\\n":
        lost = cluster.add_node(num_cpus=1, object_store_memory=10**8)
    else:
        cluster.remove_node(lost, allow_graceful=False)
    print(line, end="", flush=True)
"""


class Cluster:
    """A Ray cluster in a process of its own, of one node with one core; `add` and `lose` another."""

    def __init__(self, process):
        self.process, self.address = process, process.stdout.readline().strip()
        assert self.address, process.stderr.read()

    def order(self, what: str):
        print(what, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == f"{what}\n", self.process.stderr.read()


@pytest.fixture
def cluster():
    pytest.importorskip("ray", reason="needs the extra `scale`")
    with process_of("-c", CLUSTER) as process:
        yield Cluster(process)


@pytest.mark.slow
def test_a_node_is_lost(model, source, expected, tmp_path, cluster):
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\n{"text": \n')
    code, stdout, stderr = run(model, tmp_path / "bad.jsonl", tmp_path / "o", "--address", cluster.address)
    assert (code, stdout) == (2, ""), stderr
    assert stderr.splitlines()[-1].startswith(f"ner_elmo scale: error: {tmp_path}/bad.jsonl:2: expected JSON, got")
    assert not list((tmp_path / "o").rglob("000000.jsonl"))
    cluster.order("add")
    out = tmp_path / "out"
    n_pieces = sum(len(cut(file, SHARD_BYTES)) for file in find_files(Place.of(str(source))))
    with running(model, source, out, "--address", cluster.address) as process:
        wait_for_more(out, process, 5)
        while len(list((out / "shards").rglob("*.partial"))) < 2:  # both nodes are at work
            assert process.poll() is None, finished(process)
        cluster.order("lose")
        assert len(shards(out)) < n_pieces - 10
        code, stdout, stderr = finished(process)
    assert code == 0, stderr
    assert f"{sum(map(len, expected.values())):,} rows, " in stdout
    assert_whole(out, expected)
