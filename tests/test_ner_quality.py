"""The table of tagger variants: each row is run once, also where the table was cut off."""

import json

import pytest

from benchmarks import ner_quality
from biLM.errors import InputError, Stopped
from ner_elmo import experiment

TEXT = "Ada B-PER\nleft O\nOslo B-LOC\n\nBo B-PER\nsaw O\nLund B-LOC\n"


@pytest.fixture
def command(tmp_path):
    (tmp_path / "data" / "toy").mkdir(parents=True)
    for side in ("train", "dev", "test"):
        (tmp_path / "data" / "toy" / f"{side}.conll").write_text(TEXT)
    small = [part for option in ("epochs=1", "hidden_size=4", "word_dim=4") for part in ("--option", option)]
    return ["--data", str(tmp_path / "data"), "--variants", "no ELMo", "--results", str(tmp_path / "rows.jsonl"), *small]


def test_a_finished_row_is_not_run_again_and_a_cut_one_is(command, tmp_path, monkeypatch, capsys):
    runs = []
    run = experiment.run
    monkeypatch.setattr(experiment, "run", lambda config, *rest: runs.append(config.seed) or run(config, *rest))
    path = tmp_path / "rows.jsonl"
    ner_quality.main(ner_quality.parse([*command, "--seeds", "1", "2"]))
    assert runs == [1, 2]
    first, second = path.read_text().splitlines()
    assert json.loads(first)["config"]["hidden_size"] == 4 and json.loads(second)["seed"] == 2
    path.write_text(f"{first}\n{second[:-1]}")  # killed while it wrote
    ner_quality.main(ner_quality.parse([*command, "--seeds", "1", "2"]))
    assert runs == [1, 2, 2]
    capsys.readouterr()
    ner_quality.main(ner_quality.parse([*command, "--seeds", "1", "2", "3", "--show"]))
    assert runs == [1, 2, 2]
    row = capsys.readouterr().out.splitlines()[-1].split(" | ")
    assert row[:2] == ["| toy", "all"] and row[6] == "2" and "±" in row[7] and "±" in row[8]


def test_an_interrupted_training_is_no_row(command, tmp_path, monkeypatch):
    def interrupt(table, epoch):
        raise KeyboardInterrupt

    monkeypatch.setattr("ner_elmo.report.EpochTable.__call__", interrupt)  # after an epoch that could be kept
    with pytest.raises(Stopped, match="this row is not written"):
        ner_quality.main(ner_quality.parse(command))
    assert not (tmp_path / "rows.jsonl").exists()


def test_rows_are_told_apart_by_weights_and_by_sentences(command, tmp_path):
    place = tmp_path / "mine"
    place.mkdir()
    rows = []
    for content in (b"one", b"two"):
        (place / "weights.hdf5").write_bytes(content)
        for more in ([], ["--sentences", "1"]):
            args = ner_quality.parse([*command, "--variants", "default", "--elmo", str(place), *more])
            rows += ner_quality.rows(args)
    assert len(set(map(ner_quality.key_of, rows))) == 4
    assert {row["bilm"] for row in rows} == {"mine"}
    assert ner_quality.fingerprint(str(place)) == ner_quality.fingerprint(str(place / "weights.hdf5"))


def test_the_hand_made_crf_is_a_row_without_a_seed(command, tmp_path, capsys):
    pytest.importorskip("sklearn_crfsuite", reason="sklearn-crfsuite is an extra")
    ner_quality.main(ner_quality.parse([*command, "--variants", "CRF", "--seeds", "1", "2", "--sentences", "1"]))
    (row,) = map(json.loads, (tmp_path / "rows.jsonl").read_text().splitlines())
    assert (row["seed"], row["bilm"], row["sentences"]) == (0, "none", 1) and 0 <= row["test_f1"] <= 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("| toy | 1 | CRF | none | none |  | 1 |")


def test_another_tool_is_known_by_the_raw_text_that_it_learns_from(command, tmp_path):
    raw = tmp_path / "news" / "raw.txt"
    raw.parent.mkdir()
    rows = []
    for lines in ([], ["Ada left Oslo\n"], ["Bo saw Lund\n"]):
        raw.write_text("".join(lines))
        given = ["--raw", str(raw)] if lines else []
        rows += ner_quality.rows(ner_quality.parse([*command, "--variants", "spaCy", "--peers", str(tmp_path), *given]))
    assert len(set(map(ner_quality.key_of, rows))) == 3 and [row["bilm"] for row in rows] == ["none", "news", "news"]
    with pytest.raises(InputError, match="spaCy and Flair are run by the scripts of --peers DIR"):
        ner_quality.parse([*command, "--variants", "spaCy"])


@pytest.mark.slow
def test_spacy_is_trained_on_the_same_files_and_raw_text(command, shared, tmp_path, capsys):
    raw = tmp_path / "raw.txt"
    raw.write_text("Ada left Oslo\nBo saw Lund\n" * 8)
    steps = ["--option", "max-steps=4", "--option", "eval-frequency=2", "--option", "pretrain-epochs=1"]
    call = [command[0], command[1], "--results", command[5], "--variants", "spaCy", "--peers", str(shared / "peers"), *steps]
    ner_quality.main(ner_quality.parse([*call, "--seeds", "3", "--raw", str(raw)]))
    (row,) = map(json.loads, (tmp_path / "rows.jsonl").read_text().splitlines())
    assert row["printed"]["peer"] == "spacy-blank-en+pretrain" and row["printed"]["pretrain_s"] > 0
    assert row["printed"]["seed"] == 3 and row["printed"]["train_sents"] == 2
    assert row["test_f1"] == row["printed"]["F1"] / 100
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"| toy | all | spaCy | {tmp_path.name} | ")
