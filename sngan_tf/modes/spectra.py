"""`--mode=spectra`: the spectra of a run's networks, or of any model's."""

import pathlib
import re

import keras
import numpy as np

from sngan_tf import errors
from sngan_tf import files
from sngan_tf.errors import UserError
from sngan_tf.errors import first_line
from sngan_tf.gan.model import GAN
from sngan_tf.layers import kernels
from sngan_tf.runs import build
from sngan_tf.runs import figures
from sngan_tf.runs import spectra as spectra_lib


def spectra(config, workdir):
    """Measures both networks of a checkpoint, and draws them.

    In `spectra/`: `spectra.json`, figures of each network, and of the whole
    run what its log has of the discriminator's kernels.

    Returns:
        The folder.

    Raises:
        UserError: If there is no checkpoint, or the disk refuses.
    """
    gan = build.restored_gan(config, workdir)
    step = int(keras.ops.convert_to_numpy(gan.step))
    _measure(
        workdir.spectra,
        f"update {step:,} ({config.checkpoint})",
        {
            "step": step,
            "checkpoint": config.checkpoint,
            "network": config.network.name,
            "method": config.method,
            "data": config.data.name,
        },
        _networks(gan),
    )
    for name, draw, rows in (
        ("spectral_norms", figures.norms_over_updates, workdir.spectral_norms),
        ("gradients", figures.gradients_over_updates, workdir.train_log),
    ):
        figure = draw(files.read_rows(rows))
        if figure:
            figures.save(workdir.spectra / f"{name}.png", figure)
    return workdir.spectra


def of_file(path):
    """Measures the model of a `.keras` file, and draws it.

    In the folder `STEM_spectra` beside the file.

    Args:
        path: Of the file.

    Returns:
        The folder.

    Raises:
        UserError: If Keras can't load it, it has no kernels or one that is
            not finite, or the disk refuses.
    """
    path = pathlib.Path(path)
    model = _loaded(path)
    networks = {path.stem: model}
    if isinstance(model, GAN):
        networks = _networks(model)
    if not any(map(kernels.find_kernels, networks.values())):
        raise UserError(
            "`model` must have layers with kernels, and be built. Received: "
            f"--model={path}"
        )
    for weight in model.weights:
        if not np.all(np.isfinite(keras.ops.convert_to_numpy(weight))):
            raise UserError(
                "`model` must have weights that are finite. Received: "
                f"--model={path}, in which {weight.path} is not"
            )
    folder = path.with_name(f"{path.stem}_spectra")
    _measure(folder, path.name, {"model": path.name}, networks)
    return folder


def _networks(gan):
    return {
        "discriminator": gan.discriminator,
        "generator": gan.sampling_generator,
    }


def _measure(folder, title, facts, networks):
    # A folder that can't be written is told of before the work.
    with errors.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    measured = spectra_lib.measure(networks)
    for name, network in measured.items():
        for what, draw in (
            ("singular_values", figures.singular_values),
            ("operator_norms", figures.operator_norms),
        ):
            figure = draw(network, f"{name}, {title}")
            figures.save(folder / f"{name}_{what}.png", figure)
    spectra_lib.write(folder, facts, measured)


def _loaded(path):
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises many kinds
        missing = re.search(r"Could not locate class '(.+?)'", str(error))
        why = (
            f"its class {missing[1]} is not known here; sngan_tf's own and "
            "Keras's are"
            if missing
            else first_line(error)
        )
        raise UserError(
            "`model` must be a .keras file that Keras can load. Received: "
            f"--model={path}; {why}"
        ) from error
