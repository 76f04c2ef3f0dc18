"""`python -m ner_elmo scale` gives every row once, as `predict.py` gives it, whoever is killed meanwhile."""

import gzip
import json
import os
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
from hypothesis import given, settings
from hypothesis import strategies as st

from biLM import InputError
from ner_elmo.inputs import Item, read_items
from ner_elmo.scaling.options import ScaleOptions

pyarrow = pytest.importorskip("pyarrow", reason="needs the extra `scale`")
from pyarrow import parquet  # noqa: E402

from ner_elmo.scaling.pieces import InputFile, cut, find_files, read  # noqa: E402
from ner_elmo.scaling.places import Place  # noqa: E402
from ner_elmo.scaling.run import scale  # noqa: E402
from ner_elmo.scaling.shards import Output  # noqa: E402

SHARD_BYTES = 6000
LINES = [f"Ada Lund {n} left Oslo 😀 at dawn.{' She slept. ' * (n % 5)}" for n in range(1200)]
LINES[7] = ""
LINES[8] = "tabs\tand\rline ends\u2028"


def parquet_file(path, rows, row_group_size: int):
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=row_group_size)


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
    end = time.monotonic() + 60
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
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def shards(out):
    return {path for path in (out / "shards").rglob("*.jsonl") if _mark(out, path).exists()}


def _mark(out, shard):
    return out / "marks" / shard.relative_to(out / "shards").with_suffix(".json")


def wait_for_more(out, process, more: int):
    """Until some more shards are there than now, and not all."""
    before, end = len(shards(out)), time.monotonic() + 240
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


def file_of(path) -> InputFile:
    (found,) = find_files(Place.of(str(path)))
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12), max_size=30), st.integers(1, 60), st.booleans())
def test_pieces_are_the_file(tmp_path_factory, texts, shard_bytes, ends):
    path = tmp_path_factory.mktemp("pieces") / "x.txt"
    path.write_bytes(("\n".join(texts) + "\n" * ends).encode())
    whole = [(number, item.text) for number, item in enumerate(read_items([str(path)]), 1)]
    pieces = cut(file_of(path), shard_bytes)
    assert [(item.line, item.text) for piece in pieces for item in read(piece, None)] == whole
    assert sum(piece.size for piece in pieces) == path.stat().st_size
    assert all(piece.size >= shard_bytes for piece in pieces[:-1])


@pytest.mark.parametrize("row_group_size", [1, 7, 1000])
@pytest.mark.parametrize("shard_bytes", [1, 300, 10**9])
def test_rows_of_parquet(tmp_path, row_group_size, shard_bytes):
    import datetime

    rows = [{"body": f"text {n}", "day": datetime.date(2020, 1, 1), "list": [{"a": n}, None]} for n in range(600)]
    parquet_file(tmp_path / "x.parquet", rows, row_group_size)
    pieces = cut(file_of(tmp_path / "x.parquet"), shard_bytes)
    items = [item for piece in pieces for item in read(piece, "body")]
    assert [item.row for item in items] == [
        row | {"day": "2020-01-01", "list": [{"a": n}, None]} for n, row in enumerate(rows)
    ]
    assert [item.line for item in items] == list(range(1, 601))
    assert len(pieces) > 10 if shard_bytes < 10**9 else len(pieces) == 1
    assert sum(piece.size for piece in pieces) == (tmp_path / "x.parquet").stat().st_size


def start(model, source, out, **options):
    return scale(model, str(source), str(out), ScaleOptions(**options), 1, lambda *_: None)


def test_mistakes_are_told_before_anything_is_started(model, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    text, out = tmp_path / "in" / "x.txt", tmp_path / "out"
    with pytest.raises(InputError, match="in: must hold a file at least. Received: an empty directory"):
        start(model, tmp_path / "in", out)
    text.write_text("Oslo\n")
    with pytest.raises(InputError, match="no such file or directory"):
        start(model, tmp_path / "none", out)
    with pytest.raises(InputError, match="must not be inside of the input"):
        start(model, tmp_path / "in", tmp_path / "in" / "out")
    with pytest.raises(InputError, match="new or empty directory, or hold such results"):
        start(model, text, tmp_path / "in")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(InputError, match=r"^s3://bucket/x: .*Check the address, and the credentials that are found here\.$"):
        start(model, "s3://bucket/x?region=eu-west-1&scheme=http&endpoint_override=localhost:1", out)
    with pytest.raises(InputError, match="^nowhere://x: "):
        start(model, "nowhere://x", out)
    (tmp_path / "in" / "x.conll").write_text("a O\n")
    with pytest.raises(InputError, match=r"x.conll: must be text, JSON Lines, CSV or Parquet. .*ner_elmo predict"):
        start(model, tmp_path / "in", out)


def test_the_output_belongs_to_one_job_and_one_input(tmp_path):
    text = tmp_path / "x.txt"
    text.write_text("Oslo\nOslo\n")
    output = Output(Place.of(str(tmp_path / "out")))
    output.begin({"model": "a", "field": None})
    output.begin({"model": "a", "field": None})
    with pytest.raises(InputError, match=r"out/job.json: belongs to another job: model was 'a' and is 'b'\. Name another"):
        output.begin({"model": "b", "field": None})
    file = file_of(text)
    assert output.pieces([file]) == ([file], [], [])
    pieces = cut(file, 5)
    output.write_cut(file, pieces)
    assert output.pieces([file]) == ([], pieces, [])
    with output.shard(pieces[1]).writing() as stream:
        stream.write(b"{}\n")
        assert not list((tmp_path / "out").rglob("*.jsonl"))
    assert output.pieces([file]) == ([], pieces, [])  # a shard without its mark
    output.mark(pieces[1]).write_object({})
    assert output.pieces([file]) == ([], pieces[:1], pieces[1:])
    text.write_text("Oslo\nOslo\nOslo\n")
    with pytest.raises(InputError, match=r"x.txt: changed after .*out was begun. Remove .*out/marks/x.txt to have"):
        output.pieces([file_of(text)])


def test_mistakes_in_parquet(tmp_path):
    path = tmp_path / "x.parquet"
    parquet_file(path, [{"text": "Oslo"}, {"text": None}], 10)
    (piece,) = cut(file_of(path), 10**6)
    with pytest.raises(
        InputError, match=r"x.parquet:1: must hold the text under body. Received the keys: text. Name it: --field"
    ):
        list(read(piece, "body"))
    with pytest.raises(InputError, match=r"x.parquet:2: must hold the text under text"):
        list(read(piece, None))
    path.write_bytes(b"no such thing")
    with pytest.raises(InputError, match=r"x.parquet: .*Parquet"):
        cut(file_of(path), 10**6)


@pytest.mark.parametrize(
    ("option", "rule"),
    [({"actors": -1}, "actors must be at least 0"), ({"cpus": 0}, "cpus must"), ({"shard_bytes": 0}, "shard_bytes must"),
     ({"gpus": -1.0}, "gpus must be at least 0"), ({"min_confidence": 2.0}, "min_confidence must be from 0 to 1")],
)  # fmt: skip
def test_options_have_limits(option, rule):
    with pytest.raises(InputError, match=rule):
        ScaleOptions(**option)
