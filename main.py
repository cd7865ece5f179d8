"""Trains, scores, samples and exports SN-GANs, as the command sngan-tf does."""

from sngan_tf import command

if __name__ == "__main__":
    command.run()
