"""What `python -m ner_elmo scale` does before and beside Ray: pieces of files, the output directory, mistakes."""

import json
import os
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from object_store import KEY, object_store

from biLM import InputError
from ner_elmo.inputs import read_items
from ner_elmo.scaling.options import ScaleOptions

pyarrow = pytest.importorskip("pyarrow", reason="needs the extra `scale`")
from pyarrow import parquet  # noqa: E402

from ner_elmo.scaling import places  # noqa: E402
from ner_elmo.scaling.pieces import InputFile, cut, find_files, read  # noqa: E402
from ner_elmo.scaling.places import Place  # noqa: E402
from ner_elmo.scaling.run import scale  # noqa: E402
from ner_elmo.scaling.shards import Output  # noqa: E402


def parquet_file(path, rows, row_group_size: int):
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=row_group_size)


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


@pytest.fixture
def model(tmp_path):
    """What is looked at before anything is started: the description alone."""
    (tmp_path / "model").mkdir()
    description = {"format": 1, "types": ["LOC"], "config": {}, "versions": {}}
    (tmp_path / "model" / "model.json").write_text(json.dumps(description))
    return tmp_path / "model"


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


def test_an_output_that_another_process_writes_to(model, tmp_path):
    (tmp_path / "x.txt").write_text("Oslo\n")
    out = tmp_path / "out"
    half_written = out / "shards" / "x.txt" / ".000000.jsonl.host-1.partial"
    with Output(Place.of(str(out))).held():
        half_written.parent.mkdir(parents=True)
        half_written.touch()
        holder = rf"writing there \({os.getpid()} on {socket.gethostname()}\)\. Wait for it, or name another"
        for _ in range(2):
            with pytest.raises(InputError, match=holder):
                start(model, tmp_path / "x.txt", out)
        assert half_written.exists()
    with pytest.raises(InputError, match="must be a new or empty directory"):  # the lock is free again
        start(model, tmp_path / "x.txt", out)


@pytest.mark.parametrize("key", ["../../../x.txt", "a/../x.txt", "a/./x.txt", "a//x.txt"])
def test_names_that_lead_out_of_the_output(model, tmp_path, monkeypatch, key):
    (tmp_path / "in").mkdir()
    info = pyarrow.fs.FileInfo(f"bucket/in/{key}", pyarrow.fs.FileType.File, size=4)
    monkeypatch.setattr(Place, "files", lambda place: [(key, info)])  # as an object store may list it
    with pytest.raises(InputError, match="its name must lead below .*in, and to one place: .* Rename it"):
        start(model, tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_gs_without_credentials_is_told_in_seconds(model, monkeypatch, tmp_path):
    monkeypatch.setattr(places, "RETRY_SECONDS", 1)
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GCE_METADATA_ROOT", "127.0.0.1:9")  # nobody there answers with a token
    message = r"^gs://bucket/x: .*access token.* and the credentials that are found here\.$"
    with pytest.raises(InputError, match=message) as error:
        start(model, "gs://bucket/x", tmp_path / "out")
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("address", "name"),
    [("gs://anonymous@bucket/x?retry_limit_seconds=2", "gs://bucket/x"), ("s3://KEY:SECRET@bucket/a@b/?region=x", "s3://bucket/a@b"),
     ("archive/a@b?c", "archive/a@b?c"), ("s3://bucket?region=x", "s3://bucket")],
)  # fmt: skip
def test_no_name_holds_a_secret(address, name):
    assert places.shown(address) == name
    assert Place.of(address).name == name


def test_no_message_holds_a_secret():
    for address in ("s3://KEY:SECRET@bucket/x?region=a&token=SECRET", "nowhere://KEY:SECRET@bucket/x?token=SECRET"):
        with pytest.raises(InputError, match="^[a-z0-9]+://bucket/x: ") as error:
            Place.of(address)
        assert "SECRET" not in str(error.value)


@pytest.fixture
def store(monkeypatch):
    """An object store, and the key that it asks for."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with object_store() as found:
        yield found


@pytest.mark.parametrize("what", ["no key", "a wrong key"])
def test_s3_without_credentials(model, store, tmp_path, monkeypatch, what):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOTHER")
    if what == "no key":
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store.objects["bucket/in/x.txt"] = b"Oslo\n"
    (tmp_path / "x.txt").write_text("Oslo\n")
    message = r"^s3://bucket/\S+: .*ACCESS_DENIED.* and the credentials that are found here\.$"
    for source, out in ((store.address("bucket/in"), tmp_path / "out"), (tmp_path / "x.txt", store.address("bucket/out"))):
        with pytest.raises(InputError, match=message) as error:
            start(model, source, out)
        assert "\n" not in str(error.value) and "endpoint" not in str(error.value)
    assert not (tmp_path / "out").exists() and set(store.objects) == {"bucket/in/x.txt"}


def test_input_and_output_in_an_object_store(store):
    store.objects |= {"bucket/in/b c.txt": b"Oslo\nAda\n" * 3, "bucket/in/deep/a.txt": b"Ada\n", "bucket/in/.x": b"x"}
    store.objects["bucket/in2/no.txt"] = b"another directory"
    files = find_files(Place.of(store.address("bucket/in")))
    assert [(file.name, file.size) for file in files] == [("b c.txt", 27), ("deep/a.txt", 4)]
    pieces = cut(files[0], 14)
    texts = [[item.text for item in read(piece, None)] for piece in pieces]
    assert texts == [["Oslo", "Ada", "Oslo"], ["Ada", "Oslo", "Ada"]]
    output = Output(Place.of(store.address("bucket/out")))
    for _ in range(2):
        output.begin({"model": "a"})
    with pytest.raises(InputError, match=r"^s3://bucket/out/job.json: belongs to another job: model was 'a' and is 'b'"):
        output.begin({"model": "b"})
    with pytest.raises(InputError, match=r"^s3://bucket/in: must be a new or empty directory, or hold such results"):
        Output(Place.of(store.address("bucket/in"))).begin({"model": "a"})
    output.write_cut(files[0], pieces)
    large = b"x" * 11_000_000  # goes up in parts
    with output.shard(pieces[0]).writing() as stream:
        stream.write(large)
    assert output.pieces(files) == ([files[1]], pieces, [])  # a shard without its mark
    output.mark(pieces[0]).write_object({})
    assert output.pieces(files) == ([files[1]], pieces[1:], pieces[:1])
    assert store.objects["bucket/out/shards/b c.txt/000000.jsonl"] == large


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
    with pytest.raises(InputError, match=r"x.parquet:2: 'text' must be text. Received: null"):
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
