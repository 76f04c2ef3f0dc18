"""The table of tagger variants: each row is run once, also where the table was cut off."""

import json

import pytest

from benchmarks import ner_quality
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
    assert row[0] == "| toy" and row[4] == "2" and "±" in row[5]
