"""The commands as people run them: train on a small corpus, predict, and every mistake answered in one line."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import oracle
import pytest
from conftest import PROJECT, write_bilm

from biLM.errors import run_command
from ner_elmo import NerTagger, crf_baseline, experiment
from ner_elmo.__main__ import parser
from ner_elmo.predictor import LINES_AT_ONCE

TEXT = "Ada Lund left Oslo at dawn. Nobody in New York noticed 😀, said Ada Lund."


def command(*arguments, cwd, stdin: str | bytes = "", status: int = 0) -> subprocess.CompletedProcess:
    data = stdin.encode() if isinstance(stdin, str) else stdin
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "XDG_CACHE_HOME": str(cwd / "cache")}
    script = [] if arguments[0] == "-m" else [str(PROJECT / arguments[0])]
    found = subprocess.run(
        [sys.executable, *script, *map(str, arguments[len(script) :])],
        cwd=cwd, input=data, capture_output=True, env=environment, check=False,
    )  # fmt: skip
    assert found.returncode == status, found.stderr.decode()
    return found


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A directory with a small corpus, a random biLM and a tagger trained on them by the command."""
    folder = tmp_path_factory.mktemp("work")
    options = oracle.random_options()
    write_bilm(folder / "bilm", options, oracle.random_weights(options))
    sentences = [
        "Ada B-PER\nLund I-PER\nleft O\nOslo B-LOC\n. O\n", "Nobody O\nspoke O\n. O\n",
        "New B-LOC\nYork I-LOC\nslept O\n. O\n", "Oslo B-LOC\ncalled O\nAda B-PER\n. O\n",
    ] * 5  # fmt: skip
    (folder / "train.conll").write_text("\n".join(sentences))
    (folder / "dev.conll").write_text("\n".join(sentences[:4]))
    (folder / "config.json").write_text(
        json.dumps({"hidden_size": 32, "learning_rate": 0.01, "epochs": 50, "dropout": 0.0, "patience": 80})
    )
    found = command(
        "train_ner.py", "--train", "train.conll", "--dev", "dev.conll", "--test", "dev.conll", "--elmo", "bilm/weights.hdf5",
        "--config", "config.json", "--epochs", "80", "--batch-size", "20", "--output", "model", cwd=folder,
    )  # fmt: skip
    (folder / "stdout.txt").write_bytes(found.stdout)
    (folder / "stderr.txt").write_bytes(found.stderr)
    return folder


@pytest.fixture
def inside(workplace, monkeypatch, capsys, eager):
    """Runs `python -m ner_elmo ...` in this process, where Keras is loaded already: gives standard output and error."""
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("XDG_CACHE_HOME", str(workplace / "cache"))

    def run(*arguments, status: int = 0) -> tuple[str, str]:
        args = parser().parse_args(arguments)
        assert run_command(f"ner_elmo {args.command}", lambda: args.run(args)) == status
        return capsys.readouterr()

    return run


def test_training_reports_and_saves(workplace):
    out, err = ((workplace / f"{name}.txt").read_text() for name in ("stdout", "stderr"))
    assert "all (micro)" in out
    assert "strict IOB2 (seqeval" in out
    assert "mix: " in out
    assert "model: model (" in out
    rows = [line for line in err.splitlines() if line.strip()[:1].isdigit() and "<0:" in line]
    assert len(rows) >= 6  # a row an epoch
    config = json.loads((workplace / "model" / "model.json").read_text())["config"]
    assert (config["epochs"], config["hidden_size"]) == (80, 32)  # flag over file over default
    names = {path.relative_to(workplace / "model").as_posix() for path in (workplace / "model").rglob("*")}
    assert names == {
        "model.json", "scores.json", "confidence.json", "tagger.weights.h5", "words.txt", "bilm", "bilm/options.json",
        "bilm/weights.hdf5", "report.json", "report.html", "README.md", "history.csv",
    }  # fmt: skip
    assert not [p for p in workplace.iterdir() if p.name.startswith(".")]
    test = json.loads((workplace / "model" / "report.json").read_text())["test"]
    known, new = (test["novelty"][part]["strict"]["support"] for part in ("known", "new"))
    assert known > 0 and known + new == test["scores"]["strict"]["support"]


