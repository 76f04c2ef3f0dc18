"""Progress where there is no terminal: a few lines with the time left, fewer the longer it takes."""

import gzip
import os
from io import StringIO
from itertools import count
from types import SimpleNamespace

import pytest
from rich.console import Console

import predict
from biLM.progress import progress, show_rate, show_training
from ner_elmo.alignment import Sentence
from ner_elmo.config import TrainConfig
from ner_elmo.entities import Span
from ner_elmo.experiment import fit, gather
from ner_elmo.inputs import count_items


@pytest.fixture
def clock(monkeypatch):
    """Seconds, which a test sets."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr("biLM.progress.time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def test_lines_come_when_twice_the_time_has_passed(clock):
    said = StringIO()
    with progress("counting words", Console(file=said)) as report:
        for shard in range(1, 101):
            clock.seconds += 4
            report(shard, 100)
    assert said.getvalue().splitlines() == [
        "counting words  8%  0:06:08 left", "counting words  16%  0:05:36 left", "counting words  32%  0:04:32 left",
        "counting words  64%  0:02:24 left",
    ]  # fmt: skip


def test_a_day_has_a_line_every_ten_minutes(clock):
    said = StringIO()
    with progress("prepare", Console(file=said)) as report:
        for second in range(1, 86_401):
            clock.seconds += 1
            report(second, 86_400)
    lines = said.getvalue().splitlines()
    assert len(lines) == 148  # six until 960 s
    assert lines[-2:] == ["prepare  99%  0:14:00 left", "prepare  100%  0:04:00 left"]


@pytest.mark.parametrize(
    ("text", "seconds", "total", "line"),
    [
        ("a[b].hdf5", 30, 2, "a[b].hdf5  50%  0:00:30 left\n"),
        ("what is soon done", 29, 2, ""),
        ("of an unknown number", 30, None, "of an unknown number  1\n"),
    ],
)
def test_a_line(clock, text, seconds, total, line):
    said = StringIO()
    with progress(text, Console(file=said)) as report:
        clock.seconds += seconds
        report(1, total)
    assert said.getvalue() == line


def test_a_terminal_has_its_bar_alone(clock):
    said = StringIO()
    with progress("prepare", Console(file=said, force_terminal=True)) as report:
        clock.seconds += 100
        report(1, 2)
    assert "left" not in said.getvalue()
    assert "50%" in said.getvalue()


def test_a_log_hears_of_the_first_epoch_and_then_its_table_tells(monkeypatch):
    """Of two batches an epoch, on a clock that moves by 100 s whenever it is looked at."""
    monkeypatch.setattr("biLM.progress.time", SimpleNamespace(monotonic=count(0, 100).__next__))
    console = Console(file=StringIO())
    config = TrainConfig(elmo="none", word_dim=8, hidden_size=8, epochs=2, batch_size=1)
    sentences = [Sentence(("Ada", "left"), (Span("PER", 0, 1),)), Sentence(("Oslo",), (Span("LOC", 0, 1),))]
    fit(config, gather(config, sentences, sentences, sentences, console), console)
    lines = console.file.getvalue().splitlines()
    assert lines[:2] == ["epoch  50%  0:01:40 left", "epoch  100%  0:00:00 left"]
    assert [line.split()[0] for line in lines[2:5]] == ["epoch", "1", "2"]


def test_training_is_told_of_between_its_rows(clock, capsys):
    """A run that goes on from step 1,000 counts its own steps alone."""
    row = SimpleNamespace(heldout_both=80.5, epoch=1, tokens=102_000, loss=4.1, tokens_per_second=100.0)
    with show_training() as show:
        for step in range(1001, 1101):
            clock.seconds += 1
            at_row = row if step == 1020 else None
            show(SimpleNamespace(step=step, n_steps=1101, loss=4.0, tokens_per_second=100.0, row=at_row))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("/")[0] for line in lines] == ["step    1,020", "step 1,030", "step 1,060"]
    assert lines[0].endswith(
        "  epoch 1       102,000 tokens  loss 4.100  held-out perplexity 80.50  100 tokens/s  0:01:21 left"
    )
    assert lines[1] == "step 1,030/1,101  loss 4.000  held-out perplexity 80.50  100 tokens/s  0:01:13 left"


def test_a_rate_is_of_all_that_was_done(clock, capsys):
    with show_rate("tokens") as show:
        clock.seconds += 50
        show(1, 4, 5000)
    assert capsys.readouterr().err == "25.0%  5,000 tokens  100 tokens/s  0:02:30 left\n"


@pytest.fixture
def six_texts(tmp_path):
    """Three lines, two rows of JSON, and one of CSV that holds a line end."""
    (tmp_path / "a.txt").write_text("Ada Lund left.\n\nNobody spoke.\n")
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as rows:
        rows.write('{"text": "Oslo"}\n{"text": "Turin"}\n')
    (tmp_path / "c.csv").write_text('text\n"one\ntext"\n')
    return [str(tmp_path / name) for name in ("a.txt", "b.jsonl.gz", "c.csv")]


def test_texts_are_counted_before_they_are_tagged(six_texts, tmp_path):
    assert count_items(six_texts) == 6
    assert count_items([str(tmp_path)]) == 6
    assert count_items(six_texts[1:2], "text") == 2


def test_what_cannot_be_counted_is_left_alone(six_texts, tmp_path):
    os.mkfifo(tmp_path / "pipe")  # to open it would wait for a writer
    (tmp_path / "d.conll").write_text("Oslo B-LOC\n")
    (tmp_path / "cut.txt.gz").write_bytes((tmp_path / "b.jsonl.gz").read_bytes()[:-9])
    for name in ("pipe", "d.conll", "cut.txt.gz"):
        assert count_items([*six_texts, str(tmp_path / name)]) is None
    assert count_items([]) is None  # standard input


def test_tagging_files_is_told_of(small_model, six_texts, monkeypatch, capsys):
    monkeypatch.setattr("biLM.progress.FIRST_LINE", 0.0)
    predict.main(predict.parse([*six_texts, "--model", str(small_model), "--format", "jsonl"]))
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 6
    assert err.startswith("tagging  17%  0:0")
