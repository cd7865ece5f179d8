r"""Your own pictures, from a folder.

    python main.py --config=configs/image_folder.py --workdir=runs/mine \
        --config.data.name=folder:/my/pictures --mode=train

Not in the paper. The folder is flat or holds one folder per class, and with
`data.recursive` those hold folders in turn; pictures of any size and common
format are centre-cropped, transparent ones laid on `data.background`. The
networks are those of Table 3 at 64 pixels, which take any size divisible by 8,
with the hinge loss of the paper's best rows at setting C; the generator is
averaged, which the paper doesn't do, because grids then look better. A
conditional network needs classes: `:network=resnet_projection`. It makes as
many pictures of each, and unequal ones are warned of.
"""

from sngan_tf.runs import arguments
from sngan_tf.runs import fields


def get_config(text=""):
    config = fields.defaults()
    config.data.name = "folder:pictures"
    config.data.image_size = 64
    config.average_decay = 0.999
    return arguments.apply(config, text)
