"""Approximate randomisation: against full enumeration, and on predictions that differ or do not."""

import itertools

import numpy as np
import pytest

from ner_elmo.entities import Span
from ner_elmo.metrics import strict_score
from ner_elmo.significance import compare

RIGHT, WRONG = [Span("X", 0, 1)], [Span("Y", 0, 1)]


def test_p_equals_enumeration():
    gold = [RIGHT] * 6
    a = [WRONG, [], RIGHT, WRONG, RIGHT, []]
    b = [RIGHT, RIGHT, WRONG, RIGHT, RIGHT, RIGHT]

    def f1(side):
        return strict_score(gold, side, [1] * 6).f1

    observed = abs(f1(b) - f1(a))
    gaps = []
    for swaps in itertools.product((False, True), repeat=6):
        one = [y if swap else x for x, y, swap in zip(a, b, swaps, strict=True)]
        two = [x if swap else y for x, y, swap in zip(a, b, swaps, strict=True)]
        gaps.append(abs(f1(two) - f1(one)))
    expected = np.mean([gap >= observed - 1e-12 for gap in gaps])
    found = compare(gold, a, b, rounds=20_000)
    assert found.p == pytest.approx(expected, abs=0.01)
    assert (found.a_f1, found.b_f1) == pytest.approx((f1(a), f1(b)))
    assert found.difference == pytest.approx(f1(b) - f1(a))


def test_the_same_predictions_differ_by_luck_and_a_much_better_one_does_not():
    gold = [RIGHT] * 60
    assert compare(gold, gold, gold, rounds=200).p == 1
    better = compare(gold, [WRONG] * 30 + [RIGHT] * 30, gold, rounds=1000)
    assert better.p == pytest.approx(1 / 1001)
    assert better.difference > 0
