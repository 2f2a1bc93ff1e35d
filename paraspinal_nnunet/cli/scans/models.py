"""List the models that come with the program."""

import argparse

HELP = "list the models that come with the program"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are no flags."""


def run(args: argparse.Namespace) -> int:
    """Print name, version, size, hash and what each was trained on."""
    from paraspinal_nnunet.models.manifest import CAUTION
    from paraspinal_nnunet.models.shipped import shipped_models

    for model in shipped_models():
        manifest = model.manifest
        training = manifest["training"]
        recipes = [training["recipe"], *(other["recipe"] for other in training["others"])]
        print(f"{model.name}: version {model.version}, {model.path.stat().st_size / 1e6:.1f} MB, {CAUTION}")
        print(f"  labels: {', '.join(entry['key'] for entry in manifest['labels'])}")
        for recipe in recipes:
            print(
                f"  trained on {recipe['cases']} drawn persons in {recipe['iterations']} steps, seed {recipe['seed']}"
            )
        print(f"  made {manifest['created']}; sha256 {model.sha256}")
        print(f"  {model.path}")
    return 0
