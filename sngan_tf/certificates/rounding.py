"""How much the certificates allow for rounding."""

from sngan_tf.layers import kernels

# A bound times this is above what float64 rounds in products, sums and roots
# over any graph that is worth a bound.
FLOAT64 = 1 + 1e-9

# Of numbers at 1.
_SPACINGS = {"float16": 2**-10, "bfloat16": 2**-7, "float32": 2**-23}


def of(model):
    """Returns what a forward pass may have rounded, relative to the outputs.

    By the coarsest layer, 1e-6 of float32; an estimate, as no proof holds for
    every order of summation.
    """
    dtypes = {layer.compute_dtype for layer in kernels.sublayers(model)}
    spacings = [_SPACINGS.get(dtype, _SPACINGS["float32"]) for dtype in dtypes]
    return 8 * max(spacings)
