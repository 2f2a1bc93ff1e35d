"""The program as its users start it."""

import sys


def paraspinal(*words):
    """The command that runs the program in a process of its own."""
    return [sys.executable, "-m", "paraspinal_nnunet", *map(str, words)]
