"""`BiLMOptions`: the shape of a biLM, read from and written to the field's options.json.

Only what shapes the network has a field here; every other key of the file (training settings, keys of other tools) is
kept in `extra` and written back. The training settings themselves are `biLM.training_options.TrainingOptions`.

Source: options.json of bilm-tf and AllenNLP.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from biLM.errors import InputError
from biLM.files import read_object, write_object
from biLM.flags import option

N_CHARACTERS = 261  # raw ids 0..260; published files say 262, counting the padding id that model input adds


@dataclass(frozen=True, kw_only=True)
class LSTMOptions:
    """One residual LSTM stack. `cell_clip` and `proj_clip` are off at 0; `projection_dim == dim` means no projection."""

    dim: int = option(MISSING, "units of an LSTM layer")
    projection_dim: int = option(MISSING, "width of an LSTM layer's output; as large as --lstm-dim: no projection")
    n_layers: int = option(1, "LSTM layers of a direction")
    cell_clip: float = option(0.0, "the cell state is clipped to plus and minus this; 0: not at all")
    proj_clip: float = option(0.0, "the output is clipped to plus and minus this; 0: not at all")
    use_skip_connections: bool = option(False, "add the input of a layer to its output, from the second layer on")

    @property
    def has_projection(self) -> bool:
        return self.projection_dim != self.dim


@dataclass(frozen=True, kw_only=True)
class CharCNNOptions:
    """The character encoder. `filters` are (width, count) pairs; `n_characters` is 261 or 262, the same network."""

    filters: tuple[tuple[int, int], ...] = option(MISSING, "[[width, count], ...] of the convolution's filters")
    embedding_dim: int = option(16, "width of a character's vector")
    activation: str = option("relu", "after the convolution: relu or tanh")
    n_highway: int = option(0, "highway layers after the convolution")
    n_characters: int = option(N_CHARACTERS, "261, or 262 as published files say: the same network")
    max_characters_per_token: int = option(50, "bytes that are read of a token, with its two marks")

    @property
    def n_filters(self) -> int:
        return sum(count for _, count in self.filters)

    @property
    def widest(self) -> int:
        return max(width for width, _ in self.filters)


@dataclass(frozen=True, kw_only=True)
class BiLMOptions:
    """The shape of a biLM. `char_cnn=None` means word-id input, with `n_tokens_vocab` rows in its embedding."""

    lstm: LSTMOptions
    char_cnn: CharCNNOptions | None = None
    bidirectional: bool = True
    dropout: float = 0.1
    n_tokens_vocab: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise InputError("options: " + "; ".join(problems) + ".")

    @property
    def n_directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def width(self) -> int:
        """D, the width of a layer of activations."""
        return self.n_directions * self.lstm.projection_dim

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> BiLMOptions:
        """Reads the dictionary of an options.json. Keys that are absent, null or 0 mean what the reference means by them."""
        extra = {key: value for key, value in raw.items() if key not in ("lstm", "char_cnn", *_TOP_LEVEL)}
        lstm, lstm_extra = _split(_section(raw, "lstm"), LSTMOptions)
        if lstm_extra:
            extra["lstm"] = lstm_extra
        char_cnn = None
        if raw.get("char_cnn"):
            section = dict(_section(raw, "char_cnn"))
            embedding = section.pop("embedding", {})
            if not isinstance(embedding, dict):
                raise InputError(f"options: char_cnn.embedding must hold an object. Received: {embedding!r}.")
            section["embedding_dim"] = embedding.get("dim", 16)
            embedding_extra = {key: value for key, value in embedding.items() if key != "dim"}
            section["filters"] = _pairs(section.get("filters", ()))
            known, cnn_extra = _split(section, CharCNNOptions)
            char_cnn = _construct(CharCNNOptions, known, "char_cnn")
            if embedding_extra:
                cnn_extra["embedding"] = embedding_extra
            if cnn_extra:
                extra["char_cnn"] = cnn_extra
        top = {key: raw[key] for key in _TOP_LEVEL if raw.get(key) is not None}
        return cls(lstm=_construct(LSTMOptions, lstm, "lstm"), char_cnn=char_cnn, extra=extra, **top)

    def to_dict(self) -> dict[str, Any]:
        """The dictionary of an options.json, `extra` merged back in."""
        extra = dict(self.extra)
        raw: dict[str, Any] = {"bidirectional": self.bidirectional, "dropout": self.dropout}
        if self.n_tokens_vocab is not None:
            raw["n_tokens_vocab"] = self.n_tokens_vocab
        lstm = asdict(self.lstm)
        for name in ("cell_clip", "proj_clip"):
            if not lstm[name]:  # to other tools a limit of 0 is one
                del lstm[name]
        raw["lstm"] = lstm | extra.pop("lstm", {})
        if self.char_cnn:
            section = asdict(self.char_cnn)
            cnn_extra = dict(extra.pop("char_cnn", {}))
            section["embedding"] = {"dim": section.pop("embedding_dim")} | cnn_extra.pop("embedding", {})
            section["filters"] = [list(pair) for pair in self.char_cnn.filters]
            raw["char_cnn"] = section | cnn_extra
        return raw | extra

    @classmethod
    def read(cls, path: str | Path) -> BiLMOptions:
        """Reads an options.json; every complaint names the file."""
        raw = read_object(path)
        try:
            return cls.from_dict(raw)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def write(self, path: str | Path) -> None:
        write_object(path, self.to_dict())


_TOP_LEVEL = ("bidirectional", "dropout", "n_tokens_vocab")


def _section(raw: dict[str, Any], name: str) -> dict[str, Any]:
    section = raw.get(name)
    if not isinstance(section, dict):
        raise InputError(f"options: the key {name!r} must hold an object. Received: {section!r}.")
    return section


def _pairs(filters: Any) -> tuple[tuple[Any, ...], ...]:
    if not isinstance(filters, list | tuple) or not all(isinstance(pair, list | tuple) for pair in filters):
        raise InputError(f"options: char_cnn.filters must be pairs [width, count]. Received: {filters!r}.")
    return tuple(map(tuple, filters))


def _split(section: dict[str, Any], cls: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of `cls` that hold a value, and the keys that `cls` does not know."""
    known = {f.name for f in fields(cls)}
    found = {key: value for key, value in section.items() if key in known and value is not None}
    return found, {key: value for key, value in section.items() if key not in known}


