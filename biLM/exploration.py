"""Looking at vectors: nearest tokens in context, and words' vectors in context for a picture or a projector."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from biLM.corpus import count_lines, open_text
from biLM.errors import InputError
from biLM.files import whole_file
from biLM.model import BiLM
from biLM.progress import Report, silent

LINES_AT_ONCE = 2048
SNIPPET = 6  # tokens on each side


@dataclass(frozen=True)
class Occurrence:
    """A token in its sentence: line (from 1) and position (from 0) in the text, and some tokens around it."""

    token: str
    line: int
    position: int
    snippet: str


def occurrences(
    bilm: BiLM,
    source: str | Path,
    layer: int = -1,
    words: frozenset[str] | None = None,
    report: Report = silent,
) -> Iterator[tuple[list[Occurrence], np.ndarray]]:
    """Yields tokens of a text (those among `words`, all when None) with their vectors (n, D) of one layer.

    A chunk of lines at a time: memory does not depend on the text. `report`: (lines done, in all).
    """
    require_layer(bilm, layer)
    n_lines, table = count_lines(Path(source)), bilm.token_table()
    with open_text(source) as text:
        numbered = enumerate(text, 1)
        while chunk := list(islice(numbered, LINES_AT_ONCE)):
            report(chunk[0][0] - 1, n_lines)
            lines = [(number, line.split()) for number, line in chunk]
            lines = [(n, tokens) for n, tokens in lines if tokens and (words is None or not words.isdisjoint(tokens))]
            found, vectors = [], []
            for positions, batch in bilm.embed_in_batches([tokens for _, tokens in lines], table=table):
                for row, place in enumerate(positions):
                    number, tokens = lines[place]
                    chosen = [k for k, token in enumerate(tokens) if words is None or token in words]
                    found += [Occurrence(tokens[k], number, k, snippet(tokens, k)) for k in chosen]
                    vectors.append(batch[row][layer, chosen])
            if found:
                yield found, np.concatenate(vectors)


def require_layer(bilm: BiLM, layer: int) -> None:
    if not -bilm.n_layers <= layer < bilm.n_layers:
        raise InputError(f"the layer must be from 0 to {bilm.n_layers - 1}. Received: {layer}.")


def snippet(tokens: Sequence[str], position: int) -> str:
    """Some tokens on each side of one, which stands in brackets."""
    before, after = tokens[max(0, position - SNIPPET) : position], tokens[position + 1 : position + 1 + SNIPPET]
    return " ".join([*before, f"[{tokens[position]}]", *after])


def neighbours(
    bilm: BiLM,
    source: str | Path,
    sentence: Sequence[str],
    position: int,
    layer: int = -1,
    n: int = 10,
    report: Report = silent,
) -> list[tuple[float, Occurrence]]:
    """The n tokens of a text whose vectors in context have the greatest cosine with that of `sentence[position]`."""
    if not 0 <= position < len(sentence):
        raise InputError(f"the position must be from 0 to {len(sentence) - 1}. Received: {position}.")
    require_layer(bilm, layer)
    query = bilm.embed([sentence])[0][layer, position]
    query = query / np.linalg.norm(query)
    best: list[tuple[float, int, Occurrence]] = []
    seen = 0
    for found, vectors in occurrences(bilm, source, layer, report=report):
        cosines = vectors @ query / np.linalg.norm(vectors, axis=1)
        for place in np.argsort(-cosines, kind="stable")[:n].tolist():
            best.append((float(cosines[place]), -(seen + place), found[place]))
        seen += len(found)
        best = heapq.nlargest(n, best, key=lambda item: item[:2])
    return [(cosine, occurrence) for cosine, _, occurrence in best]


def collect(
    bilm: BiLM,
    source: str | Path,
    words: Sequence[str],
    layer: int = -1,
    limit: int = 200,
    report: Report = silent,
) -> tuple[list[Occurrence], np.ndarray]:
    """At most `limit` occurrences of each word, the first ones. A word that does not occur is an InputError."""
    counts: Counter[str] = Counter()
    kept: list[Occurrence] = []
    rows: list[np.ndarray] = []
    for found, vectors in occurrences(bilm, source, layer, frozenset(words), report):
        for occurrence, vector in zip(found, vectors, strict=True):
            if counts[occurrence.token] < limit:
                counts[occurrence.token] += 1
                kept.append(occurrence)
                rows.append(vector.copy())
    if missing := [word for word in words if not counts[word]]:
        raise InputError(f"{source}: does not hold {', '.join(map(repr, missing))}. Words are compared as they are written.")
    return kept, np.stack(rows)


def write_picture(found: Sequence[Occurrence], vectors: np.ndarray, target: Path, seed: int = 0) -> None:
    """A t-SNE of vectors in context as a PNG, a colour a word."""
    if len(found) < 4:
        raise InputError(f"a picture needs at least 4 occurrences. Received: {len(found)}.")
    from matplotlib.figure import Figure
    from sklearn.manifold import TSNE

    places = TSNE(perplexity=min(30.0, (len(found) - 1) / 3), init="pca", random_state=seed).fit_transform(vectors)
    figure = Figure(figsize=(8, 8), layout="constrained")
    axes = figure.add_subplot()
    for word in dict.fromkeys(occurrence.token for occurrence in found):
        chosen = [k for k, occurrence in enumerate(found) if occurrence.token == word]
        axes.scatter(places[chosen, 0], places[chosen, 1], s=18, alpha=0.7, label=f"{word} ({len(chosen)})")
    axes.legend()
    axes.set_axis_off()
    with whole_file(target) as partial:
        figure.savefig(partial, format="png", dpi=120)


def write_projector(columns: Sequence[str], rows: Iterable[Sequence[object]], vectors: np.ndarray, directory: Path) -> None:
    """vectors.tsv, metadata.tsv and projector_config.pbtxt, as TensorBoard's embedding projector reads them.

    columns, rows: what the projector shows of each vector (n, D), and can be asked to colour by.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with whole_file(directory / "vectors.tsv") as partial:
        np.savetxt(partial, vectors, fmt="%.6g", delimiter="\t")
    with whole_file(directory / "metadata.tsv") as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        file.writelines("\t".join(map(str, row)) + "\n" for row in (columns, *rows))  # without quotes and escapes
    lines = ('tensor_name: "tokens in context"', 'tensor_path: "vectors.tsv"', 'metadata_path: "metadata.tsv"')
    config = "".join(["embeddings {\n", *(f"  {line}\n" for line in lines), "}\n"])
    with whole_file(directory / "projector_config.pbtxt") as partial:
        partial.write_text(config, encoding="utf-8")
