"""Tensors as JSON, the way TensorFlow Serving has them.

Other than there, numbers that are not finite are refused, as no model of ours
can do anything with them.
"""

import base64
import binascii
import itertools
import json

import numpy as np
import tensorflow as tf

from sngan_tf.server import models
from sngan_tf.server.problems import Problem

_KEYS = ("signature_name", "instances", "inputs")
_SHOWN = 60  # Characters of what was received.
_PART = 2**16
_KINDS = {"f": (int, float), "i": (int,), "u": (int,), "b": (bool,)}


class Request:
    """A request of the predict API.

    Args:
        body: Bytes, JSON.
        signatures: `{name: models.Signature}`.

    Attributes:
        signature: The `models.Signature` that is asked.
        name: Its name.
        inputs: `{name: array}`, of its types and shapes.
        by_row: Whether it was asked, and is answered, by rows.

    Raises:
        Problem: 400, on anything that is not right.
    """

    def __init__(self, body, signatures):
        asked = _parsed(body)
        self.name = _signature_name(asked, signatures)
        self.signature = signatures[self.name]
        self.by_row = "instances" in asked
        specs = self.signature.inputs
        if self.by_row:
            values = _columns(asked["instances"], specs)
        else:
            values = _named(asked["inputs"], specs)
        self.inputs = {
            name: _array(name, values[name], spec)
            for name, spec in specs.items()
        }

    def answer(self, outputs):
        """Returns the JSON of an answer.

        Args:
            outputs: `{name: array}`.
        """
        lists = {name: _listed(name, x) for name, x in outputs.items()}
        if self.by_row:
            return json.dumps({"predictions": self._rows(outputs, lists)})
        if len(lists) == 1:
            (lists,) = lists.values()
        return json.dumps({"outputs": lists})

    def _rows(self, outputs, lists):
        counts = {x.shape[:1] for x in outputs.values()}
        if len(counts) != 1 or () in counts:
            raise Problem(
                400,
                "`inputs` must be asked by, not `instances`, of a signature "
                "whose outputs have no row for each. Received: "
                f"signature_name={self.name}",
            )
        if len(lists) == 1:
            (rows,) = lists.values()
            return rows
        return [
            dict(zip(lists, row)) for row in zip(*lists.values(), strict=True)
        ]


