"""Confidences: learned on dev, worth what they say, and the threshold for a wanted precision."""

import numpy as np
import pytest

from biLM import InputError
from ner_elmo.confidence import Confidence, learn_confidence
from ner_elmo.entities import Span
from ner_elmo.reporting.calibration import calibration_of


def overconfident(n: int, seed: int = 0):
    """One predicted span a sentence, right with a probability that its own p overstates."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.05, 0.99, n)
    said = 1 / (1 + np.exp(-(2.0 * np.log(truth / (1 - truth)) + 0.5)))
    right = rng.random(n) < truth
    gold = [[Span("X", 0, 1)] if good else [Span("Y", 0, 1)] for good in right]
    return gold, [[(Span("X", 0, 1), p)] for p in said], right


def test_calibration_makes_confidences_come_true():
    confidence = learn_confidence(*overconfident(4000)[:2])
    assert confidence.slope == pytest.approx(0.5, abs=0.1)
    _, predicted, right = overconfident(4000, seed=1)
    said = [p for spans in predicted for _, p in spans]
    before, after = (calibration_of(side, right).error for side in (said, [confidence(p) for p in said]))
    assert after < 0.03
    assert before > 0.08


def test_order_is_kept_and_few_entities_change_nothing():
    few = learn_confidence(*overconfident(30)[:2])
    assert [few(p) for p in (0.0, 0.3, 1.0)] == [0.0, 0.3, 1.0]
    many = learn_confidence(*overconfident(500)[:2])
    ps = np.linspace(0.01, 0.99, 50)
    assert (np.diff([many(p) for p in ps]) > 0).all()
    upside_down = [[(span, 1 - p) for span, p in spans] for spans in overconfident(500)[1]]
    assert learn_confidence(overconfident(500)[0], upside_down).slope == 1.0
    assert learn_confidence([[]], [[]]) == Confidence()


def test_the_threshold_is_the_lowest_that_keeps_the_precision():
    dev = ((0.9, 1), (0.8, 1), (0.8, 0), (0.7, 1), (0.6, 1), (0.5, 0), (0.4, 0))
    confidence = Confidence(dev=dev, n_gold=5)
    for wanted, at, precision, recall in ((0.8, 0.6, 0.8, 0.8), (1.0, 0.9, 1.0, 0.2), (0.1, 0.4, 4 / 7, 0.8)):
        found = confidence.threshold(wanted)
        assert (found.confidence, found.precision, found.recall) == pytest.approx((at, precision, recall))
    with pytest.raises(InputError, match="no confidence has a precision of 0.9 on dev; the best is 0.5000"):
        Confidence(dev=((0.9, 0), (0.8, 1)), n_gold=5).threshold(0.9)
    with pytest.raises(InputError, match="needs a model with dev entities"):
        Confidence().threshold(0.5)


def test_a_threshold_keeps_what_it_kept_on_dev():
    """Its entities are kept on disk with six digits, and compared with unrounded ones."""
    gold, spans = [[Span("LOC", 0, 1)]] * 3, [[(Span("LOC", 0, 1), p)] for p in (0.9999997, 0.88888889, 0.5)]
    learned = learn_confidence(gold, spans)
    assert all(kept <= p for (kept, _), ((_, p),) in zip(learned.dev, spans, strict=True))
    threshold = learned.threshold(1.0)
    assert sum(learned(p) >= threshold.confidence for ((_, p),) in spans) == 3


def test_files(tmp_path):
    confidence = learn_confidence(*overconfident(100)[:2])
    confidence.write(tmp_path)
    assert Confidence.read(tmp_path) == confidence
    assert Confidence.read(tmp_path / "elsewhere") == Confidence()
    (tmp_path / "confidence.json").write_text('{"slope": 1}')
    with pytest.raises(InputError, match="confidence.json: is damaged"):
        Confidence.read(tmp_path)


def test_calibration_error():
    assert calibration_of([], []).error == 0
    assert calibration_of([0.75, 0.75, 0.75, 0.75], [1, 1, 1, 0]).error == 0
    assert calibration_of([1.0, 0.0], [0, 1]).error == 1
    assert calibration_of([0.95, 0.95, 0.15], [1, 0, 0]).error == pytest.approx((2 * 0.45 + 0.15) / 3)
