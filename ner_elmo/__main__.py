"""python -m ner_elmo train | predict | evaluate | compare | swap | check | convert | report | projector | suspects | serve |
export | scale"""

from __future__ import annotations

import argparse
import sys

from biLM.errors import run_command
from ner_elmo import (
    commands_data,
    commands_export,
    commands_predict,
    commands_projector,
    commands_report,
    commands_scale,
    commands_scores,
    commands_serve,
    commands_suspects,
    commands_swap,
    commands_train,
)

# each adds its commands to the parser, and imports what is slow only when one runs
MODULES = (
    commands_train,
    commands_predict,
    commands_scores,
    commands_swap,
    commands_data,
    commands_report,
    commands_projector,
    commands_suspects,
    commands_serve,
    commands_export,
    commands_scale,
)


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="python -m ner_elmo", description="Train, run, measure and look after taggers.")
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in MODULES:
        module.add(commands)
    return main


def main() -> None:
    args = parser().parse_args()
    sys.exit(run_command(f"ner_elmo {args.command}", lambda: args.run(args)))


if __name__ == "__main__":
    main()
