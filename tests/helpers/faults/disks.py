"""Disks that are full or cannot be written: by a limit on each file, or, for root on Linux, by real small disks."""

import resource
import signal
import subprocess
from contextlib import contextmanager

from helpers.faults import fault_of_line, leftovers, out_of, prepare_output, run

ROOM_MB = 512
"""For a rerun."""


def small_files(size):
    """Let a process write no file beyond a size, as on a full disk; for `subprocess`."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@contextmanager
def disk(folder, size_kb):
    """A disk of its own for the output of verbs."""
    out = out_of(folder)
    out.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "none", out], check=True)
    try:
        yield out
    finally:
        subprocess.run(["umount", "-l", out], check=True)


def remount(folder, options):
    """Give a disk other options."""
    subprocess.run(["mount", "-o", f"remount,{options}", out_of(folder)], check=True)


def size_kb(folder):
    """What the output takes on a disk, by pages of 4 kB, its folders and files with them."""
    return sum(4 + 4 * -(-p.stat().st_size // 4096) for p in out_of(folder).rglob("*"))


def fault_of_full_disk(verb, folder, kilobytes, expected):
    """Run a verb on a disk that is too small, then with room; what was wrong, or ''."""
    with disk(folder, ROOM_MB << 10):
        prepare_output(verb, folder)
        remount(folder, f"size={size_kb(folder) + kilobytes}k")
        code, lines, _ = run(verb, folder)
        if code == 0 and verb.contents(out_of(folder)) == expected:
            return "", "it fitted"
        fault = fault_of_line(code, lines) or _halves(folder, expected)
        said = next((line for line in reversed(lines) if "rror" in line or "failed" in line), "")
        remount(folder, f"size={ROOM_MB}m")
        if fault:
            return fault, said
        code, lines, _ = run(verb, folder)
        if code or (found := verb.contents(out_of(folder))) != expected:
            differing = [] if code else [n for n in {**found, **expected} if found.get(n) != expected.get(n)]
            return f"rerun: exit code {code}, {lines[-1:]}, other files: {differing[:5]}", said
        return f"left {leftovers(folder)}" if leftovers(folder) else "", said


def fault_of_fixed_disk(verb, folder):
    """Run a verb on a disk that cannot be written to; what was wrong, or ''."""
    with disk(folder, ROOM_MB << 10):
        prepare_output(verb, folder)
        remount(folder, "ro")
        code, lines, _ = run(verb, folder)
        remount(folder, "rw")
        said = next((line for line in reversed(lines) if "rror" in line or "failed" in line), "")
        return fault_of_line(code, lines), said


def _halves(folder, expected):
    """Files of a final name that are neither as they shall be nor whole."""
    import gzip
    import json

    broken = []
    for path in out_of(folder).rglob("*"):
        name = path.relative_to(out_of(folder)).as_posix()
        if not path.is_file() or any(part.startswith(".") for part in path.relative_to(out_of(folder)).parts):
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".gz":
                gzip.decompress(path.read_bytes())
            elif path.stat().st_size == 0:
                broken.append(name)
        except (ValueError, OSError, EOFError):
            broken.append(name)
    return f"half-written: {broken}" if broken else ""
