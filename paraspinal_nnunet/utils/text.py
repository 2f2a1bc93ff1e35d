"""How numbers of things are written in messages and on pages."""


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless there is just one.

    >>> counted(1, "case"), counted(0, "case"), counted(3, "labelled slice")
    ('1 case', '0 cases', '3 labelled slices')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
