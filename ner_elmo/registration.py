"""Keras finds the layers of this package in a saved model as soon as both packages are imported, in either order.

Keras knows a class by the name that it was registered under, and a class is registered when its module is imported. Saved
models must not name modules to import, so Keras never does that itself for packages other than its own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

MODULES = ("ner_elmo.tagger", "ner_elmo.elmo", "ner_elmo.crf")


class _AfterKeras(MetaPathFinder):
    """Finds Keras as Python does, and adds to its import that of the layers."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == "keras" else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            sys.meta_path.remove(self)
            _import_layers()

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def register_layers() -> None:
    """Imports the layers now where Keras is there, otherwise right after Keras: importing this package stays light."""
    if "keras" in sys.modules:
        _import_layers()
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _import_layers() -> None:
    for name in MODULES:
        import_module(name)