def test_a_model_that_moved_predicts_the_same(workplace, tmp_path):
    here = NerTagger.load(workplace / "model")
    shutil.copytree(workplace / "model", tmp_path / "elsewhere" / "m")
    there = NerTagger.load(tmp_path / "elsewhere" / "m")
    assert here.tag(TEXT) == there.tag(TEXT)
    assert any(entity.text == "Ada Lund" and entity.type == "PER" for entity in here.tag(TEXT))


def test_jsonl_has_one_row_a_line_with_exact_offsets(workplace):
    lines = [TEXT, "", "   ", "nothing here", "Oslo\tand\u00a0New York e\u0301", "x" * 10_000 + " Oslo"]
    found = command("predict.py", "--format", "jsonl", cwd=workplace, stdin="\ufeff" + "\r\n".join(lines) + "\n")
    rows = [json.loads(row) for row in found.stdout.decode().splitlines()]
    assert [row["text"] for row in rows] == lines
    for row in rows:
        assert set(row) == {"text", "entities"}
        for entity in row["entities"]:
            assert set(entity) == {"type", "start", "end", "text", "confidence"}
            assert row["text"][entity["start"] : entity["end"]] == entity["text"]
            assert 0 < entity["confidence"] <= 1
    assert rows[0]["entities"]
    assert found.stderr == b""


def test_files_texts_and_formats(workplace, inside):
    (workplace / "in.txt").write_text("Oslo called Ada .\n")
    marked, _ = inside("predict", "in.txt", "--model", "model")
    assert marked.startswith("[Oslo](LOC ")
    assert marked.count("\n") == 1
    conll, _ = inside("predict", "in.txt", "--format", "conll", "--tokenized", "--model", "model")
    assert conll == "Oslo B-LOC\ncalled O\nAda B-PER\n. O\n\n"
    texts, _ = inside("predict", "--format", "jsonl", "--model", "model", "--text", "Oslo .", "Ada .")
    assert [json.loads(row)["text"] for row in texts.splitlines()] == ["Oslo .", "Ada ."]


