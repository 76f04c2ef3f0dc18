"""Dataclass fields <-> command-line flags <-> JSON: one definition of an option serves all three.

A field becomes `--field-name`; its help is `field(metadata={"help": ...})` and its default is shown. A flag that is not
given stays out of the result, so that default < file < flag.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from types import MappingProxyType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from biLM.errors import InputError, nearest

T = TypeVar("T")


def option(default: Any, help: str) -> Any:
    """A dataclass field with its default and the text of its `--help`."""
    return dataclasses.field(default=default, metadata={"help": help})


def add_flags(
    parser: argparse._ActionsContainer,
    cls: type,
    prefix: str = "",
    show_default: bool = True,
    leave_out: tuple[str, ...] = (),
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Adds a flag for each field of a dataclass; `prefix` stands before the name, dots and underscores become dashes.

    leave_out: fields that get no flag here. defaults: to show in place of the fields' own."""
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        kind = _reader(hints[field.name])
        if kind is None or field.name in leave_out:
            continue
        text = field.metadata.get("help", "").replace("%", "%%")
        default = defaults.get(field.name, field.default)
        if show_default and default not in (None, (), dataclasses.MISSING):
            end = "" if text.endswith(("?", ".")) else "."
            text = f"{text}{end} Default: {default}." if text else f"Default: {default}."
        settings: dict[str, Any] = {"help": text, "default": None, "dest": _dest(field.name, prefix)}
        members = get_args(hints[field.name])[:1] if get_origin(hints[field.name]) is tuple else ()
        if members and get_origin(members[0]) is Literal:
            settings |= {"nargs": "+", "choices": get_args(members[0])}
        elif kind is bool:
            settings["action"] = argparse.BooleanOptionalAction
        elif get_origin(hints[field.name]) is Literal:
            settings["choices"] = get_args(hints[field.name])
        else:
            settings |= {"type": kind, "metavar": _METAVAR.get(kind, "JSON")}
        parser.add_argument("--" + _dest(field.name, prefix).replace("_", "-"), **settings)


def given(namespace: argparse.Namespace, cls: type, prefix: str = "") -> dict[str, Any]:
    """The fields whose flags were given."""
    values = {f.name: getattr(namespace, _dest(f.name, prefix), None) for f in dataclasses.fields(cls)}
    return {name: value for name, value in values.items() if value is not None}


def from_mapping(cls: type[T], values: dict[str, Any], where: str) -> T:
    """A dataclass from a mapping; an unknown key or a value of another type is an InputError that names `where`."""
    check_mapping(cls, values, where)
    return cls(**values)


def check_mapping(cls: type, values: dict[str, Any], where: str) -> None:
    """Raises InputError for keys that a dataclass lacks, and for values of other types than its fields'."""
    hints = get_type_hints(cls)
    for key, value in values.items():
        if key not in hints:
            raise InputError(f"{where}: unknown option {key!r}.{nearest(key, list(hints))}")
        if not _fits(value, hints[key]):
            raise InputError(f"{where}: {key!r} must be {_describe(hints[key])}. Received: {value!r}.")


def json_value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"must be JSON: {error}") from None


_METAVAR = {int: "N", float: "X", str: "TEXT"}


def _dest(name: str, prefix: str) -> str:
    return f"{prefix}_{name}" if prefix else name


def _kinds(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _reader(hint: Any) -> Any:
    """int, float, str, bool or a JSON reader; None for what has no flag (dictionaries, nested dataclasses)."""
    kind = next(kind for kind in _kinds(hint) if kind is not type(None))
    if kind in (int, float, str, bool):
        return kind
    if get_origin(kind) is Literal:
        return str
    return json_value if get_origin(kind) in (tuple, list) else None


def _fits(value: Any, hint: Any) -> bool:
    return any(_fits_one(value, kind) for kind in _kinds(hint))


def _fits_one(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(_fits(item, get_args(kind)[0]) for item in value)
    return isinstance(value, get_origin(kind) or kind)


def _describe(hint: Any) -> str:
    """How an error names a type."""
    names = {type(None): "null", str: "text", bool: "true or false", int: "a whole number", float: "a number"}
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    return " or ".join(names.get(kind, "a list") for kind in _kinds(hint))
