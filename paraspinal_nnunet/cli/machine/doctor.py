"""Check this machine: versions, nnU-Net's folders, the trainer look-up; say what is wrong and how to fix it."""

import argparse

HELP = "check the set-up and say how to fix it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""


def run(args: argparse.Namespace) -> int:
    """Print one line per check; 1 when any of them keeps a command from working."""
    from paraspinal_nnunet.cli.machine.checks import examine

    findings = examine()
    for finding in findings:
        print(finding)
    return 1 if any(f.state == "wrong" for f in findings) else 0
