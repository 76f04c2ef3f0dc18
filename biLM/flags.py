"""Dataclass fields <-> command-line flags <-> JSON: one definition of an option serves all three.

A field becomes `--field-name`; its help is `field(metadata={"help": ...})` and its default is shown. A flag that is not
given stays out of the result, so that default < file < flag.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any, TypeVar, get_args, get_type_hints

from biLM.errors import InputError, nearest

T = TypeVar("T")


def option(default: Any, help: str) -> Any:
    """A dataclass field with its default and the text of its `--help`."""
    return dataclasses.field(default=default, metadata={"help": help})


def add_flags(parser: argparse._ActionsContainer, cls: type, prefix: str = "", show_default: bool = True) -> None:
    """Adds a flag for each field of a dataclass; `prefix` stands before the name, dots and underscores become dashes."""
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        kind = _plain_type(hints[field.name])
        if kind is None:
            continue
        text = field.metadata.get("help", "").replace("%", "%%")
        if show_default and field.default is not None and field.default is not dataclasses.MISSING:
            text = f"{text} Default: {field.default}." if text else f"Default: {field.default}."
        settings: dict[str, Any] = {"help": text, "default": None, "dest": _dest(field.name, prefix)}
        if kind is bool:
            settings["action"] = argparse.BooleanOptionalAction
        else:
            settings |= {"type": kind, "metavar": _METAVAR.get(kind, "JSON")}
            if "choices" in field.metadata:
                settings |= {"choices": field.metadata["choices"], "metavar": None}
        parser.add_argument("--" + _dest(field.name, prefix).replace("_", "-"), **settings)


def given(namespace: argparse.Namespace, cls: type, prefix: str = "") -> dict[str, Any]:
    """The fields whose flags were given."""
    values = {f.name: getattr(namespace, _dest(f.name, prefix), None) for f in dataclasses.fields(cls)}
    return {name: value for name, value in values.items() if value is not None}


def from_mapping(cls: type[T], values: dict[str, Any], where: str) -> T:
    """A dataclass from a mapping; an unknown key or a value of another type is an InputError that names `where`."""
    hints = get_type_hints(cls)
    for key, value in values.items():
        if key not in hints:
            raise InputError(f"{where}: unknown option {key!r}.{nearest(key, list(hints))}")
        if not _fits(value, hints[key]):
            expected = getattr(hints[key], "__name__", str(hints[key]))
            raise InputError(f"{where}: {key!r} must be {expected}. Received: {value!r}.")
    return cls(**values)


def json_value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"must be JSON: {error}") from None


_METAVAR = {int: "N", float: "X", str: "TEXT"}


def _dest(name: str, prefix: str) -> str:
    return f"{prefix}_{name}" if prefix else name


def _plain_type(hint: Any) -> Any:
    """int, float, str, bool or a JSON reader; None for what has no flag (dictionaries, nested dataclasses)."""
    options = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
    if hint in (int, float, str, bool) or (len(options) == 1 and options[0] in (int, float, str, bool)):
        return options[0]
    if getattr(hint, "__origin__", None) in (tuple, list):
        return json_value
    return None


def _fits(value: Any, hint: Any) -> bool:
    kinds = get_args(hint) if type(None) in get_args(hint) else (getattr(hint, "__origin__", hint),)
    kinds = tuple(getattr(kind, "__origin__", kind) for kind in kinds)
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, int) and float in kinds:
        return True
    if isinstance(value, list) and tuple in kinds:
        return True
    return isinstance(value, kinds)
