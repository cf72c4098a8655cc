"""A user's Keras network made one that takes and gives what the U-Net does.

Letters: N images, H × W pixels, S the size of the network's input, O its outputs, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from keras import layers

from segscope.errors import SegscopeError
from segscope.model.layers import OWN
from segscope.model.saving import check_sizes, in_float32, read_model

LEAST = 1e-7  # probability, of which there is a logarithm
SLACK = 1e-2  # of a sum of probabilities: a network may compute in 16 bits
_IMAGENET = {"mean": (123.675, 116.28, 103.53), "variance": (58.395**2, 57.12**2, 57.375**2)}


def read_network(path: Path) -> keras.Model:
    """A user's network, of one picture in and one map of outputs out, its layers no larger than they may be.

    Raises SegscopeError saying what it is instead, and what to do.
    """
    if path.is_dir() or path.suffix != ".keras":
        raise SegscopeError(
            f"model.path: {path} is no .keras file (a SavedModel is a program that TensorFlow would run unchecked, and "
            "has no layers to look into): save it by model.save('NAME.keras'), or write predictions"
        )
    if not path.is_file():
        raise SegscopeError(f"model.path: {path} does not exist")
    model = read_model(path, "give model.path a file that keras.saving.load_model reads with safe_mode=True", True)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise SegscopeError(
            f"{path} has {len(model.inputs)} inputs and {len(model.outputs)} outputs; one each is taken"
        )
    given, made = model.inputs[0].shape, model.outputs[0].shape
    if len(given) != 4 or given[-1] != 3:
        raise SegscopeError(f"{path} takes {_shape(given)}; it must be N × height × width × 3, RGB")
    if len(made) != 4 or not made[-1]:
        raise SegscopeError(f"{path} gives {_shape(made)}; it must be N × height × width × outputs")
    return model


def adopt(
    network: keras.Model,
    classes: Sequence[str],
    outputs: Mapping[str, Sequence[int]] | None,
    preprocessing: str,
    pictures: np.ndarray,
) -> keras.Model:
    """The network between layers of our own: pictures N × H × H × 3 of 0 to 255 in, logits N × H × H × K out.

    Its layers keep their names. classes: K, background first. outputs: as of `class_matrix`. preprocessing: as of
    `Params`. pictures: a few, float32 N × H × H × 3, by which it is known what the network gives. Outputs are made
    probabilities, summed over each class's, averaged over each pixel, and given as their logarithms. Raises
    SegscopeError if they are neither logits nor probabilities, or other than the params say.
    """
    size = pictures.shape[1]
    image = keras.Input((size, size, 3), name="image")
    x = _prepared(image, network.inputs[0].shape[1:3], preprocessing)
    made = _laid(network, x, {})
    check_sizes(keras.Model(image, made))
    kind = _kind(keras.Model(image, made).predict_on_batch(pictures))
    if kind == "logits":
        made = layers.Softmax(name=f"{OWN}probabilities")(made)
    elif kind == "logit":
        made = layers.Activation("sigmoid", name=f"{OWN}probability")(made)
    kernel, bias = class_matrix(classes, outputs, made.shape[-1])
    to_classes = layers.Dense(len(classes), name=f"{OWN}classes", trainable=False)
    p = _resized(to_classes(made), size)
    to_classes.set_weights([kernel, bias])
    p = layers.ReLU(name=f"{OWN}positive")(p)
    model = keras.Model(image, keras.ops.log(p + LEAST), name="segscope")
    # Keras would number its operations by what the process made before.
    own = [op for op in model.operations if not isinstance(op, layers.Layer) and not op.name.startswith("op.")]
    for number, operation in enumerate(own):
        operation.name = f"{OWN}log_{number}"
    return in_float32(model)  # of layers that are in no other network


def class_matrix(
    classes: Sequence[str], outputs: Mapping[str, Sequence[int]] | None, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel O × K and bias [K] that make the classes' probabilities of n outputs' ones.

    classes: K, background first. outputs: of each class but background the numbers of its outputs; all others are
    background. None: output k is class k. A single output is the probability of output 1, output 0 being the rest.
    Raises SegscopeError if they do not fit.
    """
    several = max(n, 2)
    if outputs is None:
        if several != len(classes):
            raise SegscopeError(
                f"the model has {n} outputs for {len(classes)} classes ({', '.join(classes)}): say in model.outputs "
                f"which are whose, as {{{classes[1]}: [15]}}"
            )
        outputs = {name: [k] for k, name in enumerate(classes) if k}
    class_of = np.zeros(several, int)
    for name, numbers in outputs.items():
        if (far := max(numbers)) >= several:
            raise SegscopeError(f"model.outputs: {name}: {far}; the model's outputs are 0 to {several - 1}")
        class_of[list(numbers)] = classes.index(name)
    kernel, bias = np.eye(len(classes))[class_of], np.zeros(len(classes))
    return (kernel[[1]] - kernel[[0]], kernel[0]) if n == 1 else (kernel, bias)


