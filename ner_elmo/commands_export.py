"""`python -m ner_elmo export`: a model for servers that have never heard of this project."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from biLM.errors import InputError
from biLM.files import check_free
from biLM.published import go_offline, resolve
from biLM.startup import start_keras
from ner_elmo.model_directory import describe


def add(commands) -> None:
    export = commands.add_parser("export", help="write a model as a SavedModel or as ONNX, for other servers")
    export.add_argument("model", type=Path, metavar="MODEL", help="model directory")
    export.add_argument(
        "--format", choices=("saved_model", "onnx"), default="saved_model",
        help="saved_model: strings in, spans out, for TensorFlow Serving; onnx: the tagger on ready activations. "
        "Default: saved_model.",
    )  # fmt: skip
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="new directory to write")
    export.add_argument("--elmo", metavar="WEIGHTS", help="another biLM of the same width and depth in place of its own")
    export.add_argument("--offline", action="store_true", help="download nothing, whatever --elmo names")
    export.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> None:
    describe(args.model)
    check_free(args.out)
    if args.offline:
        go_offline()
    if args.elmo:
        resolve(args.elmo)
    start_keras()
    from ner_elmo.predictor import Predictor

    write = _writer(args.format)
    n_sentences = write(Predictor.load(args.model, args.elmo), args.out)
    print(f"{args.out}: {args.format}, equal to {args.model} on {n_sentences} sentences")


def _writer(form: str) -> Callable[[Any, Path], int]:
    if form == "onnx":
        from ner_elmo.exporting.onnx_tagger import export_onnx

        return export_onnx
    try:
        from ner_elmo.exporting.saved_model import export_saved_model
    except ModuleNotFoundError as error:
        raise InputError(f"a SavedModel needs TensorFlow, which writes it: {error}.") from error
    return export_saved_model
