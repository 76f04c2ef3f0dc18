"""Odd files, labels and options that once went wrong without a word, or with a traceback."""

import json
import math
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from conftest import PROJECT

from biLM import InputError, load_bilm
from biLM.errors import run_command
from biLM.text import Tokenizer
from ner_elmo import NerTagger, commands_train, read_sentences
from ner_elmo.__main__ import parser
from ner_elmo.bundle import load_model, save_model
from ner_elmo.cache import Cache
from ner_elmo.config import TrainConfig
from ner_elmo.entities import Entity, Span
from ner_elmo.inputs import Item, read_items
from ner_elmo.metrics import evaluate
from ner_elmo.output import Result, write


def run(*arguments, status: int = 0) -> None:
    args = parser().parse_args([str(argument) for argument in arguments])
    assert run_command("ner_elmo", lambda: args.run(args)) == status


# -- files -----------------------------------------------------------------------------------------------------------------


def test_empty_rows_end_a_sentence_where_csv_has_no_ids(tmp_path):
    (tmp_path / "x.csv").write_text("\nword,tag\nAda,B-PER\nleft,O\n\n,\nOslo,B-LOC\n")
    assert [one.tokens for one in read_sentences([str(tmp_path / "x.csv")])] == [("Ada", "left"), ("Oslo",)]
    (tmp_path / "y.csv").write_text("id,word,tag\n1,Ada,B-PER\n\n1,left,O\n2,Oslo,B-LOC\n")
    assert [one.tokens for one in read_sentences([str(tmp_path / "y.csv")])] == [("Ada", "left"), ("Oslo",)]


@pytest.mark.parametrize("name", ["x.csv", "x.tsv"])
def test_a_named_column_of_text_is_found(tmp_path, name):
    separator = "," if name == "x.csv" else "\t"
    (tmp_path / name).write_text(f'body{separator}entities\nAda left{separator}"[[0, 3, ""PER""]]"\n')
    (sentence,) = read_sentences([str(tmp_path / name)], text_field="body")
    assert sentence.spans == (Span("PER", 0, 1),)


def test_a_named_key_of_prodigys_examples(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"body": "Ada left", "spans": [{"start": 0, "end": 3, "label": "PER"}]}\n')
    (sentence,) = read_sentences([str(tmp_path / "x.jsonl")], format="prodigy", text_field="body")
    assert sentence.spans == (Span("PER", 0, 1),)


@pytest.mark.parametrize("ending", ["GZ", "XZ"])
def test_archives_in_capitals(tmp_path, ending):
    (tmp_path / "x.jsonl").write_text('{"text": "Ada left", "entities": [[0, 3, "PER"]]}\n')
    run("convert", tmp_path / "x.jsonl", tmp_path / f"Y.CONLL.{ending}")
    assert (tmp_path / f"Y.CONLL.{ending}").read_bytes()[:2] in (b"\x1f\x8b", b"\xfd7")
    assert read_sentences([str(tmp_path / f"Y.CONLL.{ending}")])[0].spans == (Span("PER", 0, 1),)


def test_a_blank_text_survives_prodigys_format(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"text": "", "entities": []}\n{"text": "Ada left", "entities": [[0, 3, "PER"]]}\n')
    run("convert", tmp_path / "x.jsonl", tmp_path / "p.jsonl", "--to", "prodigy")
    assert [one.tokens for one in read_sentences([str(tmp_path / "p.jsonl")])] == [("Ada", "left")]


def test_a_text_that_is_none(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"id": 1, "text": null}\n')
    with pytest.raises(InputError, match=r"x.jsonl:1: 'text' must be text. Received: null"):
        list(read_items([str(tmp_path / "x.jsonl")]))


def test_a_pipe_is_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_text("Ada left.\nOslo.\n"))
    writer.start()
    assert [item.text for item in read_items([str(tmp_path / "pipe")])] == ["Ada left.", "Oslo."]
    writer.join()


def test_annotated_text_is_not_read_from_standard_input():
    with pytest.raises(InputError, match="--from conll reads files. Received: standard input. Name a FILE"):
        list(read_items([], form="conll"))


