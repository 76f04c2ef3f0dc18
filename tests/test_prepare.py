"""Raw text to shards, and counting words, in constant memory."""

import gzip
import io
import json
import lzma
import subprocess
import sys
from collections import Counter

import pytest
from conftest import PROJECT

from biLM import InputError, prepare, word_counts
from biLM.corpus import find_files, read_sentences
from biLM.text import Tokenizer
from biLM.word_counts import WordCounts


def sentences_of(directory, pattern):
    return [" ".join(tokens) for tokens in read_sentences(find_files([str(directory / pattern)]))]


@pytest.fixture
def sources(tmp_path):
    """The same kind of text in every format: 40 documents a file of two sentences each, some sentences everywhere."""
    folder = tmp_path / "raw"
    folder.mkdir()
    documents = [f"Boat {k} left the harbour, didn't it? It came back.\nNobody saw it at {k} o'clock." for k in range(40)]
    (folder / "a.txt").write_text("\n\n".join(documents))
    with gzip.open(folder / "b.txt.gz", "wt") as file:
        file.write("\n\n".join(document.replace("Boat", "Ship") for document in documents))
    with lzma.open(folder / "c.jsonl.xz", "wt") as file:
        file.writelines(json.dumps({"body": document.replace("Boat", "Ferry")}) + "\n\n" for document in documents)
    return folder


@pytest.mark.parametrize("most", [4096, 1], ids=["as many buckets as it takes", "more text than its buckets can hold"])
def test_shards_hold_every_sentence_once_and_the_heldout_part_nothing_of_them(sources, tmp_path, monkeypatch, most):
    monkeypatch.setattr(prepare, "BUCKET_BYTES", 700)
    monkeypatch.setattr(prepare, "MAX_BUCKETS", most)
    monkeypatch.setattr(prepare, "BUFFERED_BYTES", 500)
    made = prepare.prepare([str(sources)], tmp_path / "out", field="body", heldout_fraction=0.2)
    train, held = sentences_of(tmp_path / "out", "train-*"), sentences_of(tmp_path / "out", "heldout*")
    assert made.shards == len(list((tmp_path / "out").glob("train-*"))) > 3
    assert not set(train) & set(held)
    assert len(set(train)) == len(train) == made.sentences
    assert len(set(held)) == len(held) == made.heldout_sentences > 0
    expected = {
        " ".join(sentence.tokens)
        for k in range(40)
        for kind in ("Boat", "Ship", "Ferry")
        for line in (f"{kind} {k} left the harbour, didn't it? It came back.", f"Nobody saw it at {k} o'clock.")
        for sentence in Tokenizer().sentences(line)
    }
    assert set(train) | set(held) == expected
    assert "It came back ." in held  # in every document, so in a held-out one: never trained on
    assert made.tokens == sum(len(sentence.split()) for sentence in train)
    assert made.types == len({token for sentence in train for token in sentence.split()})
    assert made.repeated_sentences == 40 * 3 * 3 - made.sentences - made.heldout_sentences
    assert train != sorted(train)
    assert {path.name for path in (tmp_path / "out").iterdir()} > {"report.json", "heldout.txt.gz"}
    sizes = {int(size) for size in made.oov_rate}
    assert sizes == {made.types + 3}
    known = {token for sentence in train for token in sentence.split()}
    unknown = [token not in known for sentence in held for token in sentence.split()]
    assert made.oov_rate[made.types + 3] == pytest.approx(sum(unknown) / len(unknown))


def test_documents_are_held_out_whole(sources, tmp_path):
    prepare.prepare([str(sources / "a.txt")], tmp_path / "out", heldout_fraction=0.3)
    train, held = sentences_of(tmp_path / "out", "train-*"), sentences_of(tmp_path / "out", "heldout*")
    for k in range(40):
        parts = [any(f"Boat {k} " in s for s in part) for part in (train, held)]
        others = [any(f" {k} o'clock" in s for s in part) for part in (train, held)]
        assert parts == others
        assert sum(parts) == 1


