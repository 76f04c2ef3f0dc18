"""Nothing of an annotated file goes without a word: texts to tag, other columns and keys, files named twice."""
# ruff: noqa: E501 (a line of the table is a file)

import json

import pytest

from biLM import InputError
from ner_elmo import read_sentences
from ner_elmo.__main__ import parser
from ner_elmo.formats.document import Document, Mark
from ner_elmo.formats.source import Source
from ner_elmo.formats.table import FORMATS, documents_of, write
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


REGION = {"value": {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}, "type": "labels"}
CHOICE = {"value": {"choices": ["news"]}, "type": "choices"}
ELSE = {
    "conll": ("x.conll", "-DOCSTART- O\n\n# id = 7\nAda NN B-PER\n", "-DOCSTART- lines, columns other than token and tag, comments"),
    "csv": ("x.csv", "word,pos,tag\nAda,NN,B-PER\n", "columns other than sentence, token and tag"),
    "csv-spans": ("x.csv", 'id,text,label\n7,Ada,"[[0, 3, ""PER""]]"\n', "the field id"),
    "jsonl-tokens": ("x.jsonl", '{"id": 7, "tokens": ["Ada"], "ner_tags": ["B-PER"]}\n', "the field id"),
    "labelstudio": (
        "x.json",
        json.dumps([{"created_at": 7, "data": {"text": "Ada"}, "annotations": [{"result": [REGION, CHOICE]}]}]),
        "regions of the type choices, what tasks hold besides id, meta, data and annotations",
    ),
    "spacy-json": (
        "x.json",
        '[{"paragraphs": [{"raw": "Ada", "sentences": [{"tokens": [{"orth": "Ada", "ner": "U-PER", "tag": "NN", "dep": "x"}]}], '
        '"cats": [{"label": "x", "value": 1}]}]}]',
        "cats, dep, tag",
    ),
    "jsonl": (
        "x.jsonl",
        '{"text": "Ada", "entities": [{"id": 3, "start_offset": 0, "end_offset": 3, "label": "PER"}], "relations": [{"from_id": 3}]}',
        "what spans hold besides start, end, label and text",
    ),
    "doccano": ("x.jsonl", '{"text": "Ada", "label": [[0, 3, "PER", 0.5]]}', "what spans hold besides start, end, label and text"),
    "prodigy": (
        "x.jsonl",
        '{"text": "Ada", "tokens": [{"text": "Ada", "start": 0, "end": 3, "id": 0, "style": "x"}], "spans": []}',
        "what tokens hold besides their text and place",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "left_out"), ELSE.values(), ids=ELSE.keys())
def test_what_a_copy_lacks_is_told(tmp_path, capsys, name, content, left_out):
    (tmp_path / name).write_text(content)
    found = checked(capsys, str(tmp_path / name), "--fix", str(tmp_path / f"clean-{name}"))
    told = [(f["text"], f["action"]) for f in found["files"][0]["findings"] if f["kind"] == "passed over"]
    assert told == [(left_out, "not in the clean copy")]
    args = parser().parse_args(["convert", str(tmp_path / name), str(tmp_path / "out.conll")])
    args.run(args)
    said = capsys.readouterr().err
    if left_out.startswith("the field"):
        assert f"conll has no room for other fields, left out: {left_out.removeprefix('the field ')}\n" in said
    else:
        assert f"note: {left_out} are left out\n" in said


@pytest.mark.parametrize("name", FORMATS)
def test_a_copy_of_our_own_files_lacks_nothing(tmp_path, capsys, name):
    if name == "datasets":
        pytest.importorskip("datasets", reason="the extra `datasets` is not installed")
    path = tmp_path / {"spacy": "x.spacy", "datasets": "x"}.get(name, "x.txt")
    write([Document("Ada left", (Mark(0, 3, "PER"),), (((0, 3), (4, 8)),))], path, name)
    found = checked(capsys, str(path), "--format", name, "--fix", str(tmp_path / "clean"))
    assert found["files"][0]["findings"] == []


def test_fields_of_names_that_the_format_takes_are_told(tmp_path, capsys):
    (tmp_path / "x.jsonl").write_text('{"text": "Ada", "entities": [], "label": "news"}\n')
    args = parser().parse_args(["convert", str(tmp_path / "x.jsonl"), str(tmp_path / "y.jsonl"), "--to", "doccano"])
    args.run(args)
    assert "doccano has no room for other fields, left out: label\n" in capsys.readouterr().err


def test_layers_of_spacys_files_are_told(tmp_path, capsys):
    from spacy.tokens import Doc, DocBin
    from spacy.vocab import Vocab

    doc = Doc(Vocab(), ["Ada"], tags=["NN"])
    doc.cats["news"] = 1.0
    DocBin(store_user_data=True, docs=[doc]).to_disk(tmp_path / "x.spacy")
    found = checked(capsys, str(tmp_path / "x.spacy"), "--fix", str(tmp_path / "y.spacy"))
    assert [f["text"] for f in found["files"][0]["findings"]] == ["CATS, TAG"]
