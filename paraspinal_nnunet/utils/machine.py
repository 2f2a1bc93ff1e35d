"""What records may tell of the machine that made a result."""

import os
import socket

RECORD_HOST = "PARASPINAL_RECORD_HOST"
"""The variable that asks for the host's name; without it results that are handed on name no machine of the hospital."""


def host_entry() -> dict[str, str]:
    """The entry ``host`` of a record, where it was asked for."""
    return {"host": socket.gethostname()} if os.environ.get(RECORD_HOST, "0") not in ("", "0") else {}