def test_check_steers_no_terminal(tmp_path, capsys):
    rows = [{"text": "Ada \x1b[2J left", "entities": []}, {"text": "Ada \x1b[2J left", "entities": []}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("check", tmp_path / "x.jsonl")
    found = capsys.readouterr().out
    assert "\x1b" not in found and "\\x1b[2J" in found


@pytest.mark.parametrize("text", ["(" * 200_000, "(" * 100_000 + "Ada", "Ada" + "'s" * 100_000, "😀" * 100_000])
def test_a_long_run_of_signs_is_one_token(text):
    """spaCy takes time that grows with its square."""
    assert text in [token for one in Tokenizer().sentences(f"Ada left. {text} Oslo") for token in one.tokens]
    usual = Tokenizer().sentences("(((Ada)))'s https://example.com/a?b=c&d=e " + "x" * 1000 + "!")
    assert [token for one in usual for token in one.tokens][:8] == ["(", "(", "(", "Ada", ")", ")", ")", "'s"]
    assert usual[-1].tokens[-2:] == ("x" * 1000, "!")


# -- labels ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [("A", "A-"), ("-", "--x"), ("macro avg", "micro avg"), ("B-PER", "PER")])
def test_types_of_any_name_are_scored_apart(kinds):
    gold = [[Span(kinds[0], 0, 1), Span(kinds[1], 1, 2)], [Span(kinds[0], 0, 1)]]
    predicted = [[Span(kinds[0], 0, 1), Span(kinds[0], 1, 2)], [Span(kinds[0], 0, 1)]]
    found = evaluate(gold, predicted, [3, 1])
    assert list(found.types) == sorted(kinds)
    assert [found.types[kind][0].support for kind in kinds] == [2, 1]
    assert [found.types[kind][0].recall for kind in kinds] == [1, 0]
    assert found.strict.f1 == pytest.approx(2 / 3)


def test_a_type_with_a_blank_does_not_lose_its_end(tmp_path, capsys):
    (tmp_path / "x.jsonl").write_text('{"text": "Ada left", "entities": [[0, 3, "Known Person"]]}\n')
    run("convert", tmp_path / "x.jsonl", tmp_path / "x.conll", status=2)
    assert "the conll format has no room for a blank in a type. Received: 'Known Person'" in capsys.readouterr().err
    assert not (tmp_path / "x.conll").exists()
    (sentence,) = read_sentences([str(tmp_path / "x.jsonl")])
    assert sentence.spans == (Span("Known Person", 0, 1),)


def test_halves_of_characters_beside_the_text(tmp_path, capsys):
    """In other fields they are kept, escaped; in a label they are refused, and mended by `check --fix`."""
    row = {"text": "Ada", "note": "\ud800"}
    for style, read in (("jsonl", json.loads), ("doccano", json.loads), ("labelstudio", json.loads)):
        text = "".join(
            write([Result(Item("Ada", None, row), 1, [Entity("PER", 0, 3, "Ada", 0.9)], [], 0.1)], style, ["PER"])
        )
        assert "\\ud800" in text and text.encode("utf-8") and read(text)
    (tmp_path / "x.jsonl").write_text(json.dumps({"text": "Ada left", "entities": [[0, 3, "P\ud800"]]}) + "\n")
    with pytest.raises(InputError, match="x.jsonl:1: the text holds half a surrogate pair"):
        read_sentences([str(tmp_path / "x.jsonl")])
    run("check", tmp_path / "x.jsonl", "--fix", tmp_path / "y.jsonl")
    assert "half a character: 1" in capsys.readouterr().out
    assert read_sentences([str(tmp_path / "y.jsonl")])[0].spans == (Span("P\ufffd", 0, 1),)


# -- options ---------------------------------------------------------------------------------------------------------------


def test_a_file_of_options_is_judged_with_the_flags(tmp_path):
    (tmp_path / "c.json").write_text('{"tune": 20, "elmo": "none", "token_vectors": false, "tune_options": ["dropout"]}')
    found = commands_train.parse(["--config", str(tmp_path / "c.json"), "--output", "m", "--word-vectors", "v.txt"])
    assert (found.tune, found.word_vectors, found.tune_options) == (20, "v.txt", ("dropout",))
    with pytest.raises(InputError, match="tune needs an output"):
        commands_train.parse(["--config", str(tmp_path / "c.json"), "--word-vectors", "v.txt"])


def test_options_that_would_lose_or_break_something():
    with pytest.raises(InputError, match="a fine-tuned biLM is nowhere else: include_bilm. Received: False"):
        TrainConfig(train_bilm=True, include_bilm=False)
    for size in (math.inf, math.nan, -1):
        with pytest.raises(InputError, match="cache_size must be a number of GB, at least 0"):
            TrainConfig(cache_size=size)
    with pytest.raises(InputError, match="is not here, and this is offline"):
        NerTagger(elmo="https://example.invalid/x_weights.hdf5", offline=True).fit([["a"]] * 3, [["B-X"]] * 3)


def test_sentences_without_a_token_teach_nothing(small_weights, tmp_path):
    small = {"elmo": str(small_weights), "cache_dir": str(tmp_path), "hidden_size": 4, "epochs": 1, "batch_size": 4}
    X, y = [["Ada", "left"], [], [], [], ["Oslo"]], [["B-PER", "O"], [], [], [], ["B-LOC"]]
    tagger = NerTagger(**small).fit(X, y, dev=([[]] * 30 + [["Ada"]], [[]] * 30 + [["B-PER"]]))
    assert [len(tags) for tags in tagger.predict(X)] == [2, 0, 0, 0, 1]
    assert math.isfinite(tagger.history_[0].loss)


# -- what stands on other files --------------------------------------------------------------------------------------------


def test_weights_that_changed_after_the_training_are_noticed(small_model, small_weights, tmp_path):
    weights = tmp_path / "bilm" / "weights.hdf5"
    weights.parent.mkdir()
    for name in ("weights.hdf5", "options.json"):
        (weights.parent / name).write_bytes(small_weights.with_name(name).read_bytes())
    tagger, features, config = load_model(small_model)
    own = TrainConfig.from_dict(
        config.to_dict()
        | {"elmo": str(weights), "elmo_options": str(weights.with_name("options.json")), "include_bilm": False}
    )
    save_model(tmp_path / "model", tagger, features, own, {})
    says = json.loads((tmp_path / "model" / "model.json").read_text())["bilm"]
    assert os.path.isabs(says["options"]) and len(says["sha256"]) == 64
    load_model(tmp_path / "model")
    weights.write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(InputError, match="stands on other weights than those that are in .* now"):
        load_model(tmp_path / "model")
    load_model(tmp_path / "model", weights)


def test_what_a_kill_left_of_a_segment_is_computed_again(small_weights, tmp_path):
    bilm, sentences = load_bilm(small_weights), [["a", "b"], ["c"]]
    Cache(tmp_path, 10**9).activations(bilm, sentences)
    (path,) = tmp_path.rglob("sentences.npy")
    path.unlink()
    again = Cache(tmp_path, 10**9).activations(bilm, sentences)
    assert (again.found.hits, again.found.added) == (0, 2)
    assert Cache(tmp_path, 10**9).activations(bilm, sentences).found.hits == 2
    assert not list(tmp_path.rglob("*.partial"))


def test_the_page_takes_no_files(server, tmp_path):
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\nhello\r\n--x--\r\n'
    status, _, answer = server.ask("POST", "/gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=x"})
    assert (status, json.loads(answer)["detail"]) == (404, "files are not taken here. Send text to /entities.")


def test_text_is_written_as_utf8_whatever_the_locale(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"text": "Łódź", "entities": [[0, 4, "MIEJSCE Ł"]]}\n', encoding="utf-8")
    environment = os.environ | {"PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "ner_elmo", "check", str(tmp_path / "x.jsonl")]
    found = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert found.returncode == 0, found.stderr
    assert "MIEJSCE Ł 1" in found.stdout.decode("utf-8")


def test_numbers_that_json_cannot_say(tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra `scale`")
    from ner_elmo.scaling.pieces import _plain

    assert _plain({"a": [float("nan"), 1.5, np.float64("inf"), True]}) == {"a": [None, 1.5, None, True]}
