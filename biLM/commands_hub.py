"""`python -m biLM export-hub`: a biLM as a TensorFlow Hub module."""

from __future__ import annotations

import argparse
from pathlib import Path

from biLM.errors import InputError
from biLM.files import check_free
from biLM.published import NAMES_HELP, TFHUB, go_offline, resolve
from biLM.startup import start_keras


def add(commands) -> None:
    export = commands.add_parser("export-hub", help="write a biLM as a SavedModel with TensorFlow Hub's ELMo signatures")
    export.add_argument("weights", metavar="WEIGHTS", help=f"weights.hdf5 or its directory; or {NAMES_HELP}")
    export.add_argument("--options", metavar="FILE", help="options.json, found beside the weights when not given")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="new directory of the module")
    export.add_argument(
        "--initial-state", choices=("warm", "zero"), default="warm", help="what each sentence starts from. Default: warm."
    )
    export.add_argument("--offline", action="store_true", help="download nothing")
    export.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> None:
    if args.weights.startswith(TFHUB):
        raise InputError(f"export-hub needs weights. Received: {args.weights}, which is a module already.")
    if args.offline:
        go_offline()
    check_free(args.out)
    weights = resolve(args.weights)
    start_keras()

    try:
        from biLM.hub_export import export_hub
    except ModuleNotFoundError as error:
        raise InputError(f"export-hub needs TensorFlow, which writes the SavedModel: {error}.") from error
    from biLM.weights import load_bilm

    export_hub(load_bilm(weights, args.options, initial_state=args.initial_state), args.out)
    print(f"{args.out}: signatures default, tokens")
