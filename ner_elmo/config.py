"""`TrainConfig`: every option of training, once: the command line, the JSON file and the saved configuration.

default < `--config FILE` < flag. An unknown key of the file is an error that names the nearest one.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from biLM.errors import require
from biLM.files import read_object
from biLM.flags import check_mapping, from_mapping, option
from biLM.published import NAMES_HELP, TFHUB

HERE = Path(__file__).resolve().parent
DATA = HERE / "data" if (HERE / "data").is_dir() else HERE.parent / "data"  # installed, or in a checkout
BUNDLED_BILM = DATA / "bilm"
SAMPLE = DATA / "sample"
NO_ELMO = NO_VECTORS = "none"
AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Options of `train_ner.py`. Paths are kept as text; lists of files are tuples.

    Points in their help are of dev F1, measured with that option alone changed (CONTRIBUTING.md has the runs).
    """

    train: tuple[str, ...] = option((str(SAMPLE / "train.conll"),), "annotated training files")
    dev: tuple[str, ...] = option((str(SAMPLE / "dev.conll"),), "annotated files that pick the best epoch")
    test: tuple[str, ...] = option((str(SAMPLE / "test.conll"),), "annotated files for the final report")
    tag_scheme: Literal["auto", "IOB1", "IOB2", "BIOES"] = option("auto", "how the files are tagged; IOB1 reads leniently")
    format: str = option("auto", "of annotated files; by the name and content of each when not given")
    columns: tuple[int, ...] | None = option(
        None, "where token and tag stand in column files, from 1, or from the end (-1), as a JSON list; found when not given"
    )
    field: str | None = option(None, "key or column of the text in annotated files, where it has no usual name")
    lang: str = option("en", "language code of spaCy's tokenizer, for raw text in annotated files and at prediction")
    output: str | None = option(None, "directory of the model; models/TIME when not given")
    overwrite: bool = option(False, "replace a model that stands in the output directory")
    license: str | None = option(None, "licence of the model, for its card, such as cc-by-4.0")
    dataset: str | None = option(None, "name of the data, for the card; the test file's folder when not given")

    elmo: str = option(
        str(BUNDLED_BILM), f"ELMo weights (HDF5) or their directory; {NAMES_HELP}; 'none': learned vectors alone"
    )
    elmo_options: str | None = option(None, "options.json of the weights; found beside them when not given")
    offline: bool = option(False, "download nothing, whatever --elmo names")
    initial_state: Literal["warm", "zero"] = option("warm", "what the biLM starts each sentence from")
    train_bilm: bool = option(
        False, "fine-tune the biLM with the tagger: slower, for nothing can be cached (-0.3 and +0.2 points on two sets)"
    )
    include_bilm: bool = option(True, "copy the biLM into the model directory, so that it works anywhere")
    layers: tuple[int, ...] | None = option(
        None, "layers of the biLM to mix, as a JSON list; all when not given (the lower two alone: -0.8 points)"
    )
    bilm_learning_rate: float = option(0.0001, "of the biLM where it is fine-tuned: it has less to learn than the tagger")
    output_mix: bool = option(
        False, "a second mix, beside the BiLSTM's output (Peters et al. 2018, section 5.2; -0.9 points)"
    )
    layer_norm: bool = option(False, "normalise layers before the mix (AllenNLP's do_layer_norm; -0.2 points)")
    l2: float = option(0.001, "L2 on the mix weights before softmax (Peters et al. 2018)")

    head: Literal["crf", "softmax"] = option(
        "crf",
        "what scores tag sequences (Reimers and Gurevych 2017: the CRF wins on dependent tags; here as many points, and "
        "confidences that are closer)",
    )
    hidden_size: int = option(
        256,
        "units of an LSTM in each direction (Reimers and Gurevych 2017: 100 or more matters little; 128: -0.9 points; 400: "
        "+0.3 with 2,000 sentences, -0.3 with 14,041, and 1.6 times as long)",
    )
    n_blocks: int = option(1, "residual blocks of two BiLSTMs (2: -0.6 points)")
    dropout: float = option(
        0.5,
        "on the tagger's input and between its layers, the same mask at every step (Gal and Ghahramani 2016; the share of "
        "AllenNLP's ner_elmo; 0.3: +0.3 points, in batches of 8 -0.2)",
    )
    token_vectors: bool = option(
        True,
        "learned word and character vectors beside ELMo (Peters et al. 2018 put it beside such; without: -1.4 to -1.6 "
        "points, but up to +3.3 where hardly an entity is in training)",
    )
    word_dim: int = option(100, "width of the learned word vectors (Lample et al. 2016)")
    word_dropout: float = option(
        0.1,
        "share of the words of a batch that training takes for unknown ones, so that unknown ones are learned too "
        "(after Lample et al. 2016, who do so with words seen once; 0: +0.2 points, but -1.1 where all have ready vectors)",
    )
    word_vectors: str | None = option(
        AUTO,
        "ready word vectors to read as well: a file in GloVe's, word2vec's or fastText's text format, plain, .gz or .xz, or "
        "the directory of a biLM that was trained here: those of its softmax; auto: those of --elmo where it has some; none "
        "(-1.0 points)",
    )
    word_vectors_max: int = option(200_000, "words of that file that are read, from its beginning: each takes memory")
    casing: bool = option(False, "a learned vector of how a token is written (Collobert et al. 2011; +0.1 points)")
    gazetteer: tuple[str, ...] = option(
        (), "TYPE=FILE, known names of a type, a name a line; may be given again (32,423 places: +0.1 points)"
    )

    epochs: int = option(20, "passes over the training files at most (+0.9 points over 10, with 2,000 sentences)")
    patience: int = option(
        6, "stop after this many epochs without a better dev F1 (about a third of all, as in AllenNLP's ner_elmo)"
    )
    batch_size: int | None = option(
        None,
        "sentences of a batch (Reimers and Gurevych 2017: 8 to 32 for large sets, fewer for small ones); when not given 32, "
        "of fewer than 480 sentences a fifteenth, at least 4",
    )
    batch_tokens: int | None = option(None, "tokens of a batch, padding included, in the place of batch_size")
    learning_rate: float = option(
        0.002,
        "of Adam, falling to 0 along a cosine over all epochs (0.001, as in AllenNLP's ner_elmo: -0.1 to -6.7 points with "
        "30 to 4,560 sentences, +0.2 with 14,041)",
    )
    warmup_steps: int = option(0, "batches over which the learning rate rises to its height (300: +0.1 points)")
    ema: float = option(
        0.0,
        "momentum of the average of weights that is measured and kept, such as 0.999; 0: the weights (0.998: -0.5 points)",
    )
    clip_norm: float = option(
        5.0, "global norm that gradients are clipped to (AllenNLP's ner_elmo; not at all: -0.9 points)"
    )
    devices: int = option(1, "devices of this machine that share each batch (docs/keras.md)")
    seed: int = option(1, "of weights, dropout and order: on one machine the same seed gives the same model")
    seeds: int = option(1, "train with so many seeds, from `seed` on; mean and deviation are told, the best on dev is kept")
    learning_curve: bool = option(False, "train on 10, 25 and 50 % of the sentences too: would more annotation help?")
    baseline: Literal["crf"] | None = option(None, "crf: train the CRF of sklearn-crfsuite on the same files for comparison")
    tune: int | None = option(
        None, "look for better options first, with so many trainings; the same command goes on where it was stopped"
    )
    tune_options: tuple[str, ...] = option((), "which options --tune varies, as a JSON list; all that it can when not given")
    tensorboard: str | None = option(None, "directory for each epoch's figures, for TensorBoard, while training goes on")
    cache_dir: str | None = option(
        None, "where activations of a frozen biLM are kept between runs; a user cache directory when not given"
    )
    cache: bool = option(True, "keep activations of a frozen biLM on disk; without it they are computed in every epoch")
    cache_size: float = option(20.0, "GB that the cache may hold; what was used longest ago makes room")

    def __post_init__(self) -> None:
        whole = ("hidden_size", "n_blocks", "word_dim", "word_vectors_max", "epochs", "seeds", "patience")
        for name in (*whole, "devices"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1", getattr(self, name))
        for name, most in (("hidden_size", 16384), ("n_blocks", 64), ("word_dim", 16384)):
            require(getattr(self, name) <= most, f"{name} must be at most {most}", getattr(self, name))
        require(0 <= self.seed < 2**32, f"seed must be from 0 to {2**32 - 1}", self.seed)
        require(self.columns is None or len(self.columns) == 2, "columns must be two numbers", self.columns)
        require(0 <= self.dropout < 1, "dropout must be at least 0 and below 1", self.dropout)
        require(0 <= self.word_dropout < 1, "word_dropout must be at least 0 and below 1", self.word_dropout)
        require(self.learning_rate > 0, "learning_rate must be above 0", self.learning_rate)
        require(self.bilm_learning_rate > 0, "bilm_learning_rate must be above 0", self.bilm_learning_rate)
        require(self.batch_size is None or self.batch_size >= 1, "batch_size must be at least 1", self.batch_size)
        require(self.batch_tokens is None or self.batch_tokens >= 1, "batch_tokens must be at least 1", self.batch_tokens)
        require(self.tune is None or self.tune >= 1, "tune must be at least 1", self.tune)
        require(not self.tune or self.output is not None, "tune needs an output, to find its journal again", "output=null")
        require(self.warmup_steps >= 0, "warmup_steps must be at least 0", self.warmup_steps)
        require(0 <= self.ema < 1, "ema must be at least 0 and below 1", self.ema)
        require(self.clip_norm > 0, "clip_norm must be above 0", self.clip_norm)
        require(0 <= self.cache_size < math.inf, "cache_size must be a number of GB, at least 0", self.cache_size)
        require(self.l2 >= 0, "l2 must be at least 0", self.l2)
        reads = self.token_vectors or self.word_vectors_path or self.elmo != NO_ELMO
        require(bool(reads), "without token_vectors and word_vectors there must be a biLM", "elmo='none'")
        require(not (self.train_bilm and self.elmo == NO_ELMO), "train_bilm needs a biLM", "elmo='none'")
        require(self.include_bilm or not self.train_bilm, "a fine-tuned biLM is nowhere else: include_bilm", False)
        require(not (self.train_bilm and self.elmo.startswith(TFHUB)), "a TF-Hub module cannot be fine-tuned", "train_bilm")

    @property
    def top_layer(self) -> int | None:
        """The highest layer of the biLM that the mix uses; None: all."""
        return max(self.layers) if self.layers else None

    @property
    def word_vectors_path(self) -> str | None:
        """The file or directory that word vectors are read from; None: there are none."""
        if self.word_vectors != AUTO:
            return None if self.word_vectors == NO_VECTORS else self.word_vectors
        elmo = Path(self.elmo)
        directory = elmo.parent if elmo.name == "weights.hdf5" else elmo
        has_some = all((directory / name).is_file() for name in ("weights.hdf5", "softmax.hdf5", "vocab.txt"))
        return str(directory) if has_some else None

    @property
    def files(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Of train, dev and test."""
        return self.train, self.dev, self.test

    @property
    def reading(self) -> dict[str, Any]:
        """How `read_sentences` shall read them."""
        return {"scheme": self.tag_scheme, "lang": self.lang, "format": self.format, "columns": self.columns,
                "text_field": self.field}  # fmt: skip

    def batch_of(self, n_sentences: int) -> int:
        """Sentences of a batch where training has so many: an epoch of few sentences, too, has steps to learn from."""
        return self.batch_size or min(32, max(4, n_sentences // 15))

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "configuration") -> TrainConfig:
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        return from_mapping(cls, values, where)

    @classmethod
    def read(cls, path: str | Path) -> dict[str, Any]:
        """The keys of a JSON file and the kinds of their values, checked; their sense together is known with the flags."""
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in read_object(path).items()}
        check_mapping(cls, values, str(path))
        return values
