"""`python -m ner_elmo check | convert | split`: annotated files looked at, mended, written in another format, divided."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from biLM.errors import InputError
from biLM.files import whole_directory
from ner_elmo.formats.document import Document, Finding
from ner_elmo.formats.source import Source
from ner_elmo.formats.spans_json import shown
from ner_elmo.formats.table import FORMATS, documents_of, format_to_write, write
from ner_elmo.reading_flags import add_reading_flags, reading

SIDES = ("train", "dev", "test")
LISTED = 20  # of each kind; --json lists all
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")  # what would steer a terminal, or end the line


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
    split = commands.add_parser("split", help="divide an annotated file into train, dev and test files")
    split.add_argument("source", type=Path, metavar="IN", help="annotated file; its texts, or sentences, are divided")
    split.add_argument("--out", type=Path, required=True, metavar="DIR", help="where train.*, dev.* and test.* shall be")
    for side in SIDES[1:]:
        split.add_argument(f"--{side}", type=float, default=0.1, metavar="SHARE", help="about so much of it. Default: 0.1.")
    split.add_argument("--seed", type=int, default=0, metavar="N", help="another number divides otherwise. Default: 0.")
    split.add_argument("--lang", default="en", metavar="CODE", help="of the tokenizer, for raw text. Default: en.")
    add_reading_flags(split)
    split.set_defaults(run=_split)


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
            yield _CONTROL.sub(lambda match: repr(match[0])[1:-1], row)
        else:
            rest += 1
    if rest:
        yield f"    ... and {rest:,} more"


def _convert(args: argparse.Namespace) -> None:
    target = args.to or format_to_write(args.target)
    _require_another(args.source, args.target)
    source, name, counts = _copy(
        args, args.target, target, lambda text: True, "nothing to convert: the file must hold at least one text."
    )
    _tell_source(source, name)
    _tell_copy(args.target, target, counts)


def _split(args: argparse.Namespace) -> None:
    """Each text goes where a hash of it says: equal ones to the same side, and texts that are added later move no other."""
    if min(args.dev, args.test) <= 0 or args.dev + args.test >= 1:
        raise InputError(
            f"--dev and --test must be above 0 and leave something to train on. Received: {args.dev:g} and {args.test:g}."
        )
    packed = args.source.suffix if args.source.suffix.lower() in (".gz", ".xz") else ""
    ending = Path(args.source.name.removesuffix(packed)).suffix + packed
    with whole_directory(args.out) as partial:
        for side in SIDES:
            wanted = lambda text, side=side: _side(text, args.dev, args.test, args.seed) == side  # noqa: E731
            name = f"{side}{ending}"
            empty = f"{args.source}: no text falls to {side}. Give it a larger share, or try another --seed."
            source, form, counts = _copy(args, partial / name, None, wanted, empty)
            _tell_source(source, form, side == SIDES[0])
            _tell_copy(args.out / name, form, counts)


def _side(text: str, dev: float, test: float, seed: int) -> str:
    """train, dev or test: by a number from 0 to 1 that the text and the seed give."""
    digest = hashlib.sha256(f"{seed} {text}".encode("utf-8", "surrogatepass")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return "dev" if place < dev else "test" if place < dev + test else "train"


def _copy(
    args: argparse.Namespace, target: Path, to: str | None, wanted: Callable[[str], bool], empty: str
) -> tuple[Source, str, Counter[str]]:
    """Writes the wanted texts of `args.source`. to: the format; its own when None. empty: what is said where
    there are none. Returns the source, its format and counts."""
    how, counts = reading(args), Counter[str]()
    source = Source(args.source, how["scheme"], how["columns"], how["text_field"])
    name, documents = documents_of(source, how["format"])
    chosen = (document for document in documents if wanted(document.text))
    write(_counted(_fitting(chosen, to or name, args.lang, source), counts, empty), target, to or name)
    return source, name, counts


def _tell_source(source: Source, name: str, first: bool = True) -> None:
    """What was found in it; how it is written is told when it is read for the first time."""
    if first:
        print(f"{source.path}: {name} {source.found}".rstrip(), file=sys.stderr)
    for line in _kinds(source.findings):
        print(line, file=sys.stderr)
    if first and source.passed_over:
        print(f"note: {', '.join(sorted(source.passed_over))} are left out", file=sys.stderr)


def _tell_copy(target: Path, name: str, counts: Counter[str]) -> None:
    if counts["tokens"] and not FORMATS[name].over_tokens:
        print(f"note: {name} holds no tokens; whoever reads it splits the text anew", file=sys.stderr)
    lost = FORMATS[name].lost(key.removeprefix("field ") for key in counts if key.startswith("field "))
    if lost:
        print(f"note: {name} has no room for other fields, left out: {shown(lost)}", file=sys.stderr)
    print(f"{target}: {name}, {counts['texts']:,} texts, {counts['spans']:,} spans", file=sys.stderr)


def _fitting(documents: Iterable[Document], target: str, lang: str, source: Source) -> Iterator[Document]:
    """The documents as the target needs them: split into tokens or not."""
    from biLM.text import Tokenizer
    from ner_elmo.alignment import align, require_sound

    tokenizer = Tokenizer(lang)
    for document in documents:
        require_sound(document)
        yield align(document, tokenizer, source.findings.append) if FORMATS[target].over_tokens else document


def _counted(documents: Iterable[Document], counts: Counter[str], empty: str) -> Iterator[Document]:
    for document in documents:
        counts.update(["texts", *(f"field {name}" for name in document.fields)])
        counts["spans"] += len(document.marks)
        counts["tokens"] += document.sentences is not None
        yield document
    if not counts["texts"]:
        raise InputError(empty)