def _construct(cls: type, values: dict[str, Any], section: str) -> Any:
    missing = [f.name for f in fields(cls) if f.default is MISSING and f.name not in values]
    if missing:
        raise InputError(f"options: {section} must hold {', '.join(missing)}. Received: {sorted(values)}.")
    return cls(**values)


def _problems(options: BiLMOptions) -> Iterator[str]:
    if not isinstance(options.bidirectional, bool):
        yield f"bidirectional must be true or false. Received: {options.bidirectional!r}"
    if not (options.n_tokens_vocab is None or (isinstance(options.n_tokens_vocab, int) and options.n_tokens_vocab >= 0)):
        yield f"n_tokens_vocab must be a whole number. Received: {options.n_tokens_vocab!r}"
    if not (isinstance(options.dropout, int | float) and 0 <= options.dropout < 1):
        yield f"dropout must be at least 0 and below 1. Received: {options.dropout!r}"
    yield from _lstm_problems(options.lstm)
    if options.char_cnn is not None:
        yield from _cnn_problems(options.char_cnn)


def _lstm_problems(lstm: LSTMOptions) -> Iterator[str]:
    for name, most in (("dim", 2**16), ("projection_dim", 2**16), ("n_layers", 2**10)):
        value = getattr(lstm, name)
        if not (isinstance(value, int) and 0 < value <= most):
            yield f"lstm.{name} must be a whole number from 1 to {most}. Received: {value!r}"
    for name in ("cell_clip", "proj_clip"):
        value = getattr(lstm, name)
        if not (isinstance(value, int | float) and value >= 0):
            yield f"lstm.{name} must be a number of at least 0 (0: off). Received: {value!r}"
    if not isinstance(lstm.use_skip_connections, bool):
        yield f"lstm.use_skip_connections must be true or false. Received: {lstm.use_skip_connections!r}"


def _cnn_problems(cnn: CharCNNOptions) -> Iterator[str]:
    if not cnn.filters or not all(
        len(pair) == 2 and all(isinstance(n, int) and 0 < n <= 2**16 for n in pair) for pair in cnn.filters
    ):
        yield f"char_cnn.filters must be pairs [width, count] of positive whole numbers. Received: {cnn.filters!r}"
        return
    if cnn.activation not in ("relu", "tanh"):
        yield f"char_cnn.activation must be 'relu' or 'tanh'. Received: {cnn.activation!r}"
    if cnn.n_characters not in (N_CHARACTERS, N_CHARACTERS + 1):
        yield f"char_cnn.n_characters must be 261 or 262 (the same network). Received: {cnn.n_characters!r}"
    if not (isinstance(cnn.n_highway, int) and 0 <= cnn.n_highway <= 100):
        yield f"char_cnn.n_highway must be a whole number from 0 to 100. Received: {cnn.n_highway!r}"
    if not (isinstance(cnn.embedding_dim, int) and 0 < cnn.embedding_dim <= 2**16):
        yield f"char_cnn.embedding.dim must be a positive whole number. Received: {cnn.embedding_dim!r}"
    limit = cnn.max_characters_per_token
    if not (isinstance(limit, int) and max(3, cnn.widest) <= limit <= 2**16):
        yield (
            "char_cnn.max_characters_per_token must be a whole number, at least 3 and at least the widest filter "
            f"({cnn.widest}). Received: {limit!r}"
        )
