"""The layers of a network by name: those that have feature maps, and which of them stand for the network.

Letters: N images, H × W cells, C channels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import keras

from segscope.errors import SegscopeError
from segscope.model.unet import BOTTLENECK
from segscope.params import Embed

OWN = "segscope_"  # begins the names of the layers that an adopted network is put between

Shape = tuple[int, int, int]


def feature_maps(model: keras.Model) -> dict[str, Shape]:
    """H, W and C of each layer with one output that is N × H × W × C, in the network's order.

    Neither the input nor what `adopt` puts around a network is one.
    """
    found = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer) or layer.name.startswith(OWN):
            continue
        try:
            shape = tuple(layer.output.shape)
        except (AttributeError, ValueError):  # several outputs, or called more than once
            continue
        if len(shape) == 4 and None not in shape[1:]:
            found[layer.name] = shape[1:]
    return found


def classifier_input(model: keras.Model) -> keras.KerasTensor | None:
    """What a network's last layer with weights is given, which makes its logits; None where that is no one map."""
    weighted = [layer for layer in model.layers if layer.weights and not layer.name.startswith(OWN)]
    try:
        given = weighted[-1].input
    except (IndexError, AttributeError, ValueError):
        return None
    return None if isinstance(given, list | tuple | dict) or len(given.shape) != 4 else given


def default_layers(model: keras.Model) -> tuple[str, ...]:
    """The smallest feature map, of several the last, and the last before the logits: one name if they are the same.

    Raises SegscopeError if the network has no feature map.
    """
    maps = feature_maps(model)
    given = classifier_input(model)
    names = list(maps)
    if given is not None:
        before = [name for name in names if model.get_layer(name).output is given]
        weighted = [layer.name for layer in model.layers if layer.weights and not layer.name.startswith(OWN)]
        end = (
            names.index(before[0]) + 1 if before else names.index(weighted[-1]) if weighted[-1] in maps else len(names)
        )
        names = names[:end] or names
    if not names:
        raise SegscopeError("the network has no layer of height × width × channels: a latent space needs one")
    smallest = min(reversed(names), key=lambda name: maps[name][0] * maps[name][1])
    return tuple(dict.fromkeys((smallest, names[-1])))


def chosen_layers(model: keras.Model, asked: Sequence[str], default: Sequence[str] = ()) -> tuple[str, ...]:
    """The layers of `embed.layers`; of a network that lacks its default ones, `default` or those of `default_layers`.

    Raises SegscopeError naming what the network has if it lacks others.
    """
    maps = feature_maps(model)
    missing = [name for name in asked if name not in maps]
    if not missing:
        return tuple(asked)
    if list(asked) == Embed().layers:
        return tuple(default) or default_layers(model)
    raise SegscopeError(
        f"embed.layers: the model has no feature map {', '.join(missing)}; it has {', '.join(maps) or 'none'}"
    )


def hypercolumn(model: keras.Model) -> tuple[str, ...]:
    """The layers whose activations over a pixel tell what the network knows of it: of the U-Net, at every depth.

    The hypercolumn of Hariharan et al. 2015 (https://arxiv.org/abs/1411.5752): the last layer alone has given up what
    its own classes do not need (docs/merges.md).
    """
    maps = feature_maps(model)
    steps = [name for name in maps if re.fullmatch(r"up_\d+_relu", name)]
    return (BOTTLENECK, *steps) if BOTTLENECK in maps and steps else default_layers(model)


def decoder_inputs(model: keras.Model) -> list[keras.KerasTensor] | None:
    """What the logits are made of: of the U-Net what its decoder is given, else the last feature map before them."""
    maps = feature_maps(model)
    joins = [model.get_layer(name) for name in maps if re.fullmatch(r"skip_\d+", name)]
    if BOTTLENECK in maps and joins:
        return [model.get_layer(BOTTLENECK).output, *(join.input[1] for join in joins)]
    given = classifier_input(model)
    return None if given is None else [given]
