"""Keeps a wrapped layer from putting something else in a kernel's place.

Quantized or with LoRA, a layer no longer computes with the variable that its
wrapper normalises, so that the division would be lost without a word.
"""


def check_kernel_alone(layer):
    """Raises a ValueError if a layer is quantized or has LoRA already.

    Args:
        layer: A Keras layer, without what is inside it.
    """
    if layer.quantization_mode or getattr(layer, "lora_rank", None):
        raise ValueError(
            "The layer to wrap must be neither quantized nor given LoRA; that "
            f"is for what `fold` returns. Received: layer={layer.name}"
        )


def refuse_replacement(layer):
    """Makes a layer refuse to be quantized or given LoRA.

    With a NotImplementedError: to `model.quantize` this means a layer to
    leave as it is, with a warning.

    Args:
        layer: A Keras layer, without what is inside it.
    """

    def refuse(*args, **kwargs):
        raise NotImplementedError(
            f"The kernels of '{layer.name}' are normalised in every call, so "
            "it can't be quantized or given LoRA: `fold` the model first"
        )

    layer.quantize = refuse
    if hasattr(layer, "enable_lora"):
        layer.enable_lora = refuse
