"""The numbers of a report against what they must be by hand or by counting."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biLM.errors import InputError
from biLM.files import write_object
from ner_elmo.__main__ import parser
from ner_elmo.config import TrainConfig
from ner_elmo.decoding import Scores, forward_backward
from ner_elmo.entities import Span, TagSet
from ner_elmo.marginals import outside_probability, tag_probabilities
from ner_elmo.model_directory import DESCRIPTION
from ner_elmo.readers import Sentence, read_sentences
from ner_elmo.reporting import intervals
from ner_elmo.reporting.calibration import Bin, calibration
from ner_elmo.reporting.data import (
    _seen_again,
)
from ner_elmo.reporting.data_summary import Seen, sha256_of, summarise
from ner_elmo.reporting.intervals import bootstrap
from ner_elmo.reporting.judged import Judged, evaluation_of
from ner_elmo.reporting.matches import matches
from ner_elmo.reporting.mistakes import CONTEXT, confusion, mistakes, pairs, worst
from ner_elmo.reporting.novelty import novelty
from ner_elmo.reporting.page import segments


def judged(tokens, gold=(), predicted=(), where="test.conll:1") -> Judged:
    """predicted: (span, confidence)."""
    tokens = tuple(tokens.split())
    outside = tuple(0.5 for _ in gold)
    return Judged(
        Sentence(tokens, tuple(gold), where), tuple(span for span, _ in predicted), tuple(p for _, p in predicted), outside
    )


SOME = [
    judged(
        "Ada Lund left Oslo .",
        [Span("PER", 0, 2), Span("LOC", 3, 4)],
        [(Span("PER", 0, 2), 0.97), (Span("ORG", 3, 4), 0.8)],
    ),
    judged("the Bank of Turin closed", [Span("ORG", 1, 4)], [(Span("LOC", 3, 4), 0.6)]),
    judged("it rained in May", [], [(Span("PER", 3, 4), 0.3)]),
    judged("Lund slept", [Span("PER", 0, 1)]),
]  # fmt: skip


def spans_in(n: int):
    """Disjoint spans of a sentence of n tokens."""

    def made(drawn) -> tuple[Span, ...]:
        borders, kinds = drawn
        return tuple(Span(*parts) for parts in zip(kinds, borders[::2], borders[1::2], strict=False))

    borders = st.lists(st.integers(0, n), unique=True, max_size=6).map(sorted)
    return st.tuples(borders, st.lists(st.sampled_from("ABC"), min_size=3, max_size=3)).map(made)


corpora = st.lists(st.tuples(spans_in(9), spans_in(9)), min_size=1, max_size=5).map(
    lambda sides: [judged("x " * 9, gold, [(span, 0.5) for span in predicted]) for gold, predicted in sides]
)


def test_marginals_are_what_counting_all_sequences_gives():
    rng, tag_set, n = np.random.default_rng(0), TagSet(["A"]), 4
    size = len(tag_set)
    transitions = np.where(tag_set.legal, rng.normal(size=(size, size)), -np.inf)
    start = np.where(tag_set.legal_start, rng.normal(size=size), -np.inf)
    end = np.where(tag_set.legal_end, rng.normal(size=size), -np.inf)
    scores, emissions = Scores(transitions, start, end), rng.normal(size=(1, n, size)).astype(np.float32)
    (lattice,) = forward_backward(emissions, np.array([n]), scores)
    weight_of = {}
    for tags in itertools.product(range(size), repeat=n):
        score = start[tags[0]] + end[tags[-1]] + sum(float(emissions[0, t, tag]) for t, tag in enumerate(tags))
        weight_of[tags] = np.exp(score + sum(transitions[a, b] for a, b in itertools.pairwise(tags)))
    total = sum(weight_of.values())
    expected = np.zeros((n, size))
    for tags, weight in weight_of.items():
        expected[np.arange(n), tags] += weight / total
    np.testing.assert_allclose(tag_probabilities(lattice), expected, atol=1e-9)
    free = sum(weight for tags, weight in weight_of.items() if tags[1] == tags[2] == tag_set.id_of["O"]) / total
    found = outside_probability(Span("A", 1, 3), emissions[0], lattice, scores, tag_set)
    assert found == pytest.approx(free, abs=1e-9) and 0 < found < 1


def test_kinds_of_mistakes():
    kinds = [[pair.kind for pair in pairs(one)] for one in SOME]
    assert kinds == [["right", "type"], ["type and borders"], ["spurious"], ["missed"]]
    found = mistakes(SOME)
    assert [(m.kind, m.confidence) for m in found] == [
        ("type", 0.8), ("type and borders", 0.6), ("missed", 0.5), ("spurious", 0.3)
    ]  # fmt: skip
    assert [m.kind for m in worst(found, 3)] == ["type", "missed", "spurious"]
    shown = [("the", False, False), ("Bank of", True, False), ("Turin", True, True), ("closed", False, False)]
    assert list(segments(found[1])) == shown


def test_a_mistake_is_shown_with_some_context():
    (found,) = mistakes([judged("a " * 50 + "Oslo " + "b " * 50, [Span("LOC", 50, 51)])])
    assert found.tokens == ("a",) * CONTEXT + ("Oslo",) + ("b",) * CONTEXT
    assert found.tokens[found.gold.start : found.gold.end] == ("Oslo",)
    assert found.cut_left and found.cut_right
    (whole,) = mistakes([judged("in Oslo .", [Span("LOC", 1, 2)])])
    assert whole.tokens == ("in", "Oslo", ".") and not whole.cut_left and not whole.cut_right


def test_confusion_counts_what_is_missed_and_spurious():
    found = confusion(SOME)
    assert found.types == ("LOC", "ORG", "PER")
    assert found.counts == ((0, 1, 0, 0), (1, 0, 0, 0), (0, 0, 1, 1), (0, 0, 1, 0))


@given(corpora)
@settings(max_examples=60, deadline=None)
def test_every_entity_is_counted_once_and_strict_scores_agree(corpus):
    found = confusion(corpus)
    gold = [span.type for one in corpus for span in one.gold]
    predicted = [span.type for one in corpus for span in one.predicted]
    for number, kind in enumerate(found.types):
        assert sum(found.counts[number]) == gold.count(kind)
        assert sum(row[number] for row in found.counts) == predicted.count(kind)
    scores, ways = evaluation_of(corpus).strict, matches(corpus)
    assert (ways["strict"].precision, ways["strict"].recall, ways["strict"].f1) == pytest.approx(
        (scores.precision, scores.recall, scores.f1)
    )
    assert ways["partial"].f1 >= ways["exact"].f1 >= ways["strict"].f1 <= ways["ent_type"].f1
    micro = bootstrap(corpus, n_samples=20).micro
    assert all(0 <= low <= high <= 1 for low, high in (micro.precision, micro.recall, micro.f1))


def test_matches_by_hand():
    found = matches(SOME)
    counts = {name: (m.correct, m.incorrect, m.partial, m.missed, m.spurious) for name, m in found.items()}
    assert counts == {
        "strict": (1, 2, 0, 1, 1), "exact": (2, 1, 0, 1, 1), "partial": (2, 0, 1, 1, 1), "ent_type": (1, 2, 0, 1, 1),
    }  # fmt: skip
    assert found["partial"].precision == found["partial"].recall == 2.5 / 4


def test_intervals_hold_the_score_and_shrink_with_the_sentences(monkeypatch):
    right = judged("Oslo", [Span("LOC", 0, 1)], [(Span("LOC", 0, 1), 0.9)])
    wrong = judged("Oslo", [Span("LOC", 0, 1)])
    few, many = bootstrap([right, wrong] * 20), bootstrap([right, wrong] * 500)
    for found in (few, many):
        low, high = found.types["LOC"].recall
        assert low < 0.5 < high
    # of a share of 1/2 in n sentences the deviation is 1 / (2 sqrt n), the interval 1.96 of it to each side
    assert many.micro.recall[1] - many.micro.recall[0] == pytest.approx(2 * 1.96 * 0.5 / 1000**0.5, rel=0.1)
    assert few.micro.recall[1] - few.micro.recall[0] > 3 * (many.micro.recall[1] - many.micro.recall[0])
    monkeypatch.setattr(intervals, "_DRAWS_AT_ONCE", 100)
    assert bootstrap([right, wrong] * 20) == few  # in blocks as at once
    assert bootstrap([right, wrong] * 20, seed=2) != few


def test_an_interval_of_scores_that_are_all_alike_has_a_width():
    here, there = Span("LOC", 0, 1), Span("PER", 0, 1)
    right, missed = judged("Oslo", [here], [(here, 0.9)]), judged("Oslo", [here])
    assert bootstrap([right] * 25).micro.f1 == (pytest.approx(0.025 ** (1 / 25)), 1.0)
    assert bootstrap([missed] * 25).micro.recall == (0.0, pytest.approx(1 - 0.025 ** (1 / 25)))
    assert bootstrap([missed] * 25).micro.precision == (0.0, 1.0)  # nothing was predicted
    # what another sentence holds does not count, and seven entities of one sentence are one draw
    seven = [Span("LOC", k, k + 1) for k in range(7)]
    many = judged("a b c d e f g", seven, [(span, 0.9) for span in seven])
    other = judged("Ann", [there], [(there, 0.9)])
    assert bootstrap([many, other, other]).types["LOC"].recall == (pytest.approx(0.025), 1.0)
    half = judged("Oslo Ann", [here, Span("LOC", 1, 2)], [(here, 0.9)])
    low, high = bootstrap([half]).micro.recall
    assert 0 < low < 0.001 and high == pytest.approx(1 - low)


def test_calibration_by_hand():
    spans = [Span("A", k, k + 1) for k in range(4)]
    one = judged("a b c d", spans[:3], list(zip(spans, (0.95, 0.85, 0.81, 0.05), strict=True)))
    found = calibration([one])
    assert found.bins == (
        Bin(0.0, 0.1, 1, 0.05, 0.0),
        Bin(0.8, 0.9, 2, pytest.approx(0.83), 1.0),
        Bin(0.9, 1.0, 1, 0.95, 1.0),
    )
    assert found.error == pytest.approx((0.05 + 2 * 0.17 + 0.05) / 4)
    assert calibration([judged("a")]).bins == ()


def test_known_and_new_entities_are_scored_apart():
    train = [Sentence(("May", "and", "Oslo"), (Span("MISC", 0, 1), Span("LOC", 2, 3)), "a:1")]
    found = novelty(SOME, Seen.of(train))
    known, new = found.known.strict, found.new.strict
    assert (known.support, known.precision, known.recall) == (1, 0, 0)  # Oslo and May are predicted, both with a wrong type
    assert (new.support, new.precision, new.recall) == (3, 1 / 2, 1 / 3)  # Ada Lund is right, Turin is not all of the bank
    assert set(found.known.types) == {"LOC", "ORG", "PER"} and "LOC" in found.new.types
    everything = novelty(SOME, Seen.of([one.sentence for one in SOME]))
    assert everything.known.strict.support == 4 and everything.new.strict.support == 0


@given(st.lists(st.tuples(spans_in(6), spans_in(6)), max_size=6), st.integers(0, 6))
def test_known_and_new_entities_are_all_there_are(sentences, n_train):
    made = [judged("a b c a b c", gold, [(span, 0.5) for span in found]) for gold, found in sentences]
    parts = novelty(made, Seen.of([one.sentence for one in made[:n_train]]))
    both, whole = (parts.known.strict, parts.new.strict), evaluation_of(made).strict
    assert sum(part.support for part in both) == whole.support
    assert sum(part.recall * part.support for part in both) == pytest.approx(whole.recall * whole.support)


def test_summaries_of_files(tmp_path):
    (tmp_path / "a.conll").write_text("x")
    path = f"{tmp_path}/a.conll"
    train = [Sentence(("in", "New", "York"), (Span("LOC", 1, 3),), f"{path}:1")]
    test = [Sentence(("New", "York", "!"), (Span("LOC", 0, 2),), "b:1"), Sentence(("York",), (Span("LOC", 0, 1),), "c:1")]
    (found,) = summarise("train", train)
    assert (found.path, found.sentences, found.tokens, found.entities, found.unseen_tokens) == (path, 1, 3, {"LOC": 1}, None)
    assert found.sha256 == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    b, c = summarise("test", test, Seen.of(train))
    assert (b.path, b.unseen_tokens, b.unseen_entities, b.sha256) == ("b", pytest.approx(1 / 3), 0.0, None)
    assert (c.path, c.unseen_tokens, c.unseen_entities) == ("c", 0.0, 1.0)


def test_a_summary_names_the_file_whatever_its_sentences_are_called(tmp_path):
    path = tmp_path / "a.json"
    array = [{"text": "Ada left. Lund stayed.", "label": [[0, 3, "PER"]]}, {"text": "x", "label": []}]
    for content in (json.dumps(array), json.dumps(array, indent=1)):
        path.write_text(content)
        (found,) = summarise("train", read_sentences(path))
        assert (found.path, found.sentences, found.sha256) == (str(path), 3, sha256_of(path))


def test_training_files_are_read_again_as_they_were(tmp_path):
    (tmp_path / "x.tsv").write_text("1\tLund\tB-PER\tO\n2\tleft\tO\tO\n")
    config = TrainConfig(columns=(2, 3)).to_dict()
    write_object(tmp_path / DESCRIPTION, {"format": 1, "types": ["PER"], "config": config, "versions": {}})
    before = summarise("train", read_sentences(tmp_path / "x.tsv", columns=(2, 3)))
    assert _seen_again(tmp_path, before) == Seen(frozenset(["Lund", "left"]), frozenset([("Lund",)]))


def test_the_page_and_its_numbers_are_two_files(tmp_path):
    config = TrainConfig().to_dict()
    write_object(tmp_path / DESCRIPTION, {"format": 1, "types": ["PER"], "config": config, "versions": {}})
    args = parser().parse_args(["report", str(tmp_path), "--test", "x.conll", "--out", str(tmp_path / "page.json")])
    with pytest.raises(InputError, match=r"page.json: is where the numbers go; the page needs another ending"):
        args.run(args)


@pytest.mark.parametrize("command", ["report", "projector"])
def test_raw_text_is_split_in_the_language_of_the_model(tmp_path, monkeypatch, command):
    class Read(Exception):
        """As far as this test goes."""

    def read(files, lang="en"):
        raise Read(lang)

    monkeypatch.setattr(f"ner_elmo.commands_{command}.read_sentences", read)
    config = TrainConfig(lang="de").to_dict()
    write_object(tmp_path / DESCRIPTION, {"format": 1, "types": ["PER"], "config": config, "versions": {}})
    more = ["--test", "x.jsonl"] if command == "report" else ["x.jsonl", "--out", "out"]
    args = parser().parse_args([command, str(tmp_path), *more])
    with pytest.raises(Read, match="de"):
        args.run(args)
