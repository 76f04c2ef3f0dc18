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

MODULES = ("ner_elmo.tagger", "ner_elmo.lstm", "ner_elmo.elmo", "ner_elmo.crf")


class _AfterKeras(MetaPathFinder):
    """Sees every import that is not done yet and finds nothing but Keras, as Python does. Once Keras is there, and no module
    of ours is half imported (the layers need them whole), it imports the layers and goes."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "keras":
            self._try()
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_try(module: ModuleType) -> None:
            execute(module)
            self._try()

        spec.loader.exec_module = execute_and_try  # type: ignore[method-assign]
        return spec

    def _try(self) -> None:
        keras = sys.modules.get("keras")
        if keras is None or not hasattr(keras, "saving") or _half_imported():
            return
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            _import_layers()


def register_layers() -> None:
    """Imports the layers now where Keras is there, otherwise right after Keras: importing this package stays light."""
    if "keras" in sys.modules and not _half_imported():
        _import_layers()
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _half_imported() -> bool:
    """Whether a module of ours is being imported at this moment."""
    ours = (module for name, module in list(sys.modules.items()) if name.startswith(("biLM.", "ner_elmo.")))
    return any(getattr(getattr(module, "__spec__", None), "_initializing", False) for module in ours)


def _import_layers() -> None:
    for name in MODULES:
        import_module(name)