def test_the_same_text_and_seed_give_the_same_bytes(sources, tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        prepare.prepare([str(sources / "a.txt")], tmp_path / name, heldout_fraction=0.2, seed=seed)
    files = [path.name for path in sorted((tmp_path / "one").iterdir())]
    assert files == ["heldout.txt.gz", "report.json", "train-00000.txt.gz"]
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert (tmp_path / "one" / files[2]).read_bytes() != (tmp_path / "three" / files[2]).read_bytes()


def test_the_character_limit_and_given_tokens(tmp_path):
    (tmp_path / "t.txt").write_text("don't split this .\n" + "x" * 48 + " " + "y" * 49 + " é" + "\n")
    made = prepare.prepare([str(tmp_path / "t.txt")], tmp_path / "out", heldout_fraction=0, tokenized=True)
    assert "don't split this ." in sentences_of(tmp_path / "out", "train-*")
    assert made.long_tokens == 1
    assert made.oov_rate == {}


WRAPPED = "The ferry left the small\nharbour at dawn. Nobody\nspoke.\n\n  The gulls\n  followed.\n"


@pytest.mark.parametrize("documents", ["blank", "file"])
def test_lines_that_were_cut_at_some_width(tmp_path, documents):
    (tmp_path / "t.txt").write_text(WRAPPED)
    settings = {"heldout_fraction": 0, "documents": documents}
    prepare.prepare([str(tmp_path / "t.txt")], tmp_path / "whole", wrapped=True, **settings)
    assert sorted(sentences_of(tmp_path / "whole", "train-*")) == [
        "Nobody spoke .", "The ferry left the small harbour at dawn .", "The gulls followed .",
    ]  # fmt: skip
    prepare.prepare([str(tmp_path / "t.txt")], tmp_path / "lines", **settings)
    assert "The ferry left the small" in sentences_of(tmp_path / "lines", "train-*")


def test_hidden_files_and_directories_are_passed_over(tmp_path):
    for name in ("a/b/t.txt", "a/.git/objects", "a/.t.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" if name == "a/b/t.txt" else b"\xff")
    assert prepare.find_sources([str(tmp_path / "a")]) == [str(tmp_path / "a/b/t.txt")]


def test_oov_is_told_for_the_usual_sizes_of_a_vocabulary(tmp_path):
    """10,500 words, of which 9,997 and three special tokens fit in 10,000: the rarest, in this order, stay out."""
    words = [f"w{k:05d}" for k in range(10_500)]
    lines = [" ".join(words[k : k + 10]) for k in range(0, 10_500, 10)] + [" ".join(words[:9_900:100])]
    (tmp_path / "t.txt").write_text("\n\n".join(f"{line} again {k}" for line in lines for k in ("one", "two")))
    made = prepare.prepare([str(tmp_path / "t.txt")], tmp_path / "out", heldout_fraction=0.2, tokenized=True)
    train, held = sentences_of(tmp_path / "out", "train-*"), sentences_of(tmp_path / "out", "heldout*")
    counts = Counter(token for sentence in train for token in sentence.split())
    assert set(made.oov_rate) == {10_000, made.types + 3} and made.types > 10_000
    known = set(sorted(counts, key=lambda word: (-counts[word], word))[: 10_000 - 3])
    unknown = [token not in known for sentence in held for token in sentence.split()]
    assert made.oov_rate[10_000] == pytest.approx(sum(unknown) / len(unknown))
    assert made.oov_rate[10_000] > made.oov_rate[made.types + 3]


@pytest.mark.parametrize(
    ("text", "name", "settings", "message"),
    [
        ("one line\nand another\n", "t.txt", {}, "no document was drawn to be held out.*--documents line"),
        ("", "t.txt", {}, "no sentence is left to train on"),
        ('{"text": "a"}\n{"txt": "b"}\n', "t.jsonl", {}, r"t.jsonl:2: .* the text in 'text'. Received: \['txt'\]"),
        ("{\n", "t.jsonl", {}, "t.jsonl:1: not JSON"),
        ('{"text": "a\\ud83d"}\n', "t.jsonl", {}, "t.jsonl:1: the text holds half a surrogate pair"),
        ("a\n", "t.txt", {"seed": -1}, "the seed must be from 0 to 4294967295. Received: -1"),
        ("a\n", "t.txt", {"heldout_fraction": 1.0}, "must be at least 0 and below 1. Received: 1.0"),
    ],
)  # fmt: skip
def test_text_that_cannot_be_prepared(tmp_path, text, name, settings, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        prepare.prepare([str(tmp_path / name)], tmp_path / "out", **settings)
    assert [path.name for path in tmp_path.iterdir()] == [name]  # nothing half-written


def test_sources_that_are_not_there(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: must hold a file at least"):
        prepare.find_sources([str(tmp_path / "empty")])
    with pytest.raises(InputError, match="gone: no such file or directory"):
        prepare.find_sources([str(tmp_path / "gone")])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(InputError, match="full: must be a new directory, or an empty one"):
        prepare.prepare([str(tmp_path / "full" / "x")], tmp_path / "full")


def test_counts_are_exact_where_they_do_not_fit_memory(monkeypatch):
    monkeypatch.setattr(word_counts, "WORDS_IN_MEMORY", 7)
    sentences = [[f"w{k * j % 37}" for j in range(9)] for k in range(50)]
    with WordCounts() as counts:
        for sentence in sentences:
            counts.add(sentence)
        expected = Counter(token for sentence in sentences for token in sentence)
        assert len(counts._files) > 3
        assert dict(counts.items()) == expected
        assert counts.n_tokens == 450
        for size, least in ((None, 1), (10, 1), (2000, 12)):
            ranked = sorted((w for w in expected if expected[w] >= least), key=lambda word: (-expected[word], word))
            assert counts.vocabulary(size, least).words[3:] == ranked[: None if size is None else size - 3]


def test_the_commands(sources, tmp_path):
    def run(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "biLM", *arguments]
        return subprocess.run(command, cwd=PROJECT, input=text, capture_output=True, text=True, check=False)

    text = io.StringIO()
    text.writelines(f"Line {k} has some words.\n" for k in range(200))
    made = run("prepare", "-", "--out", str(tmp_path / "out"), "--documents", "line", "--json", text=text.getvalue())
    assert made.returncode == 0, made.stderr
    found = json.loads(made.stdout)
    assert found == json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["sentences"] + found["heldout_sentences"] == 200
    shown = run("vocab", str(tmp_path / "out" / "train-*"), "--out", str(tmp_path / "vocab.txt"), "--max-size", "8")
    assert shown.returncode == 0, shown.stderr
    words = (tmp_path / "vocab.txt").read_text().splitlines()
    assert words == ["<S>", "</S>", "<UNK>", ".", "Line", "has", "some", "words"]
    rows = "".join(json.dumps({"body": line}) + "\n" for line in text.getvalue().splitlines())
    made = run("prepare", "-", "--out", str(tmp_path / "rows"), "--field", "body", "--json", text=rows)
    assert json.loads(made.stdout)["types"] == found["types"], made.stderr
    for size in ("3", "0"):
        refused = run("vocab", str(tmp_path / "out" / "train-*"), "--out", str(tmp_path / "v.txt"), "--max-size", size)
        assert (refused.returncode, (tmp_path / "v.txt").exists()) == (2, False)
        assert f"must hold more than its 3 special tokens. Received: {size}." in refused.stderr
    again = run("prepare", str(sources), "--out", str(tmp_path / "out"), "--field", "body")
    assert again.returncode == 2
    assert again.stderr.startswith("biLM prepare: error: ") and again.stderr.count("\n") == 1
