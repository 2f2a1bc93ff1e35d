"""How numbers of things are written in messages and on pages."""


def pluralize(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless there is just one.

    >>> pluralize(1, "case"), pluralize(0, "case"), pluralize(3, "labelled slice")
    ('1 case', '0 cases', '3 labelled slices')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
