"""The layer beside PyTorch's `parametrizations.spectral_norm`.

From one kernel and one `u`, over five SGD updates. PyTorch's step updates `u`
and then `v`, ours `v` and then `u`, so that its sigma is half a step ahead of
ours: with many steps nothing of that is left.
"""

import gradients
import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from sngan_tf import SpectralNormalization

# The layer, PyTorch's, the shape of the inputs, the einsum from our kernel to
# PyTorch's, and that from PyTorch's to d_out x rest.
CASES = {
    "dense_wide": (
        lambda: layers.Dense(4),
        lambda nn: nn.Linear(9, 4),
        (6, 9),
        ("io->oi", "oi->oi"),
    ),
    "dense_tall": (
        lambda: layers.Dense(9),
        lambda nn: nn.Linear(4, 9),
        (6, 4),
        ("io->oi", "oi->oi"),
    ),
    "conv_wide": (
        lambda: layers.Conv2D(4, (3, 2)),
        lambda nn: nn.Conv2d(3, 4, (3, 2)),
        (2, 6, 5, 3),
        ("hwio->oihw", "oihw->oihw"),
    ),
    "conv_tall": (
        lambda: layers.Conv2D(9, (2, 2), 2),
        lambda nn: nn.Conv2d(1, 9, (2, 2), 2),
        (2, 6, 6, 1),
        ("hwio->oihw", "oihw->oihw"),
    ),
    "transpose_wide": (
        lambda: layers.Conv2DTranspose(4, (3, 2), 2),
        lambda nn: nn.ConvTranspose2d(3, 4, (3, 2), 2),
        (2, 4, 5, 3),
        ("hwoi->iohw", "iohw->oihw"),
    ),
    "transpose_tall": (
        lambda: layers.Conv2DTranspose(9, (2, 2)),
        lambda nn: nn.ConvTranspose2d(1, 9, (2, 2)),
        (2, 4, 5, 1),
        ("hwoi->iohw", "iohw->oihw"),
    ),
}


@pytest.fixture(scope="module")
def torch():
    # Not at the top: a process that runs none of these need not wait for it.
    torch = pytest.importorskip("torch", reason="torch is an extra")
    torch.set_num_threads(1)
    return torch


def moved(x, forward):
    """Moves channels first, or back last."""
    if len(x.shape) == 2:
        return x
    return np.moveaxis(x, *((-1, 1) if forward else (1, -1)))


class Ours:
    def __init__(self, case, power_iterations):
        self.layer = SpectralNormalization(
            case[0](), power_iterations=power_iterations
        )
        self.layer.build(case[2])
        # One singular value well above the others, soon found by both.
        (kernel,) = self.layer.kernels
        kernel.assign(kernel + 0.5)
        self.layer.settle()

    def step(self, inputs):
        """Returns `(outputs, input gradient, kernel gradient, u)`."""
        inputs = keras.Variable(inputs)
        (kernel,) = self.layer.kernels
        _, found = gradients.of(
            lambda: ops.sum(ops.sin(self.layer(inputs.value, training=True))),
            [inputs, kernel],
        )
        # With the u of the call above, which one of inference leaves alone.
        outputs = np.array(self.layer(inputs.value))
        kernel.assign_sub(0.01 * found[1])
        (u,) = self.layer.non_trainable_variables
        return [outputs, *found, np.array(u)]


class Theirs:
    def __init__(self, torch, case, power_iterations, ours):
        """Starts with our kernel and our u."""
        (kernel,) = ours.layer.kernels
        (u,) = ours.layer.non_trainable_variables
        to_torch, to_rows = case[3]
        weight = np.einsum(to_torch, np.array(kernel))
        rows = np.einsum(to_rows, weight).reshape(u.shape[0], -1)
        v = rows.T @ np.array(u)
        self.torch = torch
        self.back = "->".join(reversed(to_torch.split("->")))
        module = case[1](torch.nn)
        with torch.no_grad():
            module.weight.copy_(torch.tensor(weight))
            module.bias.zero_()
        self.module = torch.nn.utils.parametrizations.spectral_norm(
            module, n_power_iterations=power_iterations
        )
        self.spectral_norm = self.module.parametrizations.weight[0]
        self.spectral_norm._u.copy_(torch.tensor(np.array(u)))
        self.spectral_norm._v.copy_(torch.tensor(v / np.linalg.norm(v)))

    def step(self, inputs):
        """Returns `(outputs, input gradient, kernel gradient, u)`."""
        torch = self.torch
        inputs = torch.tensor(moved(inputs, True).copy(), requires_grad=True)
        weight = self.module.parametrizations.weight.original
        weight.grad = None
        outputs = self.module(inputs)
        torch.sum(torch.sin(outputs)).backward()
        with torch.no_grad():
            weight -= 0.01 * weight.grad
        return [
            moved(outputs.detach().numpy(), False),
            moved(inputs.grad.numpy(), False),
            np.einsum(self.back, weight.grad.numpy()),
            self.spectral_norm._u.numpy().copy(),
        ]


@pytest.mark.one_backend
@pytest.mark.parametrize(("steps", "tolerance"), [(1, 1e-2), (10, 5e-6)])
@pytest.mark.parametrize("name", CASES)
def test_five_updates_agree(torch, name, steps, tolerance):
    case = CASES[name]
    ours = Ours(case, steps)
    theirs = Theirs(torch, case, steps, ours)
    rng = np.random.default_rng(0)
    for _ in range(5):
        inputs = rng.normal(size=case[2]).astype("float32")
        for mine, other in zip(ours.step(inputs), theirs.step(inputs)):
            difference = np.linalg.norm(mine - other) / np.linalg.norm(other)
            np.testing.assert_allclose(difference, 0, atol=tolerance)
