"""Names of a package that are imported when they are asked for."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def imported(package: str, homes: Mapping[str, str], name: str) -> Any:
    """What a package's ``__getattr__`` gives.

    Args:
        package: Its ``__name__``.
        homes: Name -> module below the package that holds it.
        name: What is asked for.

    Raises:
        AttributeError: The package has no such name.

    >>> imported("os", {"isabs": "path"}, "isabs")("/")
    True
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(import_module(f"{package}.{homes[name]}"), name)
