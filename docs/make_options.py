"""Writes docs/options.md, every option of every command, from the parsers that read them: `python -m docs.make_options`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import predict
import train_ner
from biLM.__main__ import parser as bilm_parser
from ner_elmo.__main__ import parser as ner_parser

SAME = {("python -m ner_elmo", "train"), ("python -m ner_elmo", "predict")}  # as train_ner.py and predict.py
PAGE = Path(__file__).resolve().parent / "options.md"
HEAD = """# Every option of every command

Made from the programs by `python -m docs.make_options`; a test compares. Each command shows its own with `--help`.

* The options of `train_ner.py` are also the keys of its `--config FILE`: a JSON object, dashes written as underscores
  (`{"hidden_size": 128}`). A flag wins over the file, the file over the default.
* `--x | --no-x` is a switch; one of them is the default.
* JSON means a JSON value in quotes: `--layers '[0, 1]'`.
* What the words mean: [how-it-works.md](how-it-works.md). What a mistake is answered with: [errors.md](errors.md).
"""


def commands() -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Name, what it is for, and parser of each command."""
    for name, same, parser in (("train_ner.py", "train", train_ner.parser()), ("predict.py", "predict", predict.parser())):
        yield f"python {name}", f"{parser.description} `python -m ner_elmo {same}` is the same.", parser
    for main in (bilm_parser(), ner_parser()):
        (names,) = (action for action in main._actions if isinstance(action, argparse._SubParsersAction))
        helps = {choice.dest.partition(" ")[0]: choice.help or "" for choice in names._choices_actions}
        for name, parser in names.choices.items():
            others = [f"`{other}`" for other, same in names.choices.items() if same is parser and other != name]
            if name in helps and (main.prog, name) not in SAME:  # an alias has no help
                yield f"{main.prog} {name}", helps[name] + "".join(f"; {other} is the same" for other in others), parser


def page() -> str:
    """The whole of options.md."""
    found = list(commands())
    contents = [f"* [`{name}`](#{anchor(name)})" for name, _, _ in found]
    return "\n".join([HEAD, *contents, "", *(line for command in found for line in _section(*command))])


def anchor(heading: str) -> str:
    """The address of a heading on its page, as GitHub makes it."""
    kept = "".join(c for c in heading.lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")


def _section(name: str, what: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## {name}\n{what[:1].upper()}{what[1:]}{'' if what.endswith(('.', '?')) else '.'}"
    positional, options, *groups = parser._action_groups
    for title, group in (("", [positional, options]), *((group.title, [group]) for group in groups)):
        actions = [action for one in group for action in one._group_actions if action.dest != "help"]
        yield from [f"\n**{title}**"] * bool(title)
        yield "\n| option | what |\n|---|---|"
        yield from (f"| {_cell(_usage(action))} | {_cell(_says(action, parser))} |" for action in actions)
    yield ""


def _usage(action: argparse.Action) -> str:
    """How an option is written, such as `--epochs N`."""
    flags = " | ".join(action.option_strings)
    if action.nargs == 0:
        return f"`{flags}`"
    value = "{" + ", ".join(map(str, action.choices)) + "}" if action.choices and not action.metavar else action.metavar
    value = " ".join(value) if isinstance(value, tuple) else value or action.dest.upper()
    value += " ..." if action.nargs in ("+", "*") else ""
    return f"`{flags} {value}`" if flags else f"`{value}`"


def _says(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """Its help, without places of this machine."""
    text = (action.help or "") % {"prog": parser.prog, "default": action.default}
    text = text.replace(f"{PAGE.parent.parent}/", "").replace("<", "&lt;")
    return text + (" **Needed.**" if action.option_strings and action.required else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE, file=sys.stderr)
