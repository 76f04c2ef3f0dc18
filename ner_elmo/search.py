"""`--tune N`: looks for better options by dev F1, one training a trial, with Optuna's TPE sampler (Bergstra et al. 2011).

Every trial is in a journal, JSON a line, as soon as it ends: the same command goes on after a break, and finds what it
would have found without one. The first trial is the configuration as it was given. A trial that is worse than most others
were after as many epochs ends early.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from biLM import InputError
from ner_elmo import experiment
from ner_elmo.config import TrainConfig

SPACE: dict[str, tuple[Any, ...]] = {
    "learning_rate": (0.0003, 0.0005, 0.001, 0.0015, 0.002, 0.003),
    "dropout": (0.2, 0.3, 0.4, 0.5, 0.6),
    "hidden_size": (128, 192, 256, 384),
    "n_blocks": (1, 2),
    "batch_size": (8, 16, 32, 64),
    "word_dim": (25, 50, 100, 200),
    "ema": (0.0, 0.99, 0.999),
    "token_vectors": (True, False),
    "word_dropout": (0.0, 0.1, 0.3, 0.5),
}
_FREE = {  # may differ when a search goes on
    "output", "overwrite", "license", "dataset", "seeds", "learning_curve", "baseline", "tune", "tensorboard",
    "cache", "cache_dir", "cache_size", "offline", "include_bilm", "train", "dev", "test",
}  # fmt: skip


def search(config: TrainConfig, material: experiment.Material, journal: Path, console: Console) -> TrainConfig:
    """Runs trials until `config.tune` of them have ended, those of earlier starts included; returns the best configuration.

    Raises: InputError where the journal is that of another configuration or other sentences.
    """
    optuna = _library()
    study = _study(optuna, journal)
    _check(study, _identity(config, material), journal)
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):  # of a start that was cut off
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    console.print(f"tuning {', '.join(_names(config))}: {journal}", soft_wrap=True)
    done = len(_ended(optuna, study))
    if done:
        best = max((trial.value for trial in _ended(optuna, study) if trial.value is not None), default=0.0)
        console.print(f"{done} trials are done; best dev F1 {100 * best:.2f}")
    for number in range(done, config.tune or 0):
        if number == 0:
            study.enqueue_trial({name: getattr(config, name) for name in _names(config)}, skip_if_exists=True)
        study.sampler = optuna.samplers.TPESampler(seed=config.seed + number, n_startup_trials=5)
        study.pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2)
        _run_trial(optuna, study, number, config, material, console)
    if not study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
        raise InputError(f"{journal}: no trial came to its end. Look at the reasons above, and begin with other options.")
    return replace(config, **study.best_params)


def _run_trial(optuna, study, number: int, config: TrainConfig, material: experiment.Material, console: Console) -> None:
    trial, started = study.ask(), time.monotonic()
    chosen: dict[str, Any] = {name: trial.suggest_categorical(name, _choices(config, name)) for name in _names(config)}
    best = 0.0

    def watch(epoch) -> None:
        nonlocal best
        best = max(best, epoch.dev.f1)
        trial.report(best, epoch.number)
        if trial.should_prune():
            raise optuna.TrialPruned

    ending = ""
    try:
        options = replace(experiment.own_events(config, f"trial-{number + 1}"), **chosen)
        trained, _ = experiment.fit(options, experiment.unchanged(config, material), console, watch)
    except optuna.TrialPruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        ending = "  (ended early)"
    except InputError as error:  # no finite loss, nothing to read: a bad choice, which shall not be made again
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        ending = f"  ({error})"
    else:
        if trained.interrupted:  # it has not ended: the next start does it again
            raise KeyboardInterrupt
        study.tell(trial, best)
    says = ", ".join(f"{name} {value}" for name, value in chosen.items())
    row = f"trial {number + 1:>3}/{config.tune}  dev F1 {100 * best:6.2f}  {time.monotonic() - started:6.0f} s"
    console.print(f"{row}  {says}{ending}", soft_wrap=True)


def _library():
    try:
        import optuna
    except ImportError:
        raise InputError("--tune needs the package optuna: pip install 'ner-elmo[tune]'.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _study(optuna, journal: Path):
    journal.parent.mkdir(parents=True, exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.create_study(storage=storage, study_name="train_ner", direction="maximize", load_if_exists=True)


def _ended(optuna, study) -> list:
    return study.get_trials(states=(optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED))


def _names(config: TrainConfig) -> tuple[str, ...]:
    if unknown := [name for name in config.tune_options if name not in SPACE]:
        raise InputError(f"tune_options must be among {', '.join(SPACE)}. Received: {unknown[0]!r}.")
    return config.tune_options or tuple(SPACE)


def _choices(config: TrainConfig, name: str) -> tuple[Any, ...]:
    """Those of the space, and what was given."""
    given = getattr(config, name)
    return SPACE[name] if given in SPACE[name] else (*SPACE[name], given)


def _identity(config: TrainConfig, material: experiment.Material) -> dict[str, Any]:
    """What must be the same when a search goes on."""
    sentences = hashlib.sha256()
    for sentence in (*material.train, *material.dev):
        sentences.update(json.dumps([sentence.tokens, [astuple(span) for span in sentence.spans]]).encode())
    fixed = {key: value for key, value in config.to_dict().items() if key not in _FREE}
    return json.loads(json.dumps(fixed | {"sentences": sentences.hexdigest()[:16]}))


def _check(study, identity: dict[str, Any], journal: Path) -> None:
    known = study.user_attrs.get("identity")
    if known is None:
        study.set_user_attr("identity", identity)
        return
    differing = [key for key in identity if known.get(key) != identity[key]]
    if differing:
        key = differing[0]
        raise InputError(
            f"{journal}: holds a search with {key} = {known.get(key)!r}. Received: {identity[key]!r}. "
            "Use the same, or remove the file, or name another --output."
        )
