"""Tags text: `python predict.py [--model DIR] [--text TEXT ...] [FILE ...]`, standard input when neither is given.

The recipe is `main` in ner_elmo/commands_predict.py, so that it is there too where only the wheel is installed.
"""

import sys

from ner_elmo.commands_predict import main, parse, parser, script

__all__ = ["main", "parse", "parser"]

if __name__ == "__main__":
    sys.exit(script("predict.py"))
