"""The verbs of `--mode`, each a recipe of a config and a workdir.

What two of them would share belongs below, in `runs`.
"""
