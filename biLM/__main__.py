"""python -m biLM prepare | vocab | train | tune | perplexity | embed | dump-tokens | neighbours | picture | projector |
export-hub"""

from __future__ import annotations

import argparse
import sys

from biLM import commands_hub, commands_text, commands_training, commands_vectors
from biLM.errors import run_command


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(
        prog="python -m biLM", description="Train, measure and run bidirectional language models."
    )
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (commands_text, commands_training, commands_vectors, commands_hub):
        module.add(commands)
    return main


def main() -> None:
    args = parser().parse_args()
    sys.exit(run_command(f"biLM {args.command}", lambda: args.run(args)))


if __name__ == "__main__":
    main()
