"""What is served: an exported version, or networks that come with the package.

An exported version is a SavedModel, which is TensorFlow's own format of graphs
and arrays; no pickle is read.
"""

import dataclasses
import logging
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from sngan_tf import files
from sngan_tf import images as images_lib
from sngan_tf.errors import UserError
from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.gan import serving
from sngan_tf.layers import power_iteration
from sngan_tf.layers import spectra
from sngan_tf.networks import pretrained

_LOGGER = logging.getLogger(__name__)
DEFAULT_SIGNATURE = "serving_default"
PRETRAINED = "digits"


@dataclasses.dataclass(frozen=True, eq=False)
class Signature:
    """A function of named tensors.

    Attributes:
        inputs: `{name: tf.TensorSpec}`.
        outputs: The same.
        call: `(**tensors)` to `{name: tensor}`.
    """

    inputs: dict
    outputs: dict
    call: Callable

    def takes_batches(self):
        """Returns whether each input and output has a row for each example."""
        specs = [*self.inputs.values(), *self.outputs.values()]
        return bool(self.inputs) and all(
            spec.shape.rank and spec.shape[0] is None for spec in specs
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A model, with what is known of it.

    Attributes:
        name: In addresses.
        version: A positive number.
        signatures: `{name: Signature}`.
        metadata: As `serving.read_metadata` gives it; empty for models of
            others.
        discriminator: Its `serving_default`, images to `logits`; or None.
        spectrum: `{kernel: singular values}` of the discriminator.
        card: Markdown, or empty.
        scores: Rows of `scores.jsonl`, of this step or of real pictures.
        kept: What must live as long as the signatures do.
    """

    name: str
    version: int
    signatures: dict
    metadata: dict = dataclasses.field(default_factory=dict)
    discriminator: Signature | None = None
    spectrum: dict = dataclasses.field(default_factory=dict)
    card: str = ""
    scores: tuple = ()
    kept: object = None

    @property
    def makes_pictures(self):
        return {"latent_dim", "image_shape"} <= {*self.metadata}

    @property
    def image_shape(self):
        return tuple(self.metadata["image_shape"])

    @property
    def latent_dim(self):
        return self.metadata["latent_dim"]

    @property
    def num_classes(self):
        """Number of classes of a conditional generator, 0 for others."""
        if "labels" not in self.signatures[DEFAULT_SIGNATURE].inputs:
            return 0
        # Exports from before had names alone.
        names = self.metadata.get("class_names", ())
        return self.metadata.get("num_classes") or len(names)


def find(run, name=""):
    """Returns a function that loads what a workdir has to be served.

    That is its newest exported version; the pretrained digits, where nothing
    has been trained.

    Args:
        run: `workdir.Workdir`.
        name: Of a pretrained generator, to be served in place of a run.

    Raises:
        UserError: If the run has not been exported.
    """
    if name:
        return lambda: of_package(name)
    newest = serving.newest(run.generator)
    if newest:
        return lambda: exported(run, newest)
    if run.config.is_file() or run.generator.exists():
        raise UserError(
            f"There is no exported version in {run.generator}; export first: "
            f"{run.command('export')}"
        )
    _LOGGER.info(
        "There is no run in %s; the pretrained %s are served",
        run.path,
        PRETRAINED,
    )
    return lambda: of_package(PRETRAINED)


def exported(run, folder):
    """Returns the `Model` of a version that a run exported.

    Args:
        run: `workdir.Workdir`.
        folder: Of the version, in `run.generator`.
    """
    model = load(folder, run.path.resolve().name)
    if model.makes_pictures and "labels" in inputs_of(model):
        _check_classes(model, folder)
    parts = {"card": _text(run.exports / "README.md")}
    rows = files.read_rows(run.scores)
    parts["scores"] = tuple(
        row
        for row in rows
        if row.get("step") == model.metadata.get("step")
        or str(row.get("metric")).startswith("real_")
    )
    # Of the same version, as another's is of other pictures.
    beside = run.discriminator / folder.name
    if (beside / "saved_model.pb").is_file():
        judge = load(beside, "discriminator")
        parts["discriminator"] = _judging(judge, beside)
        parts["spectrum"] = spectrum(judge.kept)
        parts["kept"] = (model.kept, judge.kept)
    return dataclasses.replace(model, **parts)


def of_package(name):
    """Returns the `Model` of networks that come with the package."""
    generator, discriminator = pretrained.pretrained(name)
    sampler = sampler_lib.Sampler(generator)
    inputs = tf.TensorSpec((None, *sampler.image_shape), tf.uint8, "images")

    @tf.function(input_signature=[inputs])
    def judge(images):
        images = images_lib.to_float(images)
        return {"logits": discriminator(images, training=False)}

    return Model(
        name,
        version=1,
        signatures={
            DEFAULT_SIGNATURE: _of_function(sampler.images),
            "sample": _of_function(sampler.sample),
        },
        metadata={
            "latent_dim": sampler.latent_dim,
            "image_shape": [*sampler.image_shape],
            "class_names": [],
        },
        discriminator=_of_function(judge),
        spectrum=_as_lists(spectra.singular_values(discriminator)),
        card=_text(pretrained.FOLDER / name / "README.md"),
        kept=(sampler, judge, discriminator),
    )


def load(folder, name):
    """Returns the `Model` of a SavedModel, anyone's.

    Args:
        folder: Whose name is the version's number.
        name: In addresses.

    Raises:
        UserError: If TensorFlow can't load it.
    """
    try:
        loaded = tf.saved_model.load(str(folder))
        signatures = {
            key: _of_concrete(function)
            for key, function in loaded.signatures.items()
        }
    except Exception as error:  # TensorFlow raises many kinds
        raise UserError(
            f"{folder} must be a SavedModel that TensorFlow can load; export "
            f"again ({type(error).__name__})"
        ) from error
    metadata = serving.read_metadata(folder)
    return Model(name, int(folder.name), signatures, metadata, kept=loaded)


def inputs_of(model):
    """Returns the inputs of the signature that is asked by default."""
    return model.signatures[DEFAULT_SIGNATURE].inputs


def _judging(model, folder):
    """Returns the signature of a discriminator, of images to logits."""
    signature = model.signatures.get(DEFAULT_SIGNATURE)
    if (
        signature is None
        or {*signature.inputs} - {"labels"} != {"images"}
        or "logits" not in signature.outputs
    ):
        raise UserError(
            f"{folder} must be a discriminator, from `images` to `logits`; "
            "export again"
        )
    return signature


def _check_classes(model, folder):
    if not model.num_classes:
        raise UserError(
            f"{folder} must have `class_names` or `num_classes` in its "
            "metadata.json; export again"
        )


def _of_function(function):
    """Returns the `Signature` of a `tf.function` with an input signature."""
    outputs = function.get_concrete_function().structured_outputs
    inputs = {spec.name: spec for spec in function.input_signature}
    return Signature(inputs, dict(outputs), function)


def _of_concrete(function):
    inputs = function.structured_input_signature[1]
    return Signature(dict(inputs), dict(function.structured_outputs), function)


def spectrum(loaded):
    """Returns the spectrum of a SavedModel's kernels, folded or plain."""
    axes = {"kernel": -1, "embeddings": 0}  # Which of them counts the rows.
    found = {}
    for variable in getattr(loaded, "variables", ()):
        layer, _, kind = variable.name.removesuffix(":0").rpartition("/")
        if kind in axes and variable.shape.rank >= 2:
            axis = axes[kind] % variable.shape.rank
            matrix = power_iteration.as_matrix(variable.numpy(), (axis,))
            matrix = keras.ops.convert_to_numpy(matrix).astype(np.float64)
            found[layer] = np.linalg.svd(matrix, compute_uv=False)
    return _as_lists(found)


def _as_lists(arrays):
    return {name: values.tolist() for name, values in arrays.items()}


def _text(path):
    return path.read_text() if path.is_file() else ""
