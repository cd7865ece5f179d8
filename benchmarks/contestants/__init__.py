"""Who takes part in the comparison, and on what; see `peers.py`.

| here | is |
|---|---|
| `__init__.py` | the cells and the contestants, as data |
| `worker.py` | a contestant's process: waits, steps as often as it is told |
| `turns.py` | the other end: starts workers, lets one work at a time |
| `tensorflow_.py` | `GAN` as it is, of other methods, with Keras's layer |
| `torch_.py` | the same step as a PyTorch user writes it well |
| `torch_networks.py` | the networks for it |
| `jax_.py` | the step of `examples/train_jax.py` |
| `fidelity.py` | the generator of torch-fidelity's example, in Keras |
| `product.py` | the matrix product, whose rate is the machine's |

A contestant's module has `build(cell, threads, **options)`, which returns a
`Built`. Each runs in a process of its own, as the threads of TensorFlow,
PyTorch and JAX disturb each other in one. Nothing here imports any of them.
"""

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Cell:
    """Networks and a step that all contestants train alike.

    Attributes:
        name: Of the row.
        network: `"cnn"`, `"resnet"`, or `"fidelity"` for the networks and the
            step of torch-fidelity's `examples/sngan_cifar10.py`.
        image_size: Pixels a side.
        channels: Of the pictures.
        width: Factor on the feature maps.
        batch_size: Real images of a discriminator update.
        generator_batch_size: Fake images of the generator update.
        discriminator_steps: n_dis.
        adam: Learning rate, beta_1 and beta_2 of both optimizers.
        power_iterations: Of spectral normalization.
        replicas: Logical devices that share the machine; TensorFlow's alone.
    """

    name: str
    network: str = "cnn"
    image_size: int = 32
    channels: int = 3
    width: float = 1.0
    batch_size: int = 64
    generator_batch_size: int = 64
    discriminator_steps: int = 1
    adam: tuple = (2e-4, 0.5, 0.999)
    power_iterations: int = 1
    replicas: int = 1

    @property
    def image_shape(self):
        return (self.image_size, self.image_size, self.channels)


_RESNET_ADAM = (2e-4, 0.0, 0.9)

