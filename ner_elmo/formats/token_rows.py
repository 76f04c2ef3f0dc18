"""`jsonl-tokens` and `datasets`: rows of tokens and tags, `{"tokens": [...], "ner_tags": [...]}`, as in the corpora on the
Hugging Face hub: JSON Lines, or a directory that `datasets` saved (extra `datasets`). Nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from biLM.errors import InputError
from ner_elmo.formats.document import Document
from ner_elmo.formats.source import Source, records
from ner_elmo.formats.spans_json import document_of, json_line, short, shown
from ner_elmo.formats.tagged import Block, documents_of, tag_of, tokens_and_tags

TOKENS_KEYS = ("tokens", "words")
TAGS_KEYS = ("ner_tags", "tags", "ner", "labels", "label")


def is_row(record: Any) -> bool:
    if not isinstance(record, dict) or not any(_is_text_list(record.get(key)) for key in TOKENS_KEYS):
        return False
    return any(isinstance(record.get(key), list) for key in TAGS_KEYS) or any(record.get(key) for key in TOKENS_KEYS)


def read_lines(source: Source) -> Iterator[Document]:
    """Documents of one sentence each."""
    return documents_of(
        lambda: (_block(record, where, {}) for where, record in records(source.path, source.passed_over)), source
    )


def _block(record: Any, where: str, names: Mapping[str, Sequence[str]]) -> Block:
    """names: of the tags that are numbers, by column."""
    tokens_key = next((key for key in TOKENS_KEYS if isinstance(record, dict) and _is_text_list(record.get(key))), None)
    tags_key = next((key for key in TAGS_KEYS if isinstance(record, dict) and isinstance(record.get(key), list)), None)
    if tokens_key is None or tags_key is None:
        found = shown(record) if isinstance(record, dict) else type(record).__name__
        raise InputError(f"{where}: must hold lists of tokens and of tags ({', '.join(TAGS_KEYS)}). Received: {found}.")
    tokens, tags = record[tokens_key], record[tags_key]
    if len(tokens) != len(tags):
        raise InputError(f"{where}: as many tags as tokens. Received: {len(tokens)} tokens, {len(tags)} tags.")
    if tags_key in names:
        known = dict(enumerate(names[tags_key]))  # -1 stands for a tag that nobody knows
        tags = [known.get(tag, tag) for tag in tags]
    if not all(isinstance(tag, str) for tag in tags):
        raise InputError(f"{where}: tags must be names such as B-PER. Received: {short(tags)}.")
    fields = {key: value for key, value in record.items() if key not in (tokens_key, tags_key)}
    return Block(where, tokens, [tag_of(tag, where) for tag in tags], fields)


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def render_lines(documents: Iterable[Document]) -> Iterator[str]:
    """A line a sentence, with IOB2 tags."""
    for row in _rows(documents):
        yield json_line(row)


def _rows(documents: Iterable[Document]) -> Iterator[dict[str, list[str]]]:
    for tokens, tags in chain.from_iterable(map(tokens_and_tags, documents)):
        yield {"tokens": tokens, "ner_tags": tags}


def read_directory(source: Source) -> Iterator[Document]:
    """Documents of a saved dataset: rows of tokens and tags, or of texts and spans."""
    dataset = _saved(source.path)
    names = {name: tags for name in TAGS_KEYS if (tags := _class_names(dataset.features.get(name)))}

    def placed() -> Iterator[tuple[str, Any]]:
        return ((f"{source.path}: row {number}", row) for number, row in enumerate(dataset, 1))

    if any(key in dataset.column_names for key in TOKENS_KEYS):
        return documents_of(lambda: (_block(row, where, names) for where, row in placed()), source)
    return (document_of(row, where, source) for where, row in placed())


def _saved(path: Path) -> Any:
    datasets = _library(path)
    whole = any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))
    if not whole and (cached := sorted(path.glob("*.arrow"))):  # a directory of the library's cache
        path = _one(path, cached)
    try:
        found = datasets.Dataset.from_file(str(path)) if path.is_file() else datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read as a saved dataset: {' '.join(str(error).split())[:200]}.") from error
    if isinstance(found, datasets.DatasetDict):
        return _saved(_one(path, [path / name for name in found]))
    return found


def _one(path: Path, sets: list[Path]) -> Path:
    """The set that a directory holds."""
    if len(sets) != 1:
        raise InputError(f"{path}: holds several sets; name one of them: {', '.join(map(str, sets))}.")
    return sets[0]


def _library(path: Path) -> Any:
    try:
        import datasets
    except ImportError:
        raise InputError(f'{path}: saved datasets need the library: pip install "ner-elmo[datasets]".') from None
    return datasets


def _class_names(feature: Any) -> list[str] | None:
    return getattr(getattr(feature, "feature", None), "names", None)


def save_directory(documents: Iterable[Document], path: Path) -> None:
    """One set, with tags as text (IOB2); it is built in memory."""
    datasets = _library(path)
    text = datasets.Value("string")
    features = datasets.Features({name: datasets.List(text) for name in ("tokens", "ner_tags")})
    rows = list(_rows(documents))
    columns = {name: [row[name] for row in rows] for name in features}
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(columns, features).save_to_disk(str(path))
