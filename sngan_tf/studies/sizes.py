"""How large the runs of a study are: for two cores, or as the paper has them.

| `--config=configs/studies/NAME.py` | pictures | size |
|---|---|---|
| | CIFAR-10 | reduced in width and updates, as the study says |
| `:digits` | digits | Table 3 at 16 pixels and a quarter of the width |
| `:full` | CIFAR-10 | the paper's: full width, 100,000 updates, Inception |

Reduced runs are scored by a classifier, of 5,000 pictures; they are of one
thread, as several at once are done sooner than one after the other on more.
"""

from sngan_tf.errors import UserError
from sngan_tf.runs import fields

NAMES = ("", "digits", "full")


def named(name, size):
    """Returns the name of a study of a size."""
    return f"{name}_{size}" if size else name


def config(size, width, updates, digits_updates=3_000, evaluations=5):
    """Returns the config that all cells of a study have in common.

    Table 3 with the log loss, as in most of Table 2.

    Args:
        size: One of `NAMES`.
        width: Of reduced CIFAR-10 runs.
        updates: Generator updates of these.
        digits_updates: Those of digits.
        evaluations: How often a run is scored.

    Raises:
        UserError: On another size.
    """
    if size not in NAMES:
        raise UserError(
            f"A study's size must be one of {', '.join(filter(None, NAMES))}, "
            f"or none. Received: {size}"
        )
    common = fields.defaults()
    common.loss = "non_saturating"
    common.data.name = "cifar10"
    common.evaluation.classifier = "cifar10"
    common.updates = updates
    common.network.width = width
    if size == "full":
        common.updates = 100_000
        common.network.width = 1.0
        common.evaluation.protocol = "paper"
        common.evaluation.features = "inception"
        common.evaluation.classifier = ""
    else:
        common.operation_threads = 1
    if size == "digits":
        common.updates = digits_updates
        common.network.width = 0.25
        common.data.name = "digits"
        common.evaluation.classifier = ""
        common.data.image_size = 16
        common.data.batch_size = 32
        common.data.shift = 1
    # Whoever changes the updates changes these.
    updates = common.get_ref("updates")
    common.evaluate_every = updates // evaluations
    common.checkpoint_every = updates // evaluations
    common.sample_every = updates + 0
    return common