CELLS = {
    cell.name: cell
    for cell in (
        Cell("full"),
        Cell("quarter", width=0.25),
        Cell("five_steps", discriminator_steps=5),  # Fig. 10.
        Cell(
            "digits",
            image_size=16,
            channels=1,
            width=0.25,
            adam=(5e-4, 0.0, 0.9),
        ),
        Cell(
            "resnet",
            network="resnet",
            generator_batch_size=128,
            discriminator_steps=5,
            adam=_RESNET_ADAM,
        ),
        Cell(
            "fidelity",
            network="fidelity",
            discriminator_steps=5,
            adam=_RESNET_ADAM,
        ),
    )
}


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One that takes part.

    Attributes:
        module: That has its `build`.
        text: What it is, for the table.
        options: Of the module's `build`.
        cells: Where it takes part.
        same_step: Whether it does the work of `ours`, number of parameters and
            all.
    """

    module: str
    text: str
    options: dict = dataclasses.field(default_factory=dict)
    cells: tuple = (
        "full",
        "quarter",
        "five_steps",
        "digits",
        "resnet",
        "fidelity",
    )
    same_step: bool = True


@dataclasses.dataclass(frozen=True)
class Built:
    """A contestant that is ready.

    Attributes:
        run: Function of a number of steps, which does them, reads the losses
            of the last and returns them, `{name: float}`.
        parameters: Trainable ones of generator and discriminator.
        flop: Operations of one `run(1)`, or None where not counted.
        note: What it found, for the table.
        cycle: Steps that turns have a multiple of, as not all do the same.
    """

    run: Callable
    parameters: tuple = ()
    flop: int | None = None
    note: str = ""
    cycle: int = 1


_PAPER = ("full", "quarter", "five_steps", "digits", "resnet")
_LAST = {"memory_format": "channels_last"}

OURS = "ours"
PRODUCT = "matrix_product"
CONTESTANTS = {
    OURS: Contestant("contestants.tensorflow_", "`GAN`, spectral_norm"),
    PRODUCT: Contestant(
        "contestants.product",
        "two float32 matrices of 3,000 x 3,000",
        same_step=False,
    ),
    "none": Contestant(
        "contestants.tensorflow_",
        "`GAN`, no normalization",
        {"method": "none"},
        _PAPER,
    ),
    "keras": Contestant(
        "contestants.tensorflow_",
        "`GAN` with `keras.layers.SpectralNormalization`, which assigns each "
        "kernel in the discriminator update and computes the same in the "
        "generator's",
        {"method": "keras"},
        _PAPER,
    ),
    "torch": Contestant(
        "contestants.torch_",
        "PyTorch, `parametrizations.spectral_norm`, all else by default",
        {"memory_format": "contiguous_format", "adam": "default"},
    ),
    "torch_fused": Contestant(
        "contestants.torch_",
        "PyTorch, Adam with `fused=True`",
        {"memory_format": "contiguous_format"},
    ),
    "torch_channels_last": Contestant(
        "contestants.torch_",
        "PyTorch, channels_last, Adam with `fused=True`",
        _LAST,
    ),
    "torch_foreach": Contestant(
        "contestants.torch_",
        "PyTorch, channels_last, Adam with `foreach=True`",
        {**_LAST, "adam": "foreach"},
    ),
    "torch_compile": Contestant(
        "contestants.torch_",
        "PyTorch, both networks under `torch.compile`, fused Adam",
        {"memory_format": "contiguous_format", "compiled": True},
    ),
    "torch_compile_channels_last": Contestant(
        "contestants.torch_",
        "PyTorch, channels_last and `torch.compile`, fused Adam",
        {**_LAST, "compiled": True},
    ),
    "torch_fidelity": Contestant(
        "contestants.torch_",
        "PyTorch, the step as torch-fidelity's example has it: the hook "
        "`torch.nn.utils.spectral_norm`, real and fake in two passes, `u` "
        "advanced in each and in the generator's",
        {
            "memory_format": "contiguous_format",
            "adam": "default",
            "as_example": True,
        },
        ("fidelity",),
    ),
    "jax": Contestant(
        "contestants.jax_",
        "the same layers on JAX, `examples/train_jax.py`",
        {},
        _PAPER,
    ),
    "wgan_gp": Contestant(
        "contestants.tensorflow_",
        "`GAN`, WGAN-GP",
        {"method": "wgan_gp"},
        _PAPER,
        same_step=False,
    ),
    "weight_norm": Contestant(
        "contestants.tensorflow_",
        "`GAN`, weight normalization",
        {"method": "weight_norm"},
        _PAPER,
        same_step=False,
    ),
    "layer_norm": Contestant(
        "contestants.tensorflow_",
        "`GAN`, layer normalization",
        {"method": "layer_norm"},
        _PAPER,
        same_step=False,
    ),
    "conv_spectral_norm": Contestant(
        "contestants.tensorflow_",
        "`GAN`, the true norm of each convolution",
        {"method": "conv_spectral_norm"},
        _PAPER,
        same_step=False,
    ),
    "bidirectional_spectral_norm": Contestant(
        "contestants.tensorflow_",
        "`GAN`, the mean of two norms",
        {"method": "bidirectional_spectral_norm"},
        _PAPER,
        same_step=False,
    ),
    "soft_spectral_norm": Contestant(
        "contestants.tensorflow_",
        "`GAN`, spectral norm of at most 1",
        {"method": "soft_spectral_norm"},
        _PAPER,
        same_step=False,
    ),
    "sr_gan_static": Contestant(
        "contestants.tensorflow_",
        "`GAN`, SR-GAN, static: spectral_norm, and every 5th update the "
        "singular values of the convolutions",
        {"method": "sr_gan_static"},
        _PAPER,
        same_step=False,
    ),
    "sr_gan_dynamic": Contestant(
        "contestants.tensorflow_",
        "`GAN`, SR-GAN, dynamic: the same",
        {"method": "sr_gan_dynamic"},
        _PAPER,
        same_step=False,
    ),
    "r1_r2": Contestant(
        "contestants.tensorflow_",
        "`GAN`, R1 and R2 penalties",
        {"method": "r1_r2"},
        _PAPER,
        same_step=False,
    ),
    "shipped": Contestant(
        "contestants.tensorflow_",
        "`GAN` as `configs/digits.py` has it: shifts, average, its own batch",
        {"method": "shipped"},
        ("digits",),
        same_step=False,
    ),
}


def is_torch(name):
    """Returns whether a contestant is the step in PyTorch."""
    return CONTESTANTS[name].module == "contestants.torch_"