def exact(array):
    """Returns an array as nested lists; float32 by its shortest decimals."""
    if array.dtype != np.float32:
        return array.tolist()
    # In parts, as the decimals take several times the memory.
    parts = np.array_split(array.ravel(), 1 + array.size // _PART)
    decimals = [part.astype("U16").astype(np.float64) for part in parts]
    return np.concatenate(decimals).reshape(array.shape).tolist()


def _parsed(body):
    def refuse(token):
        raise Problem(400, f"Numbers must be finite. Received: {token}")

    try:
        asked = json.loads(body, parse_constant=refuse)
    except RecursionError as error:
        raise Problem(400, "The body is nested too deeply") from error
    except ValueError as error:
        raise Problem(400, f"The body must be JSON. {error}") from error
    if not isinstance(asked, dict):
        raise Problem(
            400, f"The body must be a JSON object. Received: {_shown(asked)}"
        )
    if unknown := [key for key in asked if key not in _KEYS]:
        raise Problem(
            400,
            f"The body may have {', '.join(_KEYS)}. Received: "
            f"{_shown(unknown[0])}",
        )
    if ("instances" in asked) == ("inputs" in asked):
        raise Problem(
            400,
            "The body must have either `instances` or `inputs`. Received: "
            + ("both" if "inputs" in asked else "none of them"),
        )
    return asked


def _signature_name(asked, signatures):
    name = asked.get("signature_name", "")
    if not isinstance(name, str):
        raise Problem(
            400, f"`signature_name` must be a string. Received: {_shown(name)}"
        )
    name = name or models.DEFAULT_SIGNATURE
    if name not in signatures:
        raise Problem(
            400,
            f'Serving signature name: "{name[:_SHOWN]}" not found in '
            f"signature def; there are {', '.join(signatures)}",
        )
    return name


def _columns(instances, specs):
    """Returns `{name: value}` of rows."""
    if not isinstance(instances, list) or not instances:
        raise Problem(
            400,
            "`instances` must be a list with one or more rows. Received: "
            f"{_shown(instances)}",
        )
    are_named = {_is_named(row) for row in instances}
    if are_named == {True}:
        rows = [_named(row, specs) for row in instances]
        return {name: [row[name] for row in rows] for name in specs}
    if len(are_named) == 2:
        raise Problem(400, "`instances` must all be objects, or none of them")
    return _named(instances, specs)


def _named(value, specs):
    """Returns `{name: value}`, of a single input also without its name."""
    if not _is_named(value):
        if len(specs) != 1:
            raise Problem(
                400,
                f"Inputs must be named, {', '.join(specs) or 'none'}. "
                f"Received: {_shown(value)}",
            )
        return {next(iter(specs)): value}
    if {*value} != {*specs}:
        raise Problem(
            400,
            f"Inputs must be {', '.join(specs) or 'none'}. Received: "
            f"{_shown(', '.join(value)) or 'none'}",
        )
    return value


def _is_named(value):
    return isinstance(value, dict) and {*value} != {"b64"}


def _array(name, value, spec):
    """Returns an input's array, of the type and shape that is asked for."""
    shape, leaves = _flat(name, value)
    if not spec.shape.is_compatible_with(shape):
        raise Problem(
            400,
            f"`{name}` must be of shape {_words(spec.shape)}. Received: "
            f"{_words(shape)}",
        )
    if spec.dtype == tf.string:
        leaves = [_bytes(name, leaf) for leaf in leaves]
        array = np.empty(len(leaves), object)
        array[:] = leaves
        return array.reshape(shape)
    return _numbers(name, leaves, spec.dtype.as_numpy_dtype).reshape(shape)


def _flat(name, value):
    """Returns the shape of nested lists, and what is in them, in order."""
    shape, level = [], [value]
    while level and isinstance(level[0], list):
        size = len(level[0])
        if any(not isinstance(x, list) or len(x) != size for x in level):
            raise Problem(
                400, f"`{name}` must have lists of one length side by side"
            )
        shape.append(size)
        level = [*itertools.chain.from_iterable(level)]
    if any(isinstance(leaf, list) for leaf in level):
        raise Problem(400, f"`{name}` must have values of one depth")
    return shape, level


def _numbers(name, leaves, dtype):
    dtype = np.dtype(dtype)
    kinds = _KINDS.get(dtype.kind)
    if kinds is None:
        raise Problem(501, f"`{name}` is of {dtype}, which JSON has no form of")
    # Not isinstance, as Python has it that True is a number.
    wrong = [leaf for leaf in leaves if type(leaf) not in kinds]
    if wrong:
        raise Problem(
            400, f"`{name}` must be {dtype}. Received: {_shown(wrong[0])}"
        )
    try:
        with np.errstate(over="ignore"):
            array = np.array(leaves, dtype)
        if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
            raise OverflowError
    except OverflowError as error:
        raise Problem(
            400, f"`{name}` must be numbers that {dtype} can hold"
        ) from error
    return array


def _bytes(name, leaf):
    try:
        if isinstance(leaf, str):
            return leaf.encode()  # Halves of surrogate pairs have no UTF-8.
        return base64.b64decode(leaf["b64"], validate=True)
    except (TypeError, KeyError, ValueError, binascii.Error) as error:
        raise Problem(
            400,
            f'`{name}` must be strings, or bytes as {{"b64": "..."}}. '
            f"Received: {_shown(leaf)}",
        ) from error


def _listed(name, array):
    if array.dtype != object:
        return exact(array)
    found = np.empty(array.shape, object)
    for index, value in np.ndenumerate(array):
        found[index] = _text(name, value)
    return found.tolist()


def _text(name, value):
    if not name.endswith("_bytes"):
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(value).decode()}


def _words(shape):
    if tf.TensorShape(shape).rank is None:
        return "any"
    sizes = ["batch" if size is None else str(size) for size in shape]
    return f"({', '.join(sizes)})"


def _shown(value):
    """Returns the beginning of what was received, as JSON."""
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except RecursionError:  # Writing nests a little deeper than reading.
        text = "what is nested deeply"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
