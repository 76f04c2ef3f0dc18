"""`python -m ner_elmo scale`: more text than one process tags in time, on this machine or on a Ray cluster."""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from pathlib import Path

from biLM.errors import InputError
from biLM.flags import add_flags, given
from biLM.progress import show_rate
from ner_elmo.model_directory import describe
from ner_elmo.scaling.options import ScaleOptions


def add(commands) -> None:
    scale = commands.add_parser(
        "scale", help="tag files, directories, s3:// and gs:// with many processes, on many machines"
    )
    scale.add_argument("model", type=Path, metavar="MODEL", help="model directory, in the same place on every machine")
    scale.add_argument("input", metavar="INPUT", help="a file or directory: text, JSON Lines, CSV, Parquet; or its address")
    scale.add_argument("output", metavar="OUTPUT", help="directory or address of the results; a stopped run goes on there")
    add_flags(scale, ScaleOptions)
    scale.set_defaults(run=_scale)


def _scale(args: argparse.Namespace) -> None:
    options = ScaleOptions(**given(args, ScaleOptions))
    describe(args.model)
    if missing := [name for name in ("ray", "pyarrow") if find_spec(name) is None]:
        raise InputError(f'scale needs {", ".join(missing)}. Install the extra: pip install "ner-elmo[scale]".')
    from ner_elmo.scaling.places import shown
    from ner_elmo.scaling.run import scale

    with show_rate("tokens") as show:
        done = scale(args.model, args.input, args.output, options, len(os.sched_getaffinity(0)), show)
    rate = f"{done.counts.tokens / done.seconds:,.0f} tokens/s" if done.shards else "nothing was left to do"
    print(
        f"{shown(args.output)}: {done.counts.rows:,} rows, {done.counts.tokens:,} tokens, {done.counts.entities:,} entities "
        f"in {done.shards:,} shards, {done.skipped:,} shards were there; {done.files:,} files, {done.seconds:,.0f} s, {rate}"
    )
