"""The flags of commands that read annotated files."""

from __future__ import annotations

import argparse
from typing import Any

from ner_elmo.entities import SCHEMES
from ner_elmo.formats.table import AUTO, FORMATS


def add_reading_flags(parser: argparse.ArgumentParser, format_flag: str = "--format") -> None:
    """Adds what `read_sentences` can be told: format, tag scheme, columns and the text's name."""
    parser.add_argument(
        format_flag, dest="read_format", choices=(AUTO, *FORMATS), default=AUTO, metavar="NAME",
        help=f"of the files: {', '.join(FORMATS)}. Default: found by name and content.",
    )  # fmt: skip
    parser.add_argument(
        "--tag-scheme", choices=SCHEMES, default="auto", help="of files with tags; IOB1 reads leniently. Default: auto."
    )
    parser.add_argument(
        "--columns", nargs=2, type=int, metavar=("TOKEN", "TAG"),
        help="where token and tag stand in column files, from 1, or from the end: -1 is the last. Default: found.",
    )  # fmt: skip
    parser.add_argument("--field", metavar="NAME", help="key or column of the text, where it has no usual name")


def reading(args: argparse.Namespace) -> dict[str, Any]:
    """The flags as keywords of `read_sentences`."""
    columns = tuple(args.columns) if args.columns else None
    return {"scheme": args.tag_scheme, "format": args.read_format, "columns": columns, "text_field": args.field}
