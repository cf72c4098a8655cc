"""The network: a MobileNetV2 encoder and a decoder with skip connections (a U-Net).

Letters: N images, H × W pixels, K classes with background first.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from segscope.errors import SegscopeError, made_by, reading
from segscope.model.hdf5 import check_hdf5

SKIP_LAYERS = ("block_13_expand_relu", "block_6_expand_relu", "block_3_expand_relu", "block_1_expand_relu")
BOTTLENECK = "block_16_project"
LIKENESS = (BOTTLENECK, SKIP_LAYERS[0])  # by whose spatial means near copies of an image are known
# What SKIP_LAYERS are computed from, by one convolution each: all that is in them, in a sixth of the channels.
NARROW_LAYERS = ("block_12_add", "block_5_add", "block_2_add", "expanded_conv_project_BN")
DECODER_FILTERS = {"transposed": (512, 256, 128, 64), "separable": (256, 128, 64, 64)}

# PyTorch's ImageNet normalisation, in units of 0…255.
_TORCH_MEAN = (123.675, 116.28, 103.53)
_TORCH_STD = (58.395, 57.12, 57.375)


def _torch_layer(layer: layers.Layer) -> layers.Layer:
    """The same layer with PyTorch's padding and epsilon.

    Keras pads stride-2 convolutions at the bottom right, PyTorch on both sides. Conv1 pads by itself in
    Keras; here its padding is applied before it, so that it must not pad again.
    """
    config = layer.get_config()
    if isinstance(layer, layers.ZeroPadding2D):
        config["padding"] = ((1, 1), (1, 1))
    elif isinstance(layer, layers.BatchNormalization):
        config["epsilon"] = 1e-5
    elif layer.name == "Conv1":
        config["padding"] = "valid"
    return layer.__class__.from_config(config)


def _weighted_layers(encoder: keras.Model) -> tuple[list[layers.Layer], list[layers.Layer]]:
    convolutions = [x for x in encoder.layers if isinstance(x, layers.Conv2D | layers.DepthwiseConv2D)]
    norms = [x for x in encoder.layers if isinstance(x, layers.BatchNormalization)]
    return convolutions, norms


def torch_encoder(image_size: int, arrays: Mapping[str, np.ndarray], enlarge: int = 1) -> keras.Model:
    """MobileNetV2 without top that computes exactly what PyTorch's does.

    `arrays` as `segscope.model.weights.encoder_arrays` makes them. Input: float32 N × H × W × 3, RGB 0…255, which it
    sees `enlarge` times as large.
    """
    inputs = keras.Input((image_size, image_size, 3), name="image")
    x = layers.Normalization(mean=_TORCH_MEAN, variance=np.square(_TORCH_STD), name="preprocess")(inputs)
    x = layers.ZeroPadding2D(1, name="Conv1_pad")(_enlarged(x, enlarge))
    base = keras.applications.MobileNetV2((*x.shape[1:3], 3), include_top=False, weights=None)
    tensors = {id(base.input): x}
    for layer in base.layers[1:]:
        if isinstance(layer.input, list):
            x = _torch_layer(layer)([tensors[id(tensor)] for tensor in layer.input])
        else:
            x = _torch_layer(layer)(tensors[id(layer.input)])
        tensors[id(layer.output)] = x
    encoder = keras.Model(inputs, x, name="encoder")
    convolutions, norms = _weighted_layers(encoder)
    for i, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True)):
        convolution.set_weights([arrays[f"conv_{i:02d}"]])
        norm.set_weights(list(arrays[f"bn_{i:02d}"]))
    return _folded(encoder)


def keras_encoder(image_size: int, weights: str | Path | None, enlarge: int = 1) -> keras.Model:
    """MobileNetV2 with Keras's own padding, normalisation and weights (`imagenet`, a file, or None: `draw_kernels`').

    Input as of `torch_encoder`.
    """
    inputs = keras.Input((image_size, image_size, 3), name="image")
    x = _enlarged(layers.Rescaling(1 / 127.5, offset=-1, name="preprocess")(inputs), enlarge)
    advice = f"choose another model.encoder_weights, or {made_by('download')}"
    # Keras raises bare Exception or ValueError for a failed download and for a file of another network.
    with reading(f"the encoder's weights {weights}", advice), warnings.catch_warnings():
        # Keras only warns of layers that a file does not fit, and leaves them random.
        warnings.filterwarnings("error", message="Skipping")
        if isinstance(weights, Path):
            check_hdf5(weights)
        base = keras.applications.MobileNetV2(
            input_tensor=x, include_top=False, weights=str(weights) if weights else None
        )
    if not weights:
        draw_kernels(base.variables, 0)
    return _folded(keras.Model(inputs, base.output, name="encoder"))


def _folded(encoder: keras.Model) -> keras.Model:
    """The same function, in which convolutions do what the normalisations after them did: in little over half the time.

    Nothing in a frozen encoder has to be learned. The layer that the latent space begins with keeps its own.
    """
    norms = {id(layer.input): layer for layer in encoder.layers if isinstance(layer, layers.BatchNormalization)}
    del norms[id(encoder.get_layer(BOTTLENECK).output)]
    folded = {layer.name for layer in norms.values()}

    def copy(layer: layers.Layer) -> layers.Layer:
        if layer.name in folded:
            return layers.Identity(name=layer.name)
        return layer.__class__.from_config(
            layer.get_config() | ({"use_bias": True} if id(layer.output) in norms else {})
        )

    model = keras.models.clone_model(encoder, None, copy, lambda layer, given, **_: layer(given))
    for layer in encoder.layers:
        if layer.name not in folded:
            norm = norms.get(id(layer.output))
            model.get_layer(layer.name).set_weights(_with_norm(layer, norm) if norm else layer.get_weights())
    return model


def _with_norm(convolution: layers.Layer, norm: layers.BatchNormalization) -> list[np.ndarray]:
    """Kernel and bias of a convolution that does what both do."""
    (kernel,) = convolution.get_weights()
    gamma, beta, mean, variance = (each.astype(np.float64) for each in norm.get_weights())
    scale = gamma / np.sqrt(variance + norm.epsilon)
    # A depthwise kernel has its channels before a multiplier, which is 1.
    of_channel = scale[:, None] if isinstance(convolution, layers.DepthwiseConv2D) else scale
    return [kernel * of_channel, beta - mean * scale]


def draw_kernels(variables: Sequence[keras.Variable], seed: int) -> None:
    """Give the kernels among variables random values, a function of seed and position.

    Keras has drawn them with seeds from Python's generator: other threads of a process may have used it meanwhile.
    """
    for number, variable in enumerate(variables):
        if variable.ndim > 1:
            own = np.random.SeedSequence([seed, number]).generate_state(1)
            variable.assign(keras.initializers.GlorotUniform(int(own[0]))(variable.shape))


def _enlarged(x: keras.KerasTensor, times: int) -> keras.KerasTensor:
    return layers.UpSampling2D(times, interpolation="bilinear", name="enlarge")(x) if times > 1 else x


def unet(encoder: keras.Model, n_classes: int, decoder: str) -> keras.Model:
    """Put a decoder on a frozen encoder. Output: float32 logits, N × H × W × K.

    Both decoders double the size up to half of the picture's, with a skip connection of the encoder each time
    (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597). `transposed`: pix2pix's blocks of a transposed
    convolution (Isola et al. 2017, https://arxiv.org/abs/1611.07004), then a transposed convolution to the classes.
    `separable`: a convolution of single pixels, bilinear up-sampling, then a depthwise separable convolution over it
    and the skip connection.
    """
    encoder.trainable = False
    x = encoder.get_layer(BOTTLENECK).output
    step, names = {
        "transposed": (_transposed_step, SKIP_LAYERS),
        "separable": (_separable_step, NARROW_LAYERS),
    }[decoder]
    skips = [encoder.get_layer(name).output for name in names]
    for i, (filters, skip) in enumerate(zip(DECODER_FILTERS[decoder], skips, strict=True), start=1):
        # An encoder that sees the picture enlarged ends at a larger size, too.
        if skip.shape[1] < encoder.input.shape[1]:
            x = step(x, skip, filters, i)
    if decoder == "transposed":
        logits = layers.Conv2DTranspose(n_classes, 3, strides=2, padding="same", dtype="float32", name="logits")(x)
    else:
        # The classes at half the size: four times less to compute, and bilinear logits are as sharp as the labels.
        x = layers.Conv2D(n_classes, 3, padding="same", dtype="float32", name="half_logits")(x)
        logits = layers.UpSampling2D(interpolation="bilinear", dtype="float32", name="logits")(x)
    return keras.Model(encoder.input, logits, name="segscope")


def _transposed_step(x: keras.KerasTensor, skip: keras.KerasTensor, filters: int, i: int) -> keras.KerasTensor:
    x = layers.Conv2DTranspose(filters, 3, strides=2, padding="same", use_bias=False, name=f"up_{i}_conv")(x)
    x = layers.BatchNormalization(name=f"up_{i}_bn")(x)
    x = layers.ReLU(name=f"up_{i}_relu")(x)
    return layers.Concatenate(name=f"skip_{i}")([x, skip])


def _separable_step(x: keras.KerasTensor, skip: keras.KerasTensor, filters: int, i: int) -> keras.KerasTensor:
    x = _normalised(layers.Conv2D(filters, 1, use_bias=False, name=f"up_{i}_narrow_conv")(x), f"up_{i}_narrow")
    x = layers.UpSampling2D(interpolation="bilinear", name=f"up_{i}_size")(x)
    x = layers.Concatenate(name=f"skip_{i}")([x, skip])
    x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False, name=f"up_{i}_conv")(x)
    return _normalised(x, f"up_{i}")


def _normalised(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    # Keras's momentum of 0.99 needs hundreds of steps; a small dataset's first epochs are a few dozen.
    x = FusedNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


class FusedNormalization(layers.BatchNormalization):
    """Keras's batch normalisation of the last axis of N × H × W × C, trained by TensorFlow's one kernel for it.

    Keras has a step for each operation, and their gradients: three to four times the time. A model's file has Keras's
    own layer in its place (`segscope.model.saving`).
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        """As Keras's."""
        if not (training and self.trainable):
            return super().call(inputs, training, mask)
        x = tf.cast(inputs, tf.float32)
        scale, offset = tf.cast(self.gamma, tf.float32), tf.cast(self.beta, tf.float32)
        x, mean, variance = tf.compat.v1.nn.fused_batch_norm(x, scale, offset, epsilon=self.epsilon)
        values = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), tf.float32)
        variance *= (values - 1) / values  # the kernel divides by one less
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + now * (1 - self.momentum))
        return tf.cast(x, self.compute_dtype)


def activations(model: keras.Model, layer_names: tuple[str, ...]) -> keras.Model:
    """A model of the same input whose outputs are the named layers' activations, then the logits."""
    try:
        outputs = [model.get_layer(name).output for name in layer_names]
    except ValueError as error:
        raise SegscopeError(f"embed.layers: {error}") from error
    return keras.Model(model.input, [*outputs, model.output])
