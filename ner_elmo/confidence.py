"""What a confidence is worth: calibration on dev, and the threshold for a wanted precision.

The CRF says with which probability exactly this span has exactly this type; on text that it was not trained on it is
mostly too sure. Two numbers, learned on the dev entities, turn that probability into one that holds there:

    confidence = sigmoid(slope * log(p / (1 - p)) + intercept)

Source: Platt 1999; with an intercept of 0 it is the temperature of Guo et al. 2017. How well it does on other text is
measured in `ner_elmo.reporting.calibration`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from biLM.errors import InputError
from biLM.files import read_object, write_object
from ner_elmo.entities import Span

FILE = "confidence.json"
FEWEST = 20  # right and wrong dev entities, each, that two numbers can be learned from: fewer leave p as it is
EDGE = 1e-6


@dataclass(frozen=True)
class Threshold:
    """Entities of at least this confidence had this precision on dev, and were this share of all gold entities found."""

    confidence: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Confidence:
    """Calibration and the dev entities that it was learned from.

    Arguments:
        slope, intercept: see the module; 1 and 0 leave probabilities as they are.
        dev: calibrated confidence of each entity predicted on dev, falling, and 1 where it was right, else 0.
        n_gold: entities that dev holds.
    """

    slope: float = 1.0
    intercept: float = 0.0
    dev: tuple[tuple[float, int], ...] = ()
    n_gold: int = 0

    @property
    def is_identity(self) -> bool:
        """Whether probabilities stay as they are."""
        return (self.slope, self.intercept) == (1.0, 0.0)

    def __call__(self, probability: float) -> float:
        """The calibrated confidence of a probability."""
        if self.is_identity:
            return probability
        return float(_calibrated(np.array([probability]), self.slope, self.intercept)[0])

    def threshold(self, min_precision: float) -> Threshold:
        """The lowest confidence from which on dev entities were right in at least this share of cases.

        Raises: InputError where no threshold reaches it.
        """
        if not self.dev:
            raise InputError("a wanted precision needs a model with dev entities; this one found none. Train it again.")
        kept = np.arange(1, len(self.dev) + 1)
        confidences, right = (np.array(side) for side in zip(*self.dev, strict=True))
        precision = np.cumsum(right) / kept
        last_of_equals = np.append(confidences[1:] < confidences[:-1], True)
        good = np.flatnonzero((precision >= min_precision) & last_of_equals)
        if not len(good):
            best = precision[last_of_equals].max()
            raise InputError(
                f"no confidence has a precision of {min_precision:g} on dev; the best is {best:.4f}. Ask for less, or train "
                "with more labels."
            )
        place = good[-1]
        return Threshold(float(confidences[place]), float(precision[place]), float(right[: place + 1].sum() / self.n_gold))

    def write(self, directory: Path) -> None:
        write_object(directory / FILE, asdict(self))

    @classmethod
    def read(cls, directory: Path) -> Confidence:
        """What `write` left in a model directory; a model without it has probabilities as the CRF gives them."""
        if not (directory / FILE).is_file():
            return AS_IT_IS
        found = read_object(directory / FILE)
        try:
            pairs = tuple((float(confidence), int(right)) for confidence, right in found["dev"])
            slope, intercept = float(found["slope"]), float(found["intercept"])
            for name, array in (("slope", slope), ("intercept", intercept), ("dev", [p for p, _ in pairs])):
                if not np.isfinite(array).all():
                    raise ValueError(f"{name} holds a number that is not finite")
            return cls(slope, intercept, pairs, int(found["n_gold"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{directory / FILE}: is damaged: {error!r}. Train the model again.") from error


AS_IT_IS = Confidence()  # probabilities as the CRF gives them


def learn_confidence(gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[tuple[Span, float]]]) -> Confidence:
    """Calibration from gold spans and predicted spans with their probabilities, sentence by sentence.

    With fewer than 20 right or 20 wrong entities, and where more probability would come to mean less, probabilities stay
    as they are.
    """
    from sklearn.linear_model import LogisticRegression

    pairs = [(p, span in set(own)) for own, spans in zip(gold, predicted, strict=True) for span, p in spans]
    probabilities = np.array([p for p, _ in pairs])
    right = np.array([correct for _, correct in pairs], bool)
    slope, intercept = 1.0, 0.0
    if min(right.sum(), (~right).sum()) >= FEWEST:
        fitted = LogisticRegression(C=1e3).fit(_logit(probabilities)[:, None], right)
        if fitted.coef_[0, 0] > 0:
            slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
            probabilities = _calibrated(probabilities, slope, intercept)
    order = np.argsort(-probabilities, kind="stable")
    whole = np.floor(1e6 * probabilities) / 1e6  # never above the unrounded one that a threshold is compared with
    dev = tuple((float(whole[place]), int(right[place])) for place in order)
    return Confidence(slope, intercept, dev, sum(map(len, gold)))


def _logit(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, EDGE, 1 - EDGE)
    return np.log(p / (1 - p))


def _calibrated(p: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    return 1 / (1 + np.exp(-(slope * _logit(p) + intercept)))
