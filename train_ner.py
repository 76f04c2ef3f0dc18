"""Trains a named-entity tagger on a biLM: `python train_ner.py [--elmo WEIGHTS] [--train FILE --dev FILE --test FILE]`.

The recipe is `main` in ner_elmo/commands_train.py, so that it is there too where only the wheel is installed.
"""

import sys

from ner_elmo.commands_train import main, parse, parser, script

__all__ = ["main", "parse", "parser"]

if __name__ == "__main__":
    sys.exit(script("train_ner.py"))
