"""Suspected label errors: folds hide a sentence from its own tagger, and planted errors are found."""

import json
import random
import re

import numpy as np
import pytest

from biLM import InputError
from ner_elmo.__main__ import parser
from ner_elmo.config import TrainConfig
from ner_elmo.entities import Span, TagSet
from ner_elmo.formats.document import from_tokens
from ner_elmo.formats.table import write
from ner_elmo.readers import Sentence, read_sentences
from ner_elmo.suspects import Labels, Suspect, find_suspects, folds, suspects

PEOPLE = ["Ada Lund", "Tomas Brandt", "Ines Okafor", "Olu Adeyemi", "Mira Castellanos", "Jonas Weir"]
PLACES = ["Oslo", "Turin", "Ohrid", "Nairobi", "Halifax", "Bergen"]
FRAMES = [
    "{p} left {l} at dawn .", "Nobody in {l} knew {p} .", "{p} met {p2} there .", "The ferry to {l} was late .",
    "It rained hard in {l} today .", "{p} slept well in {l} .", "Again it rained all week long .", "From {l} we saw {p} .",
]  # fmt: skip


def corpus(n: int, seed: int = 0) -> list[Sentence]:
    """Sentences made of frames, with their entities."""
    rng, sentences = random.Random(seed), []
    for number in range(n):
        tokens: list[str] = []
        spans = []
        for word in rng.choice(FRAMES).split():
            names = {"p": PEOPLE, "l": PLACES}.get(word.strip("{}")[:1]) if word.startswith("{") else None
            piece = rng.choice(names).split() if names else [word]
            if names:
                spans.append(Span("PER" if names is PEOPLE else "LOC", len(tokens), len(tokens) + len(piece)))
            tokens += piece
        sentences.append(Sentence(tuple(tokens), tuple(spans), f"made.conll:{number}"))
    return sentences


def with_errors(sentences: list[Sentence], n: int, seed: int = 1) -> tuple[list[Sentence], set[tuple[str, int]]]:
    """The same with n entities lost or of the wrong type, and where: (where, token)."""
    rng, result, planted = random.Random(seed), list(sentences), set()
    for position in rng.sample([k for k, s in enumerate(sentences) if s.spans], n):
        sentence = sentences[position]
        wrong = rng.choice(sentence.spans)
        spans = [span for span in sentence.spans if span != wrong]
        if rng.random() < 0.5:
            spans = sorted([*spans, Span("LOC" if wrong.type == "PER" else "PER", wrong.start, wrong.end)])
        result[position] = Sentence(sentence.tokens, tuple(spans), sentence.where)
        planted |= {(sentence.where, token) for token in range(wrong.start, wrong.end)}
    return result, planted


@pytest.mark.slow
def test_planted_errors_are_found(tmp_path, capsys):
    """By the command, from file to file."""
    pytest.importorskip("cleanlab", reason="the extra `suspects` is not installed")
    sentences, planted = with_errors(corpus(300), 15)
    file = tmp_path / "made.conll"
    write([from_tokens(sentence.tokens, sentence.spans, "") for sentence in sentences], file, "conll")
    assert [(one.tokens, one.spans) for one in read_sentences(file)] == [(one.tokens, one.spans) for one in sentences]
    number_of = {one.where: number for number, one in enumerate(read_sentences(file))}
    # one batch an epoch, always of the same shape: TensorFlow traces once a fold, which is most of this test's time
    network = ("--elmo", "none", "--hidden-size", 24, "--word-dim", 24, "--dropout", 0.2)
    training = ("--epochs", 110, "--learning-rate", 0.01, "--batch-size", 512, "--folds", 2)
    run(file, *network, *training, "--out", tmp_path / "found.jsonl", "--top", 3)
    out, said = capsys.readouterr()
    found = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert f"{len(found)} suspects in " in said and said.rstrip().endswith("of 300 sentences")
    shown = re.findall(r"^(\d\.\d{4}) ", out, re.MULTILINE)
    assert shown == [f"{row['score']:.4f}" for row in found[:3]]
    scores = [row["score"] for row in found]
    assert scores == sorted(scores)
    tokens = [(f"made.conll:{number_of[row['where']]}", token) for row in found for token in range(row["start"], row["end"])]
    hits = len(planted.intersection(tokens))
    by_chance = len(planted) / sum(len(sentence.tokens) for sentence in sentences)  # of the tokens, one drawn at random
    assert hits >= 0.7 * len(planted)
    assert hits / len(tokens) >= 0.4 > 20 * by_chance


def test_a_sentence_and_its_copies_share_a_fold():
    sentences = corpus(60)
    parts = folds(sentences, 4, seed=3)
    assert sorted(position for part in parts for position in part) == list(range(60))
    for part in parts:
        inside = {sentences[position].tokens for position in part}
        outside = {sentences[position].tokens for position in set(range(60)) - set(part)}
        assert not inside & outside
    assert parts == folds(sentences, 4, seed=3) != folds(sentences, 4, seed=4)


def test_neighbouring_tokens_are_one_suspect():
    pytest.importorskip("cleanlab", reason="the extra `suspects` is not installed")
    labels = Labels(["LOC"])
    sentences = [Sentence(("New", "York", "slept"), (Span("LOC", 0, 2),), f"a:{k}") for k in range(30)]
    sentences.append(Sentence(("New", "York", "slept"), (), "a:30"))
    rows = [np.array([[0.02, 0.96, 0.02], [0.02, 0.02, 0.96], [0.98, 0.01, 0.01]])] * 31
    (found,) = suspects(sentences, rows, labels)
    assert 0 <= found.score < 0.5
    expected = Suspect("a:30", ("New", "York", "slept"), 0, 2, ("O", "O"), ("B-LOC", "I-LOC"), found.score)
    assert found == expected
    assert found.text == "[New York] slept"


def test_tags_of_a_model_become_labels():
    labels, tag_set = Labels(["LOC", "PER"]), TagSet(["LOC", "PER"])
    of_tags = np.arange(9.0)[None]
    assert tag_set.tags[:5] == ["O", "B-LOC", "I-LOC", "E-LOC", "S-LOC"]
    assert labels.probabilities(of_tags, tag_set).tolist() == [[0, 1 + 4, 2 + 3, 5 + 8, 6 + 7]]


def run(*arguments) -> None:
    args = parser().parse_args(["suspects", *map(str, arguments)])
    args.run(args)


def test_the_command_reads_files_as_it_is_told(tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr("ner_elmo.suspects.find_suspects", lambda config, sentences, *more: seen.append(sentences) or [])
    (tmp_path / "x.tsv").write_text("1\tLund\tB-PER\tO\n2\tleft\tO\tO\n")
    run(tmp_path / "x.tsv", "--elmo", "none", "--columns", "[2, 3]")
    assert [(one.tokens, one.spans) for one in seen[0]] == [(("Lund", "left"), (Span("PER", 0, 1),))]
    assert "0 suspects in 0 of 1 sentences" in capsys.readouterr().err
    monkeypatch.setenv("NER_ELMO_OFFLINE", "")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(InputError, match="small: options.json is not here, and this is offline"):
        run(tmp_path / "x.tsv", "--elmo", "small", "--offline")


def test_what_cannot_be_split_is_said():
    with pytest.raises(InputError, match="the folds must be 2 to 1, the number of different sentences. Received: 5."):
        folds([Sentence(("a",), (), "x:1")] * 3, 5, seed=1)
    pytest.importorskip("cleanlab", reason="the extra `suspects` is not installed")
    with pytest.raises(InputError, match="at least one entity"):
        find_suspects(TrainConfig(), [Sentence(("a",), (), "x:1")])