def _prepared(image: keras.KerasTensor, wanted: Sequence[int | None], preprocessing: str) -> keras.KerasTensor:
    height, width = (own or side for own, side in zip(wanted, image.shape[1:3], strict=True))
    x = image
    if (height, width) != tuple(image.shape[1:3]):
        smaller = min(height, width) < image.shape[1]
        x = layers.Resizing(height, width, antialias=smaller, name=f"{OWN}size")(x)
    if preprocessing == "imagenet":
        return layers.Normalization(**_IMAGENET, name=f"{OWN}preprocess")(x)
    if preprocessing == "none":
        return x
    scale, offset = {"zero_one": (1 / 255, 0), "minus_one_one": (1 / 127.5, -1)}[preprocessing]
    return layers.Rescaling(scale, offset, name=f"{OWN}preprocess")(x)


def _laid(model: keras.Model, tensor: keras.KerasTensor, names: dict[str, int]) -> keras.KerasTensor:
    """What the network makes of a tensor, each of its layers, and of networks in it, being one of the graph's own.

    names: those that are taken, to which these are added.
    """
    found = []
    last = layers.Identity()
    named: set[int] = set()

    def call(operation: keras.Operation, *given: object, **how: object) -> object:
        if isinstance(operation, keras.Model):
            return _laid(operation, given[0], names)
        if operation is not last and id(operation) not in named:
            named.add(id(operation))
            name = operation.name if isinstance(operation, layers.Layer) else f"op.{operation.name}"
            # A dot is in no name that Keras gives.
            number = names[name] = names.get(name, 0) + 1
            operation.name = name if number == 1 else f"{name}.{number}"
        made = operation(*given, **how)
        if operation is last:
            found.append(given[0])
        return made

    whole = keras.Model(model.inputs, last(model.outputs[0]))
    given = [tensor] if isinstance(whole.input, list) else tensor
    keras.models.clone_model(whole, input_tensors=given, clone_function=lambda each: each, call_function=call)
    return found[0]


def _kind(made: np.ndarray) -> str:
    """What a network's outputs are: probabilities, logits, or of a single output probability or logit."""
    if not np.isfinite(made).all():
        raise SegscopeError("the model gives values that are not finite; is model.preprocessing what it learned with?")
    within = made.min() >= -SLACK and made.max() <= 1 + SLACK
    if made.shape[-1] == 1:
        return "probability" if within else "logit"
    if not within:
        return "logits"
    if np.abs(made.sum(-1) - 1).max() > SLACK:
        raise SegscopeError(
            "the model's outputs are within 0 to 1, but do not add up to 1 at each pixel: give it a softmax, or logits"
        )
    return "probabilities"


def _resized(p: keras.KerasTensor, size: int) -> keras.KerasTensor:
    """Each pixel's mean, or between pixels, linearly."""
    height, width = p.shape[1:3]
    if (height, width) == (size, size):
        return p
    if height % size == 0 and width % size == 0:
        return layers.AveragePooling2D((height // size, width // size), name=f"{OWN}resized")(p)
    return layers.Resizing(size, size, antialias=max(height, width) > size, name=f"{OWN}resized")(p)


def _shape(shape: Sequence[int | None]) -> str:
    return " × ".join("N" if each is None else str(each) for each in shape)
