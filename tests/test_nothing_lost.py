"""Nothing of an annotated file goes without a word: texts to tag, other columns and keys, files named twice."""

import json

import pytest

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
