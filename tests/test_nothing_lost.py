"""Nothing of an annotated file goes without a word: texts to tag, other columns and keys, files named twice."""

import json

import pytest

from biLM import InputError
from ner_elmo import read_sentences
from ner_elmo.__main__ import parser
from ner_elmo.formats.document import Document, Mark
from ner_elmo.formats.source import Source
from ner_elmo.formats.table import documents_of, write
from ner_elmo.inputs import read_items

TO_TAG = {
    "a task": ("tasks.json", '[{"id": 1, "data": {"text": "Ada left Oslo."}}]'),
    "a task that was passed over": ("tasks.json", '[{"data": {"text": "Ada left Oslo."}, "annotations": []}]'),
    "a cancelled one": (
        "tasks.json",
        '[{"data": {"text": "Ada left Oslo."}, "annotations": [{"was_cancelled": true, "result": []}]}]',
    ),
    "plain texts": ("texts.json", '[{"text": "Ada left Oslo."}]'),
    "mixed tags": ("x.conll", "Ada I-PER\nleft O\nOslo. B-LOC\n"),
    "broken tags": ("x.conll", "Ada O\nleft I-X\nOslo. E-X\n"),
}


@pytest.mark.parametrize(("name", "content"), TO_TAG.values(), ids=TO_TAG.keys())
def test_texts_without_sound_annotation_are_tagged(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert [item.text.replace(" .", ".") for item in read_items([str(tmp_path / name)])] == ["Ada left Oslo."]


def test_the_task_to_tag_keeps_its_number(tmp_path):
    (tmp_path / "tasks.json").write_text(TO_TAG["a task"][1])
    (item,) = read_items([str(tmp_path / "tasks.json")])
    assert item.row == {"id": 1, "text": "Ada left Oslo."}


@pytest.mark.parametrize("answer", ["reject", "ignore"])
def test_prodigy_examples_of_every_answer_are_tagged(tmp_path, answer):
    example = {"text": "Ada left Oslo.", "spans": [], "answer": answer}
    (tmp_path / "x.jsonl").write_text(json.dumps(example) + "\n")
    (item,) = read_items([str(tmp_path / "x.jsonl")], form="prodigy")
    assert item.row == {"text": "Ada left Oslo.", "answer": answer}


def checked(capsys, *arguments) -> dict:
    args = parser().parse_args(["check", *arguments, "--json"])
    args.run(args)
    return json.loads(capsys.readouterr().out)


def test_a_file_may_be_called_as_a_side_is(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train").write_text("Ada B-PER\n")
    (tmp_path / "a.conll").write_text("Bo B-ORG\n")
    found = checked(capsys, "train", "--train", "a.conll", "--format", "conll")
    assert [(file["path"], file["side"]) for file in found["files"]] == [("a.conll", "train"), ("train", "./train")]
    assert found["unlearnable"] == {"./train": ["PER"]}


def test_training_without_an_entity_lacks_all_types(tmp_path, capsys):
    (tmp_path / "train.conll").write_text("came O\n")
    (tmp_path / "test.conll").write_text("Bo B-ORG\n")
    found = checked(capsys, "--train", str(tmp_path / "train.conll"), "--test", str(tmp_path / "test.conll"))
    assert found["unlearnable"] == {"test": ["ORG"]}


@pytest.mark.parametrize(
    ("text", "part", "said"),
    [
        ("in C:\\new disk", "C:\\new", "C:\\new"),
        ("one\ntwo", "one\ntwo", "one\\ntwo"),
        ("one\ntwo, one\\ntwo", "one\ntwo", "one\\ntwo"),
        ("C:\\new\ndisk", "C:\\new\ndisk", "C:\\new\\ndisk"),
    ],
)
def test_label_studio_writes_line_ends_as_a_text_may_have_them(tmp_path, text, part, said):
    start = text.index(part)
    value = {"start": start, "end": start + len(part), "text": said, "labels": ["LOC"]}
    task = {"data": {"text": text}, "annotations": [{"result": [{"type": "labels", "value": value}]}]}
    (tmp_path / "x.json").write_text(json.dumps([task]))
    (sentence, *_) = read_sentences(tmp_path / "x.json")
    assert [span.type for span in sentence.spans] == ["LOC"]


def test_text_between_tokens_stays_in_spacys_files(tmp_path):
    tokens = [{"text": "Ada", "start": 1, "end": 4, "id": 0}, {"text": "Lund", "start": 8, "end": 12, "id": 1}]
    row = {"text": " Ada ,  Lund  saw it", "tokens": tokens, "spans": [{"start": 8, "end": 12, "label": "LOC"}]}
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    args = parser().parse_args(["convert", str(tmp_path / "x.jsonl"), str(tmp_path / "x.spacy")])
    args.run(args)
    (document,) = documents_of(Source(tmp_path / "x.spacy"))[1]
    assert (document.text, document.marks) == (row["text"], (Mark(8, 12, "LOC"),))
    assert [document.text[a:b] for sentence in document.sentences for a, b in sentence] == ["Ada", ",", "Lund", "saw", "it"]


def test_a_mark_that_no_token_ends_with_is_not_dropped_from_spacys_files(tmp_path):
    document = Document("Ada Lund", (Mark(0, 2, "PER"),), (((0, 3), (4, 8)),), "x:1")
    with pytest.raises(InputError, match=r"x:1: a span must lie on the borders of tokens. Received: \[0, 2, 'PER'\]"):
        write([document], tmp_path / "x.spacy", "spacy")
