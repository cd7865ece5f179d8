"""Keeps a run's generator as plain Keras files, with a model card.

    python examples/keep_generator.py runs/digits digits

writes sngan_tf/networks/weights/digits, from where `sngan_tf.pretrained`
loads it; or where --folder says.
"""

import argparse

from sngan_tf.networks import pretrained
from sngan_tf.runs import card
from sngan_tf.runs import keeping


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdir")
    parser.add_argument("name")
    parser.add_argument("--folder", help="where to write")
    parser.add_argument(
        "--checkpoint", choices=("best", "last"), default="best"
    )
    parser.add_argument(
        "--data",
        choices=[*card.DATA_SETS],
        default="",
        help="what the pictures are, if the run calls them otherwise",
    )
    parser.add_argument("--note", default="", help="what is to be said of them")
    given = parser.parse_args()
    folder = given.folder or pretrained.FOLDER / given.name
    keeping.keep(
        given.workdir, folder, given.checkpoint, given.data, given.note
    )
    print(folder)


if __name__ == "__main__":
    main()
