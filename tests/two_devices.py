"""A process with two virtual devices of the CPU: trains taggers on one and on both, and prints how that went as JSON.

Run by test_devices.py as `python tests/two_devices.py WEIGHTS`; devices can only be made before anything is computed.
"""

import json
import os
import sys
from pathlib import Path

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import keras

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from test_tagger import SENTENCES, TYPES, small

from biLM import InputError, load_bilm
from ner_elmo.batching import Features
from ner_elmo.devices import find_devices
from ner_elmo.training import train_tagger

ODD = SENTENCES[:19]  # two devices cannot get as many each
EXACT = {"dropout": 0.0, "token_vectors": False, "epochs": 6, "patience": 6, "batch_size": 19}  # a step an epoch


def run(weights: str, devices: int, **changes) -> dict:
    config = small(devices=devices, **changes)
    tokens = [sentence.tokens for sentence in ODD]
    features = Features.of(config, tokens, load_bilm(weights))
    trained = train_tagger(config, TYPES, ODD, ODD, features)
    return {"losses": [epoch.loss for epoch in trained.epochs], "f1": trained.best.dev.f1}


def main(weights: str) -> dict:
    cases = {
        "plain": EXACT,
        "clipped": EXACT | {"clip_norm": 0.1, "l2": 1.0, "ema": 0.5},
        "fine_tuned": EXACT | {"train_bilm": True, "output_mix": True, "head": "softmax"},
        "whole": {"epochs": 30, "patience": 30, "casing": True, "batch_size": 6, "dropout": 0.1},
    }
    found = {name: [run(weights, devices, **changes) for devices in (1, 2)] for name, changes in cases.items()}
    try:
        find_devices(small(devices=3))
    except InputError as error:
        found["too_many"] = str(error)
    return found


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
