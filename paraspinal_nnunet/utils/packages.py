"""Packages that only some tasks need: each comes with an extra of this program, which the error names."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from paraspinal_nnunet.errors import SetupError


def install_line(extra: str) -> str:
    """What adds an extra to an installed program; pip asks no registry for the program itself then."""
    return f"pip install 'paraspinal-nnunet[{extra}]'"


def optional_package(name: str, *modules: str, purpose: str, extra: str, called: str = "") -> ModuleType:
    """Import a package that comes with an extra.

    Args:
        name: Of the module that is given back.
        modules: Further ones that are to be loaded with it.
        purpose: What needs it, with the verb, e.g. ``'figures need'``.
        extra: That brings it.
        called: Its name to pip, where it is not the module's.

    Raises:
        SetupError: It is not installed, or cannot be loaded.
    """
    try:
        loaded = [importlib.import_module(module) for module in (name, *modules)]
    except ImportError as error:
        package = called or name.partition(".")[0]
        raise SetupError(f"{purpose} {package} ({error}); run: {install_line(extra)}") from error
    return loaded[0]


@contextmanager
def hidden(name: str) -> Iterator[None]:
    """Within the block a package that is not loaded yet counts as not installed."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
