"""ner_elmo: named-entity recognition on your own text, on top of a biLM.

The public names are loaded when they are first used, so that importing the package, and `--help`, cost nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ner_elmo.registration import register_layers

if TYPE_CHECKING:
    from ner_elmo.crf import CRF
    from ner_elmo.elmo import ElmoEmbedding, ScalarMix
    from ner_elmo.entities import Entity
    from ner_elmo.estimator import NerTagger
    from ner_elmo.metrics import evaluate
    from ner_elmo.readers import read_sentences

_MODULE_OF = {
    "CRF": "ner_elmo.crf",
    "ElmoEmbedding": "ner_elmo.elmo",
    "Entity": "ner_elmo.entities",
    "NerTagger": "ner_elmo.estimator",
    "ScalarMix": "ner_elmo.elmo",
    "evaluate": "ner_elmo.metrics",
    "read_sentences": "ner_elmo.readers",
}
__all__ = ["CRF", "ElmoEmbedding", "Entity", "NerTagger", "ScalarMix", "evaluate", "read_sentences"]


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'ner_elmo' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


register_layers()
