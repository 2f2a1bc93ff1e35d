"""The program as its users start it."""

import sys


def paraspinal(*words):
    """The command that runs the program in a process of its own."""
    return [sys.executable, "-m", "paraspinal_nnunet", *map(str, words)]


def quietly(*words):
    """The program in this process; errors are raised, and what it prints is its caller's affair."""
    from paraspinal_nnunet.cli import main

    return main([str(word) for word in words] + ["--debug"])
