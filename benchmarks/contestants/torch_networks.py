"""The networks of Tables 3 and 4, and of torch-fidelity's example, in PyTorch.

Same architecture and parameters as `sngan_tf.networks`, in PyTorch's layout:
images are `(batch, channels, height, width)`.
"""

import itertools

import torch
from torch import nn
from torch.nn import functional

_SLOPE = 0.1
# As `blocks.BATCH_NORM`; PyTorch counts what is new.
_BATCH_NORM = {"momentum": 0.1, "eps": 2e-5}


def build(cell, normalize):
    """Returns `(generator, discriminator)` of a `contestants.Cell`.

    Args:
        cell: Its network, sizes and width.
        normalize: Function of a layer to the layer, normalised.
    """
    make = {"cnn": _cnn, "fidelity": _fidelity, "resnet": _resnet}
    return make[cell.network](cell, normalize)


def _maps(number, width):
    return max(1, round(number * width))


def _cnn(cell, normalize):
    side = cell.image_size // 8
    maps = [_maps(number, cell.width) for number in (512, 256, 128, 64)]
    layers = [
        nn.Linear(128, side * side * maps[0]),
        nn.Unflatten(1, (maps[0], side, side)),
    ]
    for before, after in itertools.pairwise(maps):
        layers += [
            nn.ConvTranspose2d(before, after, 4, 2, 1),
            nn.BatchNorm2d(after, **_BATCH_NORM),
            nn.ReLU(inplace=True),
        ]
    layers += [nn.Conv2d(maps[-1], cell.channels, 3, padding=1), nn.Tanh()]
    return nn.Sequential(*layers), _cnn_discriminator(cell, normalize)


def _cnn_discriminator(cell, normalize):
    layers, channels = [], cell.channels
    for number, size in (
        (64, 3),
        (64, 4),
        (128, 3),
        (128, 4),
        (256, 3),
        (256, 4),
        (512, 3),
    ):
        maps = _maps(number, cell.width)
        stride = size - 2  # A kernel of 4 halves the picture.
        layers += [
            normalize(nn.Conv2d(channels, maps, size, stride, padding=1)),
            nn.LeakyReLU(_SLOPE, inplace=True),
        ]
        channels = maps
    side = cell.image_size // 8
    dense = normalize(nn.Linear(side * side * channels, 1))
    return nn.Sequential(*layers, nn.Flatten(), dense)


def _fidelity(cell, normalize):
    maps = [128, *(_maps(number, cell.width) for number in (512, 256, 128, 64))]
    layers = [nn.Unflatten(1, (128, 1, 1))]
    for i, (before, after) in enumerate(itertools.pairwise(maps)):
        stride, padding = (2, 1) if i else (1, 0)
        layers += [
            nn.ConvTranspose2d(before, after, 4, stride, padding),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        ]
    layers += [
        nn.ConvTranspose2d(maps[-1], cell.channels, 3, padding=1),
        nn.Tanh(),
    ]
    return nn.Sequential(*layers), _cnn_discriminator(cell, normalize)


class _Up(nn.Module):
    """A generator's block; its shortcut convolves before it copies up."""

    def __init__(self, channels, maps):
        super().__init__()
        self.shortcut = nn.Conv2d(channels, maps, 1)
        self.norm_1 = nn.BatchNorm2d(channels, **_BATCH_NORM)
        self.conv_1 = nn.Conv2d(channels, maps, 3, padding=1)
        self.norm_2 = nn.BatchNorm2d(maps, **_BATCH_NORM)
        self.conv_2 = nn.Conv2d(maps, maps, 3, padding=1)

    def forward(self, x):
        y = functional.relu(self.norm_1(x), inplace=True)
        y = self.conv_1(functional.interpolate(y, scale_factor=2))
        y = self.conv_2(functional.relu(self.norm_2(y), inplace=True))
        return y + functional.interpolate(self.shortcut(x), scale_factor=2)


class _Down(nn.Module):
    """A discriminator's block; its shortcut pools before it convolves."""

    def __init__(self, channels, maps, down, first, normalize):
        super().__init__()
        self.down, self.first = down, first
        inner = maps if first else channels
        self.conv_1 = normalize(nn.Conv2d(channels, inner, 3, padding=1))
        self.conv_2 = normalize(nn.Conv2d(inner, maps, 3, padding=1))
        self.shortcut = nn.Identity()
        if down or channels != maps:
            self.shortcut = normalize(nn.Conv2d(channels, maps, 1))

    def forward(self, x):
        y = self.conv_1(x if self.first else functional.relu(x))
        y = self.conv_2(functional.relu(y, inplace=True))
        if self.down:
            x, y = functional.avg_pool2d(x, 2), functional.avg_pool2d(y, 2)
        return y + self.shortcut(x)


class _SumPool(nn.Module):
    def forward(self, x):
        return torch.sum(x, dim=(2, 3))


def _resnet(cell, normalize):
    maps = _maps(256, cell.width)
    side = cell.image_size // 8
    generator = nn.Sequential(
        nn.Linear(128, side * side * maps),
        nn.Unflatten(1, (maps, side, side)),
        *(_Up(maps, maps) for _ in range(3)),
        nn.BatchNorm2d(maps, **_BATCH_NORM),
        nn.ReLU(inplace=True),
        nn.Conv2d(maps, cell.channels, 3, padding=1),
        nn.Tanh(),
    )
    maps = _maps(128, cell.width)
    discriminator = nn.Sequential(
        _Down(cell.channels, maps, True, True, normalize),
        _Down(maps, maps, True, False, normalize),
        _Down(maps, maps, False, False, normalize),
        _Down(maps, maps, False, False, normalize),
        nn.ReLU(inplace=True),
        _SumPool(),
        normalize(nn.Linear(maps, 1, bias=False)),
    )
    return generator, discriminator
