"""`--tune`: a search that is stopped and started again finds what it would have found at once; figures of each epoch."""

import json

import pytest
from rich.console import Console

from biLM import InputError
from ner_elmo import experiment
from ner_elmo.config import NO_ELMO, TrainConfig
from ner_elmo.entities import Span
from ner_elmo.readers import Sentence

optuna = pytest.importorskip("optuna", reason="optuna is an extra")

from ner_elmo.search import search  # noqa: E402

SENTENCES = [
    Sentence(("Ada", "Lund", "left", "Oslo", "."), (Span("PER", 0, 2), Span("LOC", 3, 4))),
    Sentence(("Nobody", "spoke", "."), ()),
    Sentence(("Oslo", "called", "Ada", "."), (Span("LOC", 0, 1), Span("PER", 2, 3))),
] * 3


def config(**changes) -> TrainConfig:
    settings = {
        "elmo": NO_ELMO, "hidden_size": 8, "word_dim": 8, "batch_size": 16, "learning_rate": 0.05, "epochs": 3,
        "tune_options": ("learning_rate", "dropout"), "output": "model",
    }  # fmt: skip
    return TrainConfig(**settings | changes)


@pytest.fixture
def quiet():
    return Console(stderr=True, quiet=True)


def found_by(journal) -> list:
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    study = optuna.load_study(study_name="train_ner", storage=storage)
    return [(trial.state, trial.params, trial.value) for trial in study.trials if trial.state.name != "FAIL"]


def test_a_trial_that_fails_is_passed_over(tmp_path, quiet, monkeypatch):
    """And not tried again at the next start."""
    material, fit = experiment.gather(config(), SENTENCES, SENTENCES[:3], (), quiet), experiment.fit
    calls = []

    def failing(options, *arguments):
        calls.append(options)
        if len(calls) in (1, 3):
            raise InputError("the loss is not finite")
        return fit(options, *arguments)

    monkeypatch.setattr(experiment, "fit", failing)
    with pytest.raises(InputError, match="no trial came to its end"):
        search(config(tune=1), material, tmp_path / "journal.jsonl", quiet)
    search(config(tune=3), material, tmp_path / "journal.jsonl", quiet)
    assert [state.name for state, _, _ in found_by(tmp_path / "journal.jsonl")] == ["PRUNED", "COMPLETE", "PRUNED"]


def test_a_choice_that_leaves_nothing_to_read_is_passed_over(tmp_path, quiet):
    material = experiment.gather(config(), SENTENCES, SENTENCES[:3], (), quiet)
    best = search(config(tune=4, tune_options=("token_vectors",)), material, tmp_path / "journal.jsonl", quiet)
    ended = {(params["token_vectors"], state.name) for state, params, _ in found_by(tmp_path / "journal.jsonl")}
    assert ended == {(True, "COMPLETE"), (False, "PRUNED")}
    assert best.token_vectors


def test_a_search_goes_on_where_it_was_stopped(tmp_path, quiet):
    material = experiment.gather(config(), SENTENCES, SENTENCES[:3], (), quiet)
    at_once = search(config(tune=3), material, tmp_path / "at_once.jsonl", quiet)
    first, *_ = found_by(tmp_path / "at_once.jsonl")
    assert first[1] == {"learning_rate": 0.05, "dropout": 0.5}  # what was given, which the space lacks
    assert len({json.dumps(params) for _, params, _ in found_by(tmp_path / "at_once.jsonl")}) > 1

    journal = tmp_path / "in_parts.jsonl"
    search(config(tune=1), material, journal, quiet)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    optuna.load_study(study_name="train_ner", storage=storage).ask()  # a trial that was killed
    in_parts = search(config(tune=3, output="elsewhere"), material, journal, quiet)
    assert found_by(journal) == found_by(tmp_path / "at_once.jsonl")
    assert (in_parts.learning_rate, in_parts.dropout) == (at_once.learning_rate, at_once.dropout)
    assert search(config(tune=3), material, journal, quiet) == at_once  # nothing is left to do


def test_another_search_is_refused(tmp_path, quiet):
    material = experiment.gather(config(), SENTENCES, SENTENCES[:3], (), quiet)
    search(config(tune=1, epochs=1), material, tmp_path / "j.jsonl", quiet)
    with pytest.raises(InputError, match="j.jsonl: holds a search with epochs = 1. Received: 3"):
        search(config(tune=1), material, tmp_path / "j.jsonl", quiet)
    fewer = experiment.gather(config(), SENTENCES[1:], SENTENCES[:3], (), quiet)
    with pytest.raises(InputError, match="holds a search with sentences ="):
        search(config(tune=1, epochs=1), fewer, tmp_path / "j.jsonl", quiet)
    with pytest.raises(InputError, match=r"tune_options must be among learning_rate, .*Received: 'head'"):
        search(config(tune=1, tune_options=("head",)), material, tmp_path / "new.jsonl", quiet)
    with pytest.raises(InputError, match="tune needs an output"):
        config(tune=1, output=None)


def test_figures_of_each_epoch(tmp_path, quiet):
    pytest.importorskip("tensorboard", reason="tensorboard is an extra")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = config(tensorboard=str(tmp_path / "events"))
    material = experiment.gather(settings, SENTENCES, SENTENCES[:3], (), quiet)
    best, _ = experiment.run_seeds(settings, material, quiet)
    events = EventAccumulator(str(tmp_path / "events" / "seed-1"))
    events.Reload()
    tensors = events.Tensors("loss")
    assert [event.step for event in tensors] == [1, 2, 3]
    losses = [epoch.loss for epoch in best.trained.epochs]
    assert [event.tensor_proto.float_val[0] for event in tensors] == pytest.approx(losses)

    experiment.save(tmp_path / "model", best)
    header, *rows = (tmp_path / "model" / "history.csv").read_text().splitlines()
    assert header == "epoch,loss,dev_precision,dev_recall,dev_f1,best,seconds"
    assert [float(row.split(",")[1]) for row in rows] == pytest.approx(losses, rel=1e-4)


def test_shares_of_a_learning_curve_are_as_large_as_they_say_and_each_is_part_of_the_next():
    text = [Sentence((f"w{number}",), (), f"x:{number}") for number in range(40)]
    material = experiment.Material(text, text[:1], (), [])
    parts = [material.part(share, seed=3).train for share in experiment.SHARES]
    assert experiment.SHARES == (0.1, 0.25, 0.5, 1.0)
    assert [len(part) for part in parts] == [4, 10, 20, 40]
    for smaller, larger in zip(parts, parts[1:], strict=False):
        assert set(smaller) < set(larger)
        assert smaller == [sentence for sentence in larger if sentence in smaller]  # in the order of the file
    assert material.part(0.25, seed=4).train != parts[1]
    assert len(material.part(0.001, seed=3).train) == 1
