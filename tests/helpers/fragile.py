"""A reader that dies over what it is given; it runs in a process of its own."""

import os
import signal

from paraspinal_nnunet.errors import InputError


def read(what):
    """Die of a signal by that name, refuse, print, or answer."""
    if what.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, what))
    if what == "refused":
        raise InputError("a: is no image")
    if what == "print":
        os.write(1, b"native words\n")
        return "printed"
    return os.getpid() if what == "pid" else what


def decode(path, shown, transfer_syntax, indices):
    """As `dicom.voxels.decode`, but that a file whose name begins with 'fatal' crashes it."""
    from paraspinal_nnunet.dicom import voxels

    if path.name.startswith("fatal"):
        os.kill(os.getpid(), signal.SIGSEGV)
    return voxels.decode(path, shown, transfer_syntax, indices)
