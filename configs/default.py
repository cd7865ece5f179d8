"""Every field at its default; `python main.py --fields` lists them.

They stand in sngan_tf/runs/fields.py, with what each means and must be. A
config overrides some:

    python main.py --config=configs/default.py --config.data.name=cifar10
"""

from sngan_tf.runs import arguments
from sngan_tf.runs import fields


def get_config(text=""):
    return arguments.apply(fields.defaults(), text)
