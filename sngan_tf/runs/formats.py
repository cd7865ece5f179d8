"""Generators in formats of other runtimes, by the converters that these have.

Each file takes `latents` and, if conditional, `labels`, and returns `images`,
as `serving_default` of the SavedModel does.
"""

import dataclasses
import tempfile
from collections.abc import Callable

import keras
import tensorflow as tf

from sngan_tf import errors


def save_onnx(sampler, path):
    """Writes an ONNX model, of any number of pictures at once.

    By tf2onnx, the converter that Keras exports by too.

    Args:
        sampler: `Sampler` of the generator.
        path: The file, `.onnx`.

    Raises:
        MissingExtra: If the extra `onnx` is not installed.
    """
    with errors.extra("onnx"):
        import tf2onnx
    tf2onnx.convert.from_function(
        sampler.images,
        input_signature=sampler.images.input_signature,
        output_path=str(path),
    )


def save_litert(sampler, path):
    """Writes a LiteRT model, of one picture at a time.

    By TensorFlow's own converter, of LiteRT's own operations alone: where the
    number of pictures is left open, it knows no shape that follows from it, and
    then no convolution.

    Args:
        sampler: `Sampler` of the generator.
        path: The file, `.tflite`.
    """
    signature = [
        tf.TensorSpec((1, *spec.shape[1:]), spec.dtype, spec.name)
        for spec in sampler.images.input_signature
    ]
    archive = keras.export.ExportArchive()
    archive.track(sampler.generator)
    archive.add_endpoint(
        "serving_default", sampler.images.python_function, signature
    )
    # Straight from a function it would leave the weights out.
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        path.write_bytes(converter.convert())


@dataclasses.dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        suffix: Of its files.
        save: `(sampler, path)`, writes one.
        words: What it is, for a card.
    """

    suffix: str
    save: Callable
    words: str


FORMATS = {
    "onnx": Format(
        ".onnx",
        save_onnx,
        "`generator.onnx` is the same generator for ONNX Runtime.",
    ),
    "litert": Format(
        ".tflite",
        save_litert,
        "`generator.tflite` is the same generator for LiteRT, of one picture "
        "at a time.",
    ),
}
