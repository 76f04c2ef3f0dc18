"""The tagger as ONNX, on ready activations; Viterbi and probabilities are NumPy (`ner_elmo.decoding`).

tagger.onnx    mask (B, T) bool, activations (B, L+1, T, D) float32, characters (U, C), words and casing (U,) int32,
               vectors (U, W) float32, token_index (B, T) int32, gazetteers (B, T, 4 * types) float32
               -> emissions (B, T, K) float32; what a tagger does not read is no input of it
tagger.json    tags; transitions (from, to), start and end scores, null where the scheme forbids; the biLM's shape
words.txt      the words of a tagger with learned vectors, in the order of their ids, the first of which is 2
the rest       confidence.json, word_vectors.*, gazetteers/ as in a model directory
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from biLM import BiLM
from biLM.batching import batches_by_length
from biLM.errors import InputError
from biLM.files import read_object, whole_directory, write_object
from ner_elmo.batching import Features, Prepared, Tokens
from ner_elmo.bundle import read_features, write_features
from ner_elmo.confidence import Confidence
from ner_elmo.decoding import Scores, decode
from ner_elmo.entities import Span, TagSet
from ner_elmo.exporting.check import check, sample_sentences
from ner_elmo.predictor import Predictor
from ner_elmo.tagger import Tagger

FORMAT = 1
OPSET = 18


class OnnxTagger:
    """Tags tokenised sentences with ONNX Runtime.

    Arguments: session: an `onnxruntime.InferenceSession`; features: what the tagger reads.
    Example: `OnnxTagger.load("exported", load_bilm("weights.hdf5")).tag_sentences([["Ada", "Lund", "left", "."]])`.
    """

    def __init__(
        self,
        session: Any,
        features: Features,
        scores: Scores,
        tag_set: TagSet,
        confidence: Confidence,
        batch_size: int = 32,
    ):
        self.session, self.features, self.scores, self.tag_set = session, features, scores, tag_set
        self.confidence, self.batch_size = confidence, batch_size

    @classmethod
    def load(cls, directory: str | Path, bilm: BiLM | None = None) -> OnnxTagger:
        """Reads an exported directory. Raises InputError for what is none, for a damaged one or one of a newer version, and
        for a biLM of another shape."""
        directory = Path(directory)
        if not (directory / "tagger.json").is_file():
            raise InputError(f"{directory}: is no exported tagger, tagger.json is missing.")
        says = read_object(directory / "tagger.json")
        if says.get("format") != FORMAT:
            raise InputError(
                f"{directory}/tagger.json: format must be {FORMAT}. Received: {says.get('format')!r}. Update ner-elmo."
            )
        if missing := [key for key in ("bilm", "casing", "types", "transitions", "start", "end") if key not in says]:
            raise InputError(f"{directory}/tagger.json: must hold {', '.join(missing)}. Export the tagger again.")
        if (_shape(bilm) or None) != says["bilm"]:
            raise InputError(f"{directory}: needs a biLM like {says['bilm']}. Received: {_shape(bilm) or None}.")
        scores = Scores(*(_with_infinity(says[name]) for name in ("transitions", "start", "end")))
        session = _session(directory / "tagger.onnx")
        features = read_features(directory, bilm, bool(says["casing"]))
        return cls(session, features, scores, TagSet(says["types"]), Confidence.read(directory))

    def tag_sentences(self, sentences: Sequence[Tokens]) -> list[list[tuple[Span, float]]]:
        """Spans of tokenised sentences, each with its confidence, as `Predictor.tag_sentences`."""
        inputs = Prepared(self.features, sentences)
        result: dict[int, list[tuple[Span, float]]] = {}
        real = np.flatnonzero(inputs.lengths)
        for chosen in batches_by_length(inputs.lengths[real], self.batch_size):
            positions = real[chosen].tolist()
            (emissions,) = self.session.run(None, flat(inputs.batch(positions)))
            found = decode(emissions, inputs.lengths[positions], self.scores, self.tag_set)
            result |= zip(positions, found, strict=True)
        ordered = (result.get(position, []) for position in range(len(sentences)))
        return [[(span, self.confidence(p)) for span, p in spans] for spans in ordered]


def _session(path: Path) -> Any:
    try:
        from onnxruntime import InferenceSession
    except ImportError as error:
        raise InputError(f'ONNX needs more packages: pip install "ner-elmo[onnx]" ({error}).') from error
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    try:
        return InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except (state.NoSuchFile, state.InvalidProtobuf, state.InvalidArgument, state.InvalidGraph, state.Fail) as error:
        says = " ".join(str(error).split())
        raise InputError(
            f"{path}: cannot be read: {says} If it is newer than this onnxruntime, update it; else export the tagger again."
        ) from error


def flat(inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    """The inputs of a batch without nesting, by the names that the ONNX model has."""
    tokens = inputs.get("tokens", {})
    return {name: value for name, value in inputs.items() if name != "tokens"} | tokens


@keras.saving.register_keras_serializable("ner_elmo")
class FlatTagger(keras.Model):
    """A `Tagger` whose inputs are a flat dictionary."""

    def __init__(self, tagger: Tagger, **kwargs):
        super().__init__(**kwargs)
        self.tagger = tagger

    def call(self, inputs):
        nested = {name: value for name, value in inputs.items() if name in ("mask", "activations", "gazetteers")}
        tokens = {name: value for name, value in inputs.items() if name not in nested}
        return self.tagger(nested | ({"tokens": tokens} if tokens else {}))


def export_onnx(tagger: Predictor, directory: Path) -> int:
    """Writes the ONNX model, reads it back and compares it with the tagger; it appears whole and right, or not at all.

    Returns how many sentences were compared. Raises: InputError where the directory holds something, and where tf2onnx or
    onnxruntime are missing.
    """
    try:
        import onnxruntime  # noqa: F401
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise InputError(f'ONNX needs more packages: pip install "ner-elmo[onnx]" ({error}).') from error
    features = tagger.features
    sentences = sample_sentences(features.words)
    with whole_directory(directory) as partial:
        write_object(partial / "tagger.json", _describe(tagger))
        write_features(partial, features)
        tagger.confidence.write(partial)
        _write(tagger.tagger, flat(features.batch(sentences[:2])), partial / "tagger.onnx")
        found = OnnxTagger.load(partial, features.bilm).tag_sentences(sentences)
        check(tagger, sentences, [[(s.type, s.start, s.end, p) for s, p in spans] for spans in found])
    return len(sentences)


def _write(tagger: Tagger, example: dict[str, np.ndarray], path: Path) -> None:
    model = FlatTagger(tagger)
    model(example)
    fixed = {"activations": (1, 3), "vectors": (1,), "gazetteers": (2,)}  # axes whose size is part of the model
    signature = {
        name: keras.InputSpec(
            dtype=str(value.dtype), name=name,
            shape=tuple(size if axis in fixed.get(name, ()) else None for axis, size in enumerate(value.shape)),
        )
        for name, value in example.items()
    }  # fmt: skip
    with warnings.catch_warnings(), _known_lstms(tagger):
        warnings.simplefilter("ignore", FutureWarning)  # tf2onnx asks NumPy for names of its first version
        model.export(path, format="onnx", verbose=False, input_signature=[signature], opset_version=OPSET)


@contextmanager
def _known_lstms(tagger: Tagger) -> Iterator[None]:
    """tf2onnx finds Keras' loop to be ONNX's LSTM, which is faster to run than a loop."""
    lstms = [lstm for bilstm in tagger.network.bilstms for lstm in (bilstm.forward, bilstm.backward)]
    for lstm in lstms:
        lstm.as_keras = True
    try:
        yield
    finally:
        for lstm in lstms:
            lstm.as_keras = False


def _describe(tagger: Predictor) -> dict[str, Any]:
    scores = {name: _without_infinity(getattr(tagger.scores, name)) for name in ("transitions", "start", "end")}
    says = {"format": FORMAT, "types": list(tagger.tag_set.types), "tags": tagger.tag_set.tags, **scores}
    return says | {"casing": tagger.features.casing, "bilm": _shape(tagger.features.bilm) or None}


def _shape(bilm: BiLM | None) -> dict[str, int]:
    return {"width": bilm.width, "n_layers": bilm.n_layers} if bilm is not None else {}


def _without_infinity(scores: np.ndarray) -> list:
    return [_without_infinity(row) if row.ndim else float(row) if np.isfinite(row) else None for row in scores]


def _with_infinity(scores: list) -> np.ndarray:
    return np.array([_with_infinity(row) if isinstance(row, list) else -np.inf if row is None else row for row in scores])
