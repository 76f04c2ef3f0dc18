"""Tags text: `python predict.py [--model DIR] [--text TEXT ...] [FILE ...]`, standard input when neither is given.

One text a line; one result a line for text and jsonl, in the order of the input, read and written as a stream.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from biLM.errors import run_command
from biLM.published import go_offline, resolve
from biLM.startup import start_keras
from ner_elmo.model_directory import describe, last_model


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Tag text with a trained model.")
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="text files, UTF-8, one text a line; standard input when neither FILE nor --text is given",
    )
    parser.add_argument("--text", nargs="+", metavar="TEXT", help="texts themselves")
    parser.add_argument("--model", metavar="DIR", help="model directory; the one trained last when not given")
    parser.add_argument("--elmo", metavar="WEIGHTS", help="run the tagger on another biLM of the same width")
    parser.add_argument("--offline", action="store_true", help="download nothing, whatever --elmo names")
    parser.add_argument("--tokenized", action="store_true", help="a line is one sentence, its tokens stand between blanks")
    parser.add_argument(
        "--format", choices=("text", "jsonl", "conll"), default="text", help="Default: text, entities marked in it."
    )
    return parser.parse_args(arguments)


def main(args: argparse.Namespace) -> None:
    model = args.model or last_model()
    describe(Path(model))
    if args.offline:
        go_offline()
    if args.elmo:
        resolve(args.elmo)
    start_keras()

    from ner_elmo import output
    from ner_elmo.predictor import NerTagger

    lines = args.text if args.text else output.read_lines(args.files)
    if args.text and args.files:
        lines = [*args.text, *output.read_lines(args.files)]
    tagger = NerTagger.load(model, args.elmo)
    for result in output.write(tagger, lines, args.format, args.tokenized):
        sys.stdout.write(result)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(run_command("predict.py", lambda: main(parse())))
