"""A process with two virtual devices of the CPU: trains taggers on one and on both, and prints how that went as JSON.

Run by test_devices.py, which asks JAX for the devices by XLA_FLAGS; here TensorFlow is asked, before it computes anything.
"""

import json
import sys

import keras

from biLM import InputError, load_bilm
from ner_elmo.batching import Features
from ner_elmo.config import TrainConfig
from ner_elmo.devices import find_devices
from ner_elmo.training import train_tagger

# a step an epoch, so that the losses are those of steps; gradients are clipped, the mix has its L2
EXACT = {"dropout": 0.0, "token_vectors": False, "batch_size": 19, "clip_norm": 0.1, "l2": 1.0}
CASES = {
    "frozen": EXACT | {"epochs": 50, "learning_rate": 0.03, "ema": 0.5},
    "fine_tuned": EXACT | {"epochs": 3, "train_bilm": True, "output_mix": True, "head": "softmax"},
}
ALL_INPUTS = {"epochs": 3, "casing": True, "batch_size": 19}


def run(weights: str, devices: int, **changes) -> dict:
    from test_tagger import SENTENCES, TYPES, small  # makes layers, so the devices must be there

    sentences = SENTENCES[:19]  # two devices cannot get as many each
    config = small(devices=devices, patience=99, **changes)
    features = Features.of(config, [sentence.tokens for sentence in sentences], load_bilm(weights))
    trained = train_tagger(config, TYPES, sentences, sentences, features)
    return {"losses": [epoch.loss for epoch in trained.epochs], "f1": trained.best.dev.f1}


def make_devices() -> None:
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


def main(weights: str) -> dict:
    make_devices()
    found: dict = {name: [run(weights, devices, **changes) for devices in (1, 2)] for name, changes in CASES.items()}
    found["all_inputs"] = run(weights, 2, **ALL_INPUTS)
    try:
        find_devices(TrainConfig(devices=3))
    except InputError as error:
        found["too_many"] = str(error)
    return found


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
