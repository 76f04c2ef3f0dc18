"""The documentation as a reader meets it: pages of fenced blocks, and somebody who types what stands in them.

The word after ``` says what a block is, and what follows it how it is tested:

    bash                    commands, typed in order
    bash short: FLAGS       the same, with FLAGS put after each `python` command, so that a training is short
    bash not run: REASON    commands of which the flags alone are tested
    bash server             requests, sent to a server that a test has started
    console                 `$ command` and what it prints, "..." for any text
    python                  run, in the same folder; `not run: REASON` as above
    text file: NAME         the content of a file, written there
    anything else           shown, not tested
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from conftest import PROJECT
from warm_python import WarmPython

COMMANDS = ("", "bash", "console")


@dataclass(frozen=True)
class Block:
    """A fenced block. line: its first, from 1."""

    page: str
    line: int
    kind: str
    info: str
    text: str

    @property
    def is_run(self) -> bool:
        return not self.info.startswith("not run: ")

    @property
    def commands(self) -> list[str]:
        """Its command lines, long ones joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.kind == "console":
            return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line for line in lines if line.strip()]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found, opened = [], None
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if opened is None and line.startswith("```"):
            opened = number
        elif line.startswith("```"):
            kind, _, info = lines[opened - 1].removeprefix("```").partition(" ")
            text = "".join(f"{inner}\n" for inner in lines[opened : number - 1])
            found.append(Block(str(page.relative_to(PROJECT)), opened, kind, info, text))
            opened = None
    assert opened is None, f"{page}:{opened}: a block without an end"
    return found


def links_of(page: Path) -> list[tuple[str, str]]:
    """Path and anchor of the links of a page to files of the project, outside of its blocks."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [(path, anchor) for path, _, anchor in (t.partition("#") for t in targets if "://" not in t)]


def anchors_of(page: Path) -> set[str]:
    """Where links into a page may point: its headings, as GitHub names them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    names = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", name).replace("`", "").strip().lower() for name in names]
    return {re.sub(r"[^\w\- ]", "", name).replace(" ", "-") for name in plain}


class Reader:
    """Types what pages say, in one folder that looks like the checkout; `python` is a warm one."""

    def __init__(self, folder: Path):
        self.folder, self.python = folder, WarmPython()
        self.environment = self.python.environment | {"XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder)}
        for name in ("data", "docs", "train_ner.py", "predict.py"):
            (folder / name).symlink_to(PROJECT / name)

    def type(self, commands: str) -> subprocess.CompletedProcess[str]:
        """What the commands printed, on both streams together, and the status of the first that failed."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False, timeout=600,
        )  # fmt: skip

    def follow(self, block: Block) -> None:
        """Does what a block says; fails where it does not hold."""
        if block.kind == "console":
            self._compare(block)
        elif block.info.startswith("file: "):
            path = self.folder / block.info.removeprefix("file: ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.kind == "python" and block.is_run:
            self._expect(block, 'python -c "$CODE"', {"CODE": block.text})
        elif block.kind in COMMANDS and block.is_run:
            self._expect(block, "\n".join(shortened(block)))

    def _expect(self, block: Block, commands: str, variables: dict[str, str] | None = None) -> None:
        self.environment |= variables or {}
        found = self.type(commands)
        assert found.returncode == 0, f"{block}: status {found.returncode}\n{found.stdout}"

    def _compare(self, block: Block) -> None:
        for part in re.split(r"^(?=\$ )", block.text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.removeprefix("$ ").replace("\\\n", " ").partition("\n")
            found = self.type(command)
            pattern = re.escape(expected.rstrip("\n")).replace(re.escape("..."), ".*")
            assert re.fullmatch(pattern, found.stdout.rstrip("\n"), flags=re.DOTALL), (
                f"{block}: {command}\nexpected\n{expected}\ngot\n{found.stdout}"
            )
            assert (found.returncode == 2) == (": error: " in expected), f"{block}: status {found.returncode}"


def shortened(block: Block) -> list[str]:
    """The commands of a block, with the flags that make them short."""
    if not block.info.startswith("short: "):
        return block.commands
    flags = block.info.removeprefix("short: ")
    return [f"{command} {flags}" if command.startswith("python") else command for command in block.commands]
