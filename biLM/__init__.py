"""biLM: a bidirectional language model (ELMo). It knows characters, words and sentences, and nothing of entities.

The public names are loaded when they are first used, so that importing the package, and `--help`, cost nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from biLM.characters import batch_to_ids
    from biLM.errors import InputError
    from biLM.model import BiLM
    from biLM.options import BiLMOptions
    from biLM.weights import load_bilm, save_bilm

_MODULE_OF = {
    "BiLM": "biLM.model",
    "BiLMOptions": "biLM.options",
    "InputError": "biLM.errors",
    "batch_to_ids": "biLM.characters",
    "load_bilm": "biLM.weights",
    "save_bilm": "biLM.weights",
}
__all__ = ["BiLM", "BiLMOptions", "InputError", "batch_to_ids", "load_bilm", "save_bilm"]


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'biLM' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)
