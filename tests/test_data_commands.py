"""`check` and `convert` as people run them: everything odd is told with its place, and mended copies are sound."""

import gzip
import json
import tracemalloc

import pytest

from biLM.errors import InputError, run_command
from ner_elmo import commands_train, read_sentences
from ner_elmo.__main__ import parser
from ner_elmo.alignment import align
from ner_elmo.cleaning import without_invisible
from ner_elmo.config import SAMPLE, TrainConfig
from ner_elmo.formats.document import Document, Mark
from ner_elmo.formats.source import Source, lines
from ner_elmo.formats.table import documents_of


def run(*arguments, status: int = 0) -> None:
    args = parser().parse_args([str(argument) for argument in arguments])
    assert run_command("ner_elmo", lambda: args.run(args)) == status


def checked(capsys, *arguments) -> dict:
    run("check", *arguments, "--json")
    return json.loads(capsys.readouterr().out)


def write_rows(path, *rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


ODD = [
    {"text": "Ada Lund left Oslo.", "label": [[0, 8, "PER"], [14, 17, "LOC"]], "id": 1},
    {"text": "Zero\u200bwidth 😀 Lund", "label": [[10, 17, "PER"], [11, 12, "EMO"]]},
    {"text": " \t ", "label": []},
    {"text": "Åse Lund", "label": [{"start": 5, "end": 9, "text": "Lund", "label": "PER"}, [3, 300, "X"]]},
    {"text": "Bo met Lund", "label": [{"start": 0, "end": 4, "text": "Lund", "label": "PER"}, [0, 6, "X"], [3, 11, "Y"]]},
    {"text": "x" * 49 + " a\ud83d", "label": []},
]  # fmt: skip


def test_everything_odd_is_told_with_place_text_and_what_was_done(tmp_path, capsys):
    write_rows(tmp_path / "odd.jsonl", *ODD)
    (file,) = checked(capsys, tmp_path / "odd.jsonl")["files"]
    told = [(f["where"].rpartition(":")[2], f["kind"], f["text"], f["action"]) for f in file["findings"]]
    assert told[:3] == [
        ("1", "off token borders", "LOC 'Osl'", "grown to 'Oslo'"),
        ("2", "invisible character", "U+200B ZERO WIDTH SPACE in 'Zero\\u200bwidth 😀 Lund'", "left in; --fix removes it"),
        ("2", "blanks at the borders", "PER ' 😀 Lund'", "trimmed"),
    ]
    assert ("2", "nested", "EMO '😀'", "dropped: PER '😀 Lund' stays") in told
    assert ("4", "wrong offsets", "PER 'Lund'", "they counted bytes, and were converted") in told
    assert any(
        where == "4" and "dropped: offsets must lie in the text, which has 8" in action for where, _, _, action in told
    )
    assert ("5", "wrong offsets", "PER 'Lund'", "moved to the only place where its text stands") in told
    assert ("5", "nested", "PER 'Lund'", "dropped: Y 'met Lund' stays") in told
    assert ("5", "overlap", "X 'Bo met'", "dropped: Y 'met Lund' stays") in told
    assert ("3", "empty text", "' \\t '", "left out") in told
    assert ("6", "half a character", "'\\ud83d'", "replaced by U+FFFD") in told
    assert ("6", "long token", repr("x" * 49), "of its 49 bytes a biLM reads 48") in told
    assert (file["texts"], file["sentences"], file["format"]) == (6, 5, "doccano")
    assert file["entities"] == {"PER": 3, "LOC": 1, "Y": 1}


def test_the_clean_copy_is_clean_and_nothing_else_changed(tmp_path, capsys):
    write_rows(tmp_path / "odd.jsonl", *ODD)
    run("check", tmp_path / "odd.jsonl", "--fix", tmp_path / "clean.jsonl")
    assert "clean copy: " in capsys.readouterr().out
    (file,) = checked(capsys, tmp_path / "clean.jsonl")["files"]
    assert [f["kind"] for f in file["findings"]] == ["long token"]
    assert file["entities"] == {"PER": 3, "LOC": 1, "Y": 1}
    rows = [json.loads(line) for line in (tmp_path / "clean.jsonl").read_text().splitlines()]
    assert rows[0] == {"text": "Ada Lund left Oslo.", "label": [[0, 8, "PER"], [14, 18, "LOC"]], "id": 1}
    assert rows[1]["text"] == "Zerowidth 😀 Lund"
    read_sentences(tmp_path / "clean.jsonl", report=lambda found: (list(found.findings) == []) or pytest.fail(str(found)))


def test_sides_are_compared(tmp_path, capsys):
    (tmp_path / "train.conll").write_text("Ada B-PER\nleft O\n\nBo O\ncame O\n\nAda B-PER\nleft O\n\nAda O\nleft O\n")
    (tmp_path / "test.conll").write_text("Bo B-ORG\ncame O\n")
    found = checked(capsys, "--train", tmp_path / "train.conll", "--test", tmp_path / "test.conll")

    def places(rows):
        return [(r["where"].rpartition("/")[2], r["first"].rpartition("/")[2], r["text"]) for r in rows]

    twice = [("train.conll:7", "train.conll:1", "Ada left"), ("train.conll:10", "train.conll:1", "Ada left")]
    shared = ("test.conll:1", "train.conll:4", "Bo came")
    assert places(found["repeated"]) == twice
    assert places(found["shared"]) == [shared]
    assert places(found["contradicting"]) == [twice[1], shared]
    assert found["rare"] == {"PER": 2}
    assert found["unlearnable"] == {"test": ["ORG"]}
    run("check", "--train", tmp_path / "train.conll", "--test", tmp_path / "test.conll")
    said = capsys.readouterr().out
    for line in (
        "sentences shared by two sides: 1", "the same sentence with other labels: 2", "types with few entities: PER 2",
        "types of test that training lacks: ORG", "train.conll [train]: conll IOB2, 4 texts, 4 sentences, 8 tokens",
    ):  # fmt: skip
        assert line in said


def test_the_sample_has_nothing_odd(capsys):
    sides = [part for side in ("train", "dev", "test") for part in (f"--{side}", SAMPLE / f"{side}.conll")]
    found = checked(capsys, *sides)
    assert [len(file["findings"]) for file in found["files"]] == [0, 0, 0]
    assert (found["repeated"], found["contradicting"], found["shared"], found["unlearnable"]) == ([], [], [], {})


def test_several_clean_copies_go_to_a_directory(tmp_path, capsys):
    for name in ("a.conll", "b.csv"):
        run("convert", SAMPLE / "dev.conll", tmp_path / name)
    run("check", tmp_path / "a.conll", tmp_path / "b.csv", "--fix", tmp_path / "clean")
    capsys.readouterr()
    for name in ("a.conll", "b.csv"):
        same = [(s.tokens, s.spans) for s in read_sentences(tmp_path / "clean" / name)]
        assert same == [(s.tokens, s.spans) for s in read_sentences(SAMPLE / "dev.conll")]


def test_a_missing_file_is_said_before_anything_is_written(tmp_path, capsys):
    run("check", SAMPLE / "dev.conll", tmp_path / "missing.conll", "--fix", tmp_path / "clean", status=2)
    assert "missing.conll: No such file or directory" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_convert_tells_what_it_did(tmp_path, capsys):
    rows = ({"text": "Ada left Osl", "label": [[0, 2, "PER"]], "id": 7}, {"text": "Bo. Lund came", "label": [[0, 8, "PER"]]})
    write_rows(tmp_path / "x.jsonl", *rows)
    run("convert", tmp_path / "x.jsonl", tmp_path / "x.conll.gz")
    found = capsys.readouterr()
    assert found.out == ""
    assert "off token borders: 1" in found.err
    assert "x.jsonl:1: PER 'Ad': grown to 'Ada'" in found.err
    assert "note: conll has no room for other fields, left out: id" in found.err
    assert "x.conll.gz: conll, 2 texts, 2 spans" in found.err
    text = gzip.decompress((tmp_path / "x.conll.gz").read_bytes()).decode()
    assert text == "Ada B-PER\nleft O\nOsl O\n\nBo B-PER\n. I-PER\nLund I-PER\ncame O\n\n"  # no border inside an entity
    (tmp_path / "four.conll").write_text("Ada NN x B-PER\n")
    run("convert", tmp_path / "four.conll", tmp_path / "four.json", "--to", "labelstudio")
    said = capsys.readouterr().err
    assert "note: columns other than token and tag are left out" in said
    assert "note: labelstudio holds no tokens; whoever reads it splits the text anew" in said
    assert json.loads((tmp_path / "four.json").read_text())[0]["annotations"][0]["result"][0]["value"] == {
        "start": 0, "end": 3, "text": "Ada", "labels": ["PER"],
    }  # fmt: skip


MISTAKES = {
    "no files": (["check"], "name the files to check"),
    "onto itself": (["check", "a.conll", "--fix", "a.conll"], "a.conll: is the file that is read"),
    "a file twice": (["check", "a.conll", "d/../a.conll"], "a.conll: each file must be named once. Received: 2 times"),
    "a file twice on a side": (["check", "--dev", "a.conll", "a.conll"], "a.conll: each file must be named once"),
    "one name twice": (["check", "a.conll", "d/a.conll", "--fix", "new"], "two files are called a.conll"),
    "an empty file": (["check", "empty.conll"], "empty.conll: must hold at least one sentence"),
    "no such file": (["check", "nowhere.conll"], "nowhere.conll: No such file"),
    "an unknown name": (
        ["convert", "a.conll", "a.xyz"],
        "a.xyz: the name tells no format; name one with --to: conll",
    ),
    "wrong offsets": (
        ["convert", "wrong.jsonl", "b.conll"],
        "wrong.jsonl:1: offsets must lie in the text, which has 1",
    ),
    "nothing in it": (["convert", "empty.conll", "b.jsonl"], "nothing to convert"),
    "another format": (["convert", "a.conll", "b.json", "--from", "json"], "a.conll:1: expected JSON, got 'Ada B-PER"),
    "no such column": (["check", "a.conll", "--columns", "1", "4"], "a.conll:1: expected 4 columns or more, got 2"),
    "no language": (["convert", "right.jsonl", "b.conll", "--lang", "qq"], "no tokenizer for the language 'qq'"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_one_line(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    for name in ("a.conll", "d/a.conll"):
        (tmp_path / name).write_text("Ada B-PER\n")
    (tmp_path / "empty.conll").write_text("")
    write_rows(tmp_path / "wrong.jsonl", {"text": "a", "label": [[0, 2, "X"]]})
    write_rows(tmp_path / "right.jsonl", {"text": "a", "label": [[0, 1, "X"]]})
    before = {path.name for path in tmp_path.iterdir()}
    run(*arguments, status=2)
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert {path.name for path in tmp_path.iterdir()} == before


def test_letters_stay_under_their_labels_when_characters_go():
    text = "\ufeffA\u200bda\u00ad Lu\x07nd"
    tokens = (((1, 5), (5, 6), (7, 12)),)
    document = without_invisible(Document(text, (Mark(0, 6, "X"), Mark(7, 12, "Y")), tokens))
    assert document == Document("Ada Lund", (Mark(0, 3, "X"), Mark(4, 8, "Y")), (((0, 3), (4, 8)),))
    family = Document("👩\u200d👧 نمی\u200cخواهم", (Mark(0, 3, "E"),))
    assert without_invisible(family) == family


def test_marks_that_cross_sentences_join_them(tmp_path):
    from biLM.text import Tokenizer

    document = Document("One. Two. Three. Four.", (Mark(0, 8, "A"), Mark(17, 21, "B")))
    found = []
    assert [len(row) for row in align(document, Tokenizer(), found.append).sentences] == [4, 2, 2]
    assert found == []


def test_large_files_are_read_as_a_stream(tmp_path):
    block = "Ada B-PER\nLund I-PER\nleft O\nOslo B-LOC\n. O\n\n"
    (tmp_path / "x.conll").write_text(block * 15_000)
    for _ in lines(tmp_path / "x.conll"):
        break
    tracemalloc.start()
    count = sum(1 for _ in documents_of(Source(tmp_path / "x.conll", "IOB2"))[1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 15_000
    assert peak < 8e6


TEXTS = [
    {"text": f"Ada Lund left Oslo {n % 70} times.", "entities": [[0, 8, "PER"]], "id": n} for n in range(140)
]  # each twice


@pytest.mark.parametrize("name", ["texts.jsonl.gz", "texts.conll"])
def test_a_file_is_split(tmp_path, capsys, name):
    """Each text goes to one side, its copies to the same; more texts move no other; the format stays."""
    write_rows(tmp_path / "texts.jsonl", *TEXTS)
    run("convert", tmp_path / "texts.jsonl", tmp_path / name)
    capsys.readouterr()
    run("split", tmp_path / name, "--out", tmp_path / "sides", "--test", 0.2)
    says = capsys.readouterr().err.splitlines()
    ending = name.partition(".")[2]
    assert sorted(path.name for path in (tmp_path / "sides").iterdir()) == [
        f"{side}.{ending}" for side in ("dev", "test", "train")
    ]
    sides = {side: read_sentences([str(tmp_path / "sides" / f"{side}.{ending}")]) for side in ("train", "dev", "test")}
    whole = read_sentences([str(tmp_path / name)])
    assert sorted(one.tokens for side in sides.values() for one in side) == sorted(one.tokens for one in whole)
    assert all(one.spans for side in sides.values() for one in side)
    words = {side: {one.tokens for one in sentences} for side, sentences in sides.items()}
    assert sum(map(len, words.values())) == 70  # no text on two sides
    assert 50 < len(sides["train"]) < 130 and 2 <= len(sides["dev"]) < len(sides["test"]) < 60
    assert says[-3:] == [
        f"{tmp_path}/sides/{side}.{ending}: {name.split('.')[1]}, {len(sides[side])} texts, {len(sides[side])} spans"
        for side in sides
    ]
    write_rows(tmp_path / "more.jsonl", *TEXTS[:70], {"text": "Nobody spoke.", "entities": []})
    (tmp_path / "more").mkdir()
    run("convert", tmp_path / "more.jsonl", tmp_path / "more" / name)
    run("split", tmp_path / "more" / name, "--out", tmp_path / "again", "--test", 0.2)
    for side, sentences in words.items():
        again = {one.tokens for one in read_sentences([str(tmp_path / "again" / f"{side}.{ending}")])}
        assert again - {("Nobody", "spoke", ".")} == sentences


SPLITS = {
    "nothing to train on": (["--dev", 0.5, "--test", 0.5], "leave something to train on. Received: 0.5 and 0.5"),
    "an empty side": (["--dev", 1e-9], "no text falls to dev. Give it a larger share"),
    "a directory that holds something": (["--out", "."], ".: must be a new directory, or an empty one"),
}


@pytest.mark.parametrize(("options", "message"), SPLITS.values(), ids=SPLITS.keys())
def test_what_cannot_be_split(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "texts.jsonl", *TEXTS)
    run("split", "texts.jsonl", "--out", "sides", *options, status=2)
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["texts.jsonl"]


@pytest.mark.parametrize("other", [[], ["--dev", "d.conll"], ["--test", "t.conll"]])
def test_training_files_come_with_dev_and_test(other):
    """Those of the sample would say nothing about them."""
    with pytest.raises(InputError, match=r"where --train is given, .* must be, too. Missing: --.*ner_elmo split"):
        commands_train.parse(["--train", "a.conll", *other])
    assert commands_train.parse(["--train", "a.conll", "--dev", "d.conll", "--test", "t.conll"]).test == ("t.conll",)
    assert commands_train.parse(["--test", "t.conll"]).dev == TrainConfig.dev
