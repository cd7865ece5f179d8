"""Norms of convolutions as the maps that they are, from both sides.

All take a `Convolution` and the matrices that it makes of a kernel, float64
`(groups, taps * channels_in, channels_out)`. A transposed layer is the
transpose of its convolution, and has the same norm.
"""

import itertools

import numpy as np

from sngan_tf.certificates import singular_values

# Rows of the largest Gram matrix: 128 MiB, and seconds to factor. Those of
# many groups may take as long together.
_GRAM_ROWS = 4096
_CHUNK_BYTES = 2**26


def bounds(convolution, matrices):
    """Returns `(lower, upper, how)` of the norm.

    `how` is "svd of the map" where the map is small enough, so that both sides
    meet; else "fft".
    """
    lower = from_below(convolution, matrices)
    rows = min(_side(convolution, matrices, side) for side in (0, 1))
    if convolution.groups * rows**3 <= _GRAM_ROWS**3:
        upper = from_gram(convolution, matrices, lower)
        return lower, upper, "svd of the map"
    return lower, from_frequencies(convolution, matrices), "fft"


def from_below(convolution, matrices):
    """Returns the norm that some input attains."""
    groups, taps = convolution.groups, convolution.positions.shape[1]
    channels = matrices.shape[1] // taps
    shape = (convolution.input_positions + 1, groups, channels)
    transposed = np.swapaxes(matrices, 1, 2)

    def multiply(x):
        padded = np.zeros(shape)
        padded[:-1] = x.reshape(-1, groups, channels)
        patches = padded[convolution.positions]
        patches = np.moveaxis(patches, 2, 0).reshape(groups, -1, taps, channels)
        outputs = patches.reshape(groups, -1, taps * channels) @ matrices
        patches = (outputs @ transposed).reshape(patches.shape)
        padded[:] = 0
        # Under one tap no input lies twice; what is past them is dropped.
        for tap, positions in enumerate(convolution.positions.T):
            padded[positions] += np.swapaxes(patches[:, :, tap], 0, 1)
        return padded[:-1].ravel()

    return singular_values.from_below(
        multiply, (shape[0] - 1) * groups * channels
    )


def from_gram(convolution, matrices, lower):
    """Returns an upper bound from the Gram matrix of each group's map.

    Args:
        convolution: `Convolution`.
        matrices: Of its kernel.
        lower: From below. The bound is as near as that.
    """
    inputs, outputs = (_side(convolution, matrices, side) for side in (0, 1))
    taps = convolution.positions.shape[1]
    blocks = matrices.reshape(len(matrices), taps, -1, matrices.shape[-1])
    positions = convolution.positions
    if outputs < inputs:
        blocks = np.swapaxes(blocks, 2, 3)
        positions = output_positions(convolution)
    rows = min(inputs, outputs)
    return singular_values.from_above(
        (_gram(positions, group, rows) for group in blocks), lower
    )


def from_frequencies(convolution, matrices):
    """Returns an upper bound from the discrete Fourier transform.

    The map is a part of one around a circle that holds the input and all
    padding, whose norm is the largest of its frequencies. At stride s it goes
    from s^d phases of the input, which count as channels, at stride 1.

    Reference: Sedghi et al., "The singular values of convolutional layers",
    2019, for the circular map at stride 1.
    """
    sizes, phases, cells = _on_circle(convolution.axes)
    groups, _, filters = matrices.shape
    blocks = matrices.reshape(groups, len(cells), -1, filters)
    blocks = np.moveaxis(blocks, 1, 0)
    # Of real kernels, opposite frequencies are conjugates.
    frequencies = np.indices(sizes).reshape(len(sizes), -1)
    opposite = np.ravel_multi_index(
        np.mod(-frequencies, np.reshape(sizes, (-1, 1))), sizes
    )
    frequencies = frequencies[:, np.arange(len(opposite)) <= opposite].T
    turns = np.divide(cells, sizes).T
    kinds = np.unique(phases)
    each = 16 * len(kinds) * blocks[0].size
    chunk = max(_CHUNK_BYTES // each, 1)
    square = 0.0
    for start in range(0, len(frequencies), chunk):
        waves = np.exp(
            -2j * np.pi * (frequencies[start : start + chunk] @ turns)
        )
        parts = [
            np.tensordot(waves[:, phases == kind], blocks[phases == kind], 1)
            for kind in kinds
        ]
        square = max(square, _largest_square(np.concatenate(parts, axis=-2)))
    return float(np.sqrt(square) * (1 + singular_values.ROUNDING))


def output_positions(convolution):
    """Returns which output sees each input under each tap.

    Returns:
        `(input positions, taps)`; where there is none, the number of output
        positions.
    """
    outputs, taps = convolution.positions.shape
    found = np.full((convolution.input_positions + 1, taps), outputs)
    found[convolution.positions, np.arange(taps)] = np.arange(outputs)[:, None]
    return found[:-1]


def _side(convolution, matrices, side):
    """Returns the number of inputs (0) or outputs (1) of one group."""
    outputs, taps = convolution.positions.shape
    if side:
        return outputs * matrices.shape[2]
    return convolution.input_positions * (matrices.shape[1] // taps)


def _gram(positions, blocks, rows):
    """Returns the Gram matrix of a map, by pairs of taps.

    Args:
        positions: `(meeting points, taps)`: whose entry meets there under
            each tap; what is past `rows` is none.
        blocks: `(taps, channels, channels of the other side)`.
        rows: Of the matrix, entries x channels.
    """
    taps, channels, _ = blocks.shape
    entries = rows // channels
    gram = np.zeros((entries, entries, channels, channels))
    for tap, other in itertools.product(range(taps), repeat=2):
        one, two = positions[:, tap], positions[:, other]
        both = (one < entries) & (two < entries)
        # No pair of entries meets twice under one pair of taps.
        gram[one[both], two[both]] += blocks[tap] @ blocks[other].T
    return np.swapaxes(gram, 1, 2).reshape(rows, rows)


def _on_circle(axes):
    """Returns where taps lie on a circle around the padded input.

    Returns:
        `(sizes, phases, cells)`: of the circle along each axis, in strides;
        which phase of the input each tap sees; and how many strides it lies
        from the first tap, `(taps, axes)`.
    """
    sizes, phases, cells = [], [], []
    for axis in axes:
        taps = np.arange(axis.kernel_size) * axis.dilation
        last = (axis.output_size - 1) * axis.stride + taps[-1]
        padded = max(axis.pad_before + axis.input_size, last + 1)
        sizes.append(-(-padded // axis.stride))
        cells.append(taps // axis.stride)
        phases.append(taps % axis.stride)
    cells = np.stack(np.meshgrid(*cells, indexing="ij"), -1)
    phases = np.stack(np.meshgrid(*phases, indexing="ij"), -1)
    phases = np.ravel_multi_index(
        phases.reshape(-1, len(axes)).T, [axis.stride for axis in axes]
    )
    return tuple(sizes), phases, cells.reshape(-1, len(axes))


def _largest_square(blocks):
    """Returns the largest squared singular value of matrices (..., m, n)."""
    adjoint = np.conj(np.swapaxes(blocks, -1, -2))
    wide = blocks.shape[-2] < blocks.shape[-1]
    gram = blocks @ adjoint if wide else adjoint @ blocks
    return float(np.max(np.linalg.eigvalsh(gram)))
