"""`python -m ner_elmo check | convert`: annotated files looked at, mended and written in another format."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from biLM.errors import InputError
from ner_elmo.formats.document import Document, Finding
from ner_elmo.formats.source import Source
from ner_elmo.formats.spans_json import shown
from ner_elmo.formats.table import FORMATS, documents_of, format_to_write, write
from ner_elmo.reading_flags import add_reading_flags, reading

SIDES = ("train", "dev", "test")
LISTED = 20  # of each kind; --json lists all


def add(commands) -> None:
    check = commands.add_parser("check", help="what annotated files hold, and what is wrong with them")
    check.add_argument("files", nargs="*", metavar="FILE", help="annotated files, each a side of its own")
    for side in SIDES:
        check.add_argument(f"--{side}", nargs="+", default=[], metavar="FILE", help=f"files of the {side} side")
    check.add_argument("--lang", default="en", metavar="CODE", help="of the tokenizer, for raw text. Default: en.")
    check.add_argument("--json", action="store_true", help="everything as one JSON line")
    check.add_argument(
        "--fix", type=Path, metavar="OUT", help="write a clean copy: a file, or a new directory where there are several"
    )
    add_reading_flags(check)
    check.set_defaults(run=_check)
    convert = commands.add_parser("convert", help="write an annotated file in another format")
    convert.add_argument("source", type=Path, metavar="IN", help="annotated file")
    convert.add_argument("target", type=Path, metavar="OUT", help="file to write, packed where its name ends in .gz")
    add_reading_flags(convert, "--from")
    convert.add_argument(
        "--to", choices=tuple(FORMATS), metavar="NAME", help="format of OUT, as for --from. Default: by the name of OUT."
    )
    convert.add_argument("--lang", default="en", metavar="CODE", help="of the tokenizer, for raw text. Default: en.")
    convert.set_defaults(run=_convert)


def _check(args: argparse.Namespace) -> None:
    from ner_elmo.checks import Checker, check_files

    sides = {side: [Path(name) for name in getattr(args, side)] for side in SIDES if getattr(args, side)}
    sides |= {f"./{name}" if name in SIDES else name: [Path(name)] for name in args.files}  # a FILE is called train
    if not sides:
        raise InputError("name the files to check: FILE ..., or --train FILE --dev FILE --test FILE.")
    paths = [path for group in sides.values() for path in group]
    for path in paths:
        path.stat()  # one that is missing is said before anything is written
    for group in (list(map(Path, args.files)), *sides.values()):
        _require_once(group)
    found = check_files(sides, Checker(args.lang, **reading(args)), _copies(paths, args.fix))
    if args.json:
        print(json.dumps(asdict(found), ensure_ascii=False))
        return
    for line in _lines(found):
        print(line)


def _require_once(paths: list[Path]) -> None:
    """No file twice among those that stand beside each other; two sides may share one."""
    counts = Counter(path.resolve() for path in paths)
    if twice := [path for path in paths if counts[path.resolve()] > 1]:
        raise InputError(
            f"{twice[0]}: each file must be named once. Received: {counts[twice[0].resolve()]} times. Leave out the rest."
        )


def _copies(paths: list[Path], out: Path | None) -> dict[Path, Path]:
    """Where the clean copy of each file goes."""
    if out is None:
        return {}
    if len(paths) == 1 and not out.is_dir():
        copies = {paths[0]: out}
    else:
        names = Counter(path.name for path in paths)
        if twice := [name for name, count in names.items() if count > 1]:
            raise InputError(f"--fix {out}: two files are called {twice[0]}; check one at a time.")
        copies = {path: out / path.name for path in paths}
        out.mkdir(parents=True, exist_ok=True)
    for path, copy in copies.items():
        _require_another(path, copy)
    return copies


def _require_another(path: Path, copy: Path) -> None:
    if copy.exists() and copy.resolve() == path.resolve():
        raise InputError(f"{copy}: is the file that is read. Name another one to write.")


def _lines(found) -> Iterator[str]:
    """The report: each file, what was found in it, and what the files are together."""
    for file in found.files:
        side = f" [{file.side}]" if file.side in SIDES else ""
        says = f"{file.path}{side}: {file.format} {file.found}".rstrip()
        yield f"{says}, {file.texts:,} texts, {file.sentences:,} sentences, {file.tokens:,} tokens"
        entities = sorted(file.entities.items(), key=lambda pair: -pair[1])
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in entities)
        yield f"  entities: {kinds or 'none'}"
        yield from _kinds(file.findings)
        if file.fixed:
            yield f"  clean copy: {file.fixed}"
    for title, rows in (
        ("sentences that stand twice on a side", found.repeated),
        ("the same sentence with other labels", found.contradicting),
        ("sentences shared by two sides", found.shared),
    ):
        if rows:
            yield f"{title}: {len(rows):,}"
            yield from _listed(f"  {row.where}, first at {row.first}: {row.text}" for row in rows)
    if found.rare:
        yield f"types with few entities: {', '.join(f'{kind} {count}' for kind, count in found.rare.items())}"
    for side, kinds in found.unlearnable.items():
        yield f"types of {side} that training lacks: {', '.join(kinds)}"


def _kinds(findings: Iterable[Finding]) -> Iterator[str]:
    """Findings by kind, some of each."""
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_kind[finding.kind].append(finding)
    for kind, group in by_kind.items():
        yield f"  {kind}: {len(group):,}"
        yield from _listed(f"    {f.where}: {f.text}{': ' if f.text else ''}{f.action}" for f in group)


def _listed(rows: Iterable[str]) -> Iterator[str]:
    """The first rows, and how many there are more."""
    rest = 0
    for number, row in enumerate(rows):
        if number < LISTED:
            yield row
        else:
            rest += 1
    if rest:
        yield f"    ... and {rest:,} more"


def _convert(args: argparse.Namespace) -> None:
    how = reading(args)
    source = Source(args.source, how["scheme"], how["columns"], how["text_field"])
    name, documents = documents_of(source, how["format"])
    target = args.to or format_to_write(args.target)
    _require_another(args.source, args.target)
    counts: Counter[str] = Counter()
    write(_counted(_fitting(documents, target, args.lang, source), counts), args.target, target)
    print(f"{args.source}: {name} {source.found}".rstrip(), file=sys.stderr)
    for line in _kinds(source.findings):
        print(line, file=sys.stderr)
    if source.passed_over:
        print(f"note: {', '.join(sorted(source.passed_over))} are left out", file=sys.stderr)
    if counts["tokens"] and not FORMATS[target].over_tokens:
        print(f"note: {target} holds no tokens; whoever reads it splits the text anew", file=sys.stderr)
    lost = FORMATS[target].lost(key.removeprefix("field ") for key in counts if key.startswith("field "))
    if lost:
        print(f"note: {target} has no room for other fields, left out: {shown(lost)}", file=sys.stderr)
    print(f"{args.target}: {target}, {counts['texts']:,} texts, {counts['spans']:,} spans", file=sys.stderr)


def _fitting(documents: Iterable[Document], target: str, lang: str, source: Source) -> Iterator[Document]:
    """The documents as the target needs them: split into tokens or not."""
    from biLM.text import Tokenizer
    from ner_elmo.alignment import align, require_sound

    tokenizer = Tokenizer(lang)
    for document in documents:
        require_sound(document)
        yield align(document, tokenizer, source.findings.append) if FORMATS[target].over_tokens else document


def _counted(documents: Iterable[Document], counts: Counter[str]) -> Iterator[Document]:
    for document in documents:
        counts.update(["texts", *(f"field {name}" for name in document.fields)])
        counts["spans"] += len(document.marks)
        counts["tokens"] += document.sentences is not None
        yield document
    if not counts["texts"]:
        raise InputError("nothing to convert: the file must hold at least one text.")
