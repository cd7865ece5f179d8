"""main.py, its networks those of `small`."""

import small

from sngan_tf import command
from sngan_tf import networks

if __name__ == "__main__":
    networks.build = small.build
    command.run()
