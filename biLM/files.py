"""JSON objects from files, with errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from biLM.errors import InputError


def read_object(path: str | Path) -> dict[str, Any]:
    """The object that a JSON file holds. Raises InputError for anything else."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a JSON file: {error}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: must hold a JSON object. Received: {type(values).__name__}.")
    return values