def test_order_and_batch_mates_do_not_matter(workplace):
    tagger = NerTagger.load(workplace / "model")
    texts = [TEXT, "Oslo called Ada .", "Nobody spoke ."] * (LINES_AT_ONCE // 2)
    found = list(tagger.tag_lines(texts))
    assert [text for text, _ in found] == texts
    alone = {text: tagger.tag(text) for text in set(texts)}
    for text, entities in found:
        assert [(e.type, e.start, e.end) for e in entities] == [(e.type, e.start, e.end) for e in alone[text]]
        np.testing.assert_allclose([e.confidence for e in entities], [e.confidence for e in alone[text]], atol=1e-5)


def test_a_stream_is_read_only_as_far_as_needed(workplace):
    read = []

    def endless():
        while True:
            read.append(1)
            yield "Oslo called Ada ."

    stream = NerTagger.load(workplace / "model").tag_lines(endless())
    for _ in range(3):
        next(stream)
    assert len(read) == 2 * LINES_AT_ONCE  # one chunk is tagged while the next is read


def test_a_sentence_of_5000_tokens_is_tagged_to_its_end(workplace):
    text = "Ada Lund left Oslo . " * 1000
    ((_, entities),) = NerTagger.load(workplace / "model").tag_lines([text], tokenized=True)
    assert len(entities) >= 1000  # all along, and the last one where the text ends
    assert entities[-1].end == len(text) - len(" . ")


def test_another_bilm(workplace, inside):
    options = oracle.random_options()
    write_bilm(workplace / "other", options, oracle.random_weights(options, seed=1))
    inside("predict", "--model", "model", "--elmo", "other/weights.hdf5", "--text", "Oslo")
    options = oracle.random_options(lstm__projection_dim=6)
    write_bilm(workplace / "wide", options, oracle.random_weights(options))
    found = inside("predict", "--model", "model", "--elmo", "wide/weights.hdf5", "--text", "Oslo", status=2)
    assert_one_line(found, "needs a biLM of width 10 with 3 layers. Received: width 12, 3 layers")


def assert_one_line(found: subprocess.CompletedProcess | tuple[str, str], message: str) -> None:
    stderr = found.stderr.decode() if isinstance(found, subprocess.CompletedProcess) else found[1]
    lines = stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert message in lines[0]


MISTAKES = {
    "missing file": (["--train", "nowhere.conll"], "nowhere.conll: No such file or directory"),
    "empty corpus": (["--dev", "empty.conll"], "empty.conll: must hold at least one sentence"),
    "one column": (["--train", "one.conll"], "one.conll:2: expected 2 columns or more, got 1: 'b'"),
    "no entity": (["--train", "plain.conll"], "plain.conll: must hold at least one entity"),
    "a file as output": (["--output", "train.conll"], "train.conll: must be a directory"),
    "no tokenizer": (["--lang", "zz"], "no tokenizer for the language 'zz'"),
    "an output in use": (["--output", "model"], "model: holds a model already. Name another, or --overwrite it"),
    "an output of others": (["--output", "bilm"], "bilm: must be empty or hold a model"),
    "an unknown key": (["--config", "typo.json"], "typo.json: unknown option 'drpout'. Did you mean 'dropout'?"),
    "a wrong type": (["--config", "type.json"], "type.json: 'epochs' must be a whole number. Received: 'many'"),
    "no JSON": (["--config", "train.conll"], "train.conll: not a JSON file"),
    "an impossible value": (["--dropout", "1.5"], "dropout must be at least 0 and below 1. Received: 1.5"),
    "reading nothing": (
        ["--elmo", "none", "--no-token-vectors"],
        "without token_vectors and word_vectors there must be a biLM",
    ),
    "fine-tuning nothing": (["--elmo", "none", "--train-bilm"], "train_bilm needs a biLM"),
}


@pytest.fixture(scope="module")
def mistakes(workplace):
    (workplace / "empty.conll").write_text("\n")
    (workplace / "one.conll").write_text("a O\nb\n")
    (workplace / "plain.conll").write_text("a O\n")
    (workplace / "typo.json").write_text('{"drpout": 0.1}')
    (workplace / "type.json").write_text('{"epochs": "many"}')
    return workplace


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_said_at_once(mistakes, inside, arguments, message):
    base = ["--train", "train.conll", "--dev", "dev.conll", "--test", "dev.conll", "--output", "fresh"]
    assert_one_line(inside("train", *base, *arguments, status=2), message)
    assert not (mistakes / "fresh").exists()


def test_an_output_that_cannot_be_written(mistakes):
    found = command("train_ner.py", "--output", "/proc/models/m", cwd=mistakes, status=2)  # root may not write there either
    assert_one_line(found, "/proc/models/m: cannot be written")


def test_prediction_mistakes(workplace, tmp_path):
    assert_one_line(command("predict.py", cwd=tmp_path, status=2), "no model was trained here yet")
    assert_one_line(command("predict.py", "--model", "nowhere", cwd=tmp_path, status=2), "nowhere: is no model directory")
    found = command("predict.py", cwd=workplace, stdin="fine\ncaf\u00e9\n".encode("latin-1"), status=2)
    assert_one_line(found, "standard input:2: must be UTF-8. Received the byte 0xe9")
    assert_one_line(command("predict.py", "nowhere.txt", cwd=workplace, status=2), "nowhere.txt: No such file")


def test_a_damaged_model_is_named(workplace, inside, tmp_path):
    shutil.copytree(workplace / "model", tmp_path / "m")
    predict = ("predict", "--model", str(tmp_path / "m"), "--text", "x")
    (tmp_path / "m" / "tagger.weights.h5").write_bytes(b"not HDF5")
    assert_one_line(inside(*predict, status=2), "m/tagger.weights.h5: not an HDF5 file, or a damaged one")
    (tmp_path / "m" / "model.json").write_text('{"format": 99}')
    assert_one_line(inside(*predict, status=2), "m/model.json: format must be 1. Received: 99")


def test_evaluate_says_what_training_said(workplace, inside):
    found, _ = inside("evaluate", "model", "dev.conll", "--json")
    assert json.loads(found) == json.loads((workplace / "model" / "scores.json").read_text())
    table, _ = inside("evaluate", "model", "dev.conll")
    assert "all (micro)" in table and "strict IOB2 (seqeval" in table
    assert_one_line(inside("evaluate", "bilm", "dev.conll", status=2), "is no model directory")


def test_compare_says_how_far_luck_goes(workplace, inside):
    found, _ = inside("compare", "model", "model", "dev.conll", "--json")
    result = json.loads(found)
    assert (result["p"], result["difference"], result["sentences"]) == (1.0, 0.0, 4)
    assert inside("compare", "model", "model", "--json")[0] == found  # dev.conll was its test file
    shutil.copytree(workplace / "model", workplace / "elsewhere")
    description = json.loads((workplace / "model" / "model.json").read_text())
    description["config"]["test"] = ["other.conll"]
    (workplace / "elsewhere" / "model.json").write_text(json.dumps(description))
    refused = inside("compare", "model", "elsewhere", status=2)
    assert_one_line(refused, "scored on dev.conll, and elsewhere, on other.conll")


def test_another_bilm_is_swapped_in_or_trained_for(workplace, inside):
    for name, changes in (("same", {}), ("wide", {"lstm__projection_dim": 6})):
        options = oracle.random_options(**changes)
        write_bilm(workplace / name, options, oracle.random_weights(options, seed=2))
    shutil.copytree(workplace / "model", workplace / "short")
    description = json.loads((workplace / "short" / "model.json").read_text())
    description["config"]["epochs"] = 1
    (workplace / "short" / "model.json").write_text(json.dumps(description))
    swap = ("swap", "short", "--dev", "dev.conll", "--elmo")
    found, _ = inside(*swap, "same/weights.hdf5", "--out", "swapped")
    assert "before  dev F1" in found and "swapped dev F1" in found
    own, swapped = (NerTagger.load(workplace / name) for name in ("model", "swapped"))
    assert not np.array_equal(own.features.bilm.embed([["Oslo"]])[0], swapped.features.bilm.embed([["Oslo"]])[0])
    _, refused = inside(*swap, "wide/weights.hdf5", status=2)
    assert "has width 12 and 3 layers" in refused and "--retrain --out DIR" in refused
    found, _ = inside(*swap, "wide/weights.hdf5", "--retrain", "--out", "retrained")
    assert "trained dev F1" in found
    assert NerTagger.load(workplace / "retrained").features.bilm.width == 12
    (workplace / "short" / "model.json").write_text(json.dumps(description | {"bilm": None}))
    _, refused = inside(*swap, "same/weights.hdf5", status=2)
    assert "was trained without ELMo, so no biLM can be put into it" in refused


def test_seeds_baseline_and_learning_curve(workplace, inside, monkeypatch):
    """Of the learning curve only the half and the whole."""
    monkeypatch.setattr("ner_elmo.experiment.SHARES", (0.5, 1.0))
    out, _ = inside(
        "train", "--train", "train.conll", "--dev", "dev.conll", "--test", "dev.conll", "--elmo", "none", "--epochs", "1",
        "--hidden-size", "4", "--output", "model3", "--seeds", "2", "--learning-curve", "--baseline", "crf",
    )  # fmt: skip
    assert "over 2 seeds" in out and "+- " in out
    assert "CRF baseline: test F1 100.00; this tagger:" in out
    rows = [line.split() for line in out.splitlines() if line.split()[:1] in (["50%"], ["100%"])]
    assert [row[:2] for row in rows] == [["50%", "10"], ["100%", "20"]]
    assert "from 50% to 100% of the labels test F1" in out
    runs = json.loads((workplace / "model3" / "runs.json").read_text())
    assert [run["name"] for run in runs["seeds"]] == ["seed 1", "seed 2"]
    assert [run["sentences"] for run in runs["learning_curve"]] == [10, 20]
    assert runs["baseline"]["f1"] == 1.0
    assert (workplace / "model3" / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_search_as_a_command(workplace, inside):
    pytest.importorskip("optuna", reason="optuna is an extra")
    files = ("--train", "train.conll", "--dev", "dev.conll", "--test", "dev.conll", "--output", "tuned")
    words = ("train", *files, "--elmo", "none", "--epochs", "1", "--hidden-size", "4", "--tune-options", '["learning_rate"]')
    inside(*words, "--tune", "1")
    journal = (workplace / "tuned.tune.jsonl").read_text()
    out, _ = inside(*words, "--tune", "2", "--overwrite")  # goes on
    assert (workplace / "tuned.tune.jsonl").read_text().startswith(journal)
    assert NerTagger.load(workplace / "tuned") is not None
    assert "tuned" in out


def test_a_baseline_without_its_library_is_said_before_anything_is_trained(workplace, inside, monkeypatch):
    monkeypatch.setattr(crf_baseline, "find_spec", lambda name: None)
    monkeypatch.setattr(experiment, "gather", None)
    _, refused = inside(
        "train", "--train", "train.conll", "--dev", "dev.conll", "--test", "dev.conll", "--elmo", "none",
        "--output", "model4", "--baseline", "crf", status=2,
    )  # fmt: skip
    assert "--baseline crf needs sklearn-crfsuite: pip install 'ner-elmo[crf]'." in refused


def test_what_is_odd_in_dev_and_test_is_named(workplace, inside):
    (workplace / "dev2.conll").write_text("March B-DATE\n\nit O\nrained O\n")
    (workplace / "test2.conll").write_text((workplace / "dev.conll").read_text() + "\nAcme B-ORG2\n")
    _, err = inside(
        "train", "--train", "train.conll", "--dev", "dev2.conll", "--test", "test2.conll", "--elmo", "none",
        "--epochs", "2", "--hidden-size", "4", "--output", "model2",
    )  # fmt: skip
    for name, kind in (("dev", "DATE"), ("test", "ORG2")):
        assert f"{name} holds types that training lacks, all of them will be missed: {kind}" in err
        page = (workplace / "model2" / "report.html").read_text()
        assert f"{name}2.conll ({name}) holds types that training lacks; all of them are missed: {kind}" in page
    assert "dev holds no entity that can be learned, so the epoch that is kept is the last" in err
    (repeated,) = [line for line in err.splitlines() if "in training" in line]
    assert repeated.startswith("note: 4 of 5 test sentences are in training, too, ")
    assert "dev holds no entity that can be learned, so the epoch that was kept is the last." in page
    kept = [row["best"] for row in json.loads((workplace / "model2" / "report.json").read_text())["training"]["epochs"]]
    assert kept == [True, True]  # each in its turn


def test_one_sentence_and_one_type_are_enough_to_learn_them(workplace, inside):
    (workplace / "one.conll").write_text("Ada B-PER\nLund I-PER\nleft O\nOslo O\n. O\n")
    files = [word for side in ("train", "dev", "test") for word in (f"--{side}", "one.conll")]
    out, err = inside(
        "train", *files, "--elmo", "none", "--epochs", "12", "--patience", "12", "--hidden-size", "16", "--dropout", "0",
        "--word-dropout", "0", "--learning-rate", "0.05", "--output", "by-heart",
    )  # fmt: skip
    assert "1 training, 1 dev and 1 test sentences; types: PER\n" in err
    assert ["PER", *["100.00"] * 6, "1"] in [line.split() for line in out.splitlines()]
    (entity,) = NerTagger.load(workplace / "by-heart").tag("Ada Lund left Oslo .")
    assert (entity.type, entity.text) == ("PER", "Ada Lund")
