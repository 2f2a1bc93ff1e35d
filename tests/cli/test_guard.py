"""Whatever goes wrong in a verb ends in one line with the true reason; closed and full streams are no trap."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paraspinal_nnunet import cli
from paraspinal_nnunet.cli import guard, streams
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.utils.progress import progress

posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")


def shell(line, **environment):
    """Run a line of shell in which $P is the command."""
    given = {**os.environ, "P": f"{sys.executable} -m paraspinal_nnunet", **environment}
    return subprocess.run(["bash", "-c", line], env=given, capture_output=True, timeout=120)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device", "out/a.nii.gz"), "error: out/a.nii.gz: No space left on device"),
        (OSError(30, "Read-only file system"), "error: Read-only file system"),
        (PermissionError(13, "Permission denied", "x"), "error: x: Permission denied"),
        (MemoryError(), "error: MemoryError: there is not enough memory"),
        (MemoryError("Unable to allocate 122. GiB"), "error: MemoryError: Unable to allocate 122. GiB"),
        (RecursionError("too deep"), "internal error: RecursionError: too deep; --debug shows where"),
        (KeyError("x"), "internal error: KeyError: 'x'; --debug shows where"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "internal error: UnicodeDecodeError: 'utf-8' codec can't"),
        (BrokenPipeError(32, "Broken pipe"), "error: Broken pipe"),
    ],
)
def test_every_error_is_one_line_and_one(monkeypatch, capsys, error, line):
    def run(args):
        raise error

    monkeypatch.setattr("paraspinal_nnunet.cli.machine.env.run", run)
    assert cli.main(["env"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"paraspinal env: {line}")
    assert said.count("\n") == 1
    with pytest.raises(type(error)):
        cli.main(["env", "--debug"])


def test_an_error_under_a_progress_bar_has_a_line_of_its_own(monkeypatch, capsys):
    def run(args):
        bar = progress(total=3, what="working")
        bar.refresh()
        raise OSError(28, "No space left on device", "out/a.nii.gz")

    monkeypatch.setattr("paraspinal_nnunet.utils.progress.BAR_DELAY_S", 0)
    monkeypatch.setattr("paraspinal_nnunet.cli.machine.env.run", run)
    assert cli.main(["env"]) == 1
    said = capsys.readouterr().err
    assert "working:" in said
    assert "\nparaspinal env: error: out/a.nii.gz: No space left on device; free some space there" in said


@pytest.mark.slow
@posix
def test_a_full_disk_behind_standard_output_is_told():
    done = shell("$P trainers > /dev/full")
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"paraspinal trainers: error: No space left on device" in done.stderr


@pytest.mark.slow
@posix
def test_a_reader_that_goes_away_is_no_error_worth_a_word():
    done = shell("$P trainers | true; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) in ((1, b""), (0, b""))
    done = shell("$P --help | true; exit ${PIPESTATUS[0]}")
    assert done.stderr == b""


@pytest.mark.slow
@posix
def test_closed_streams_are_no_trap():
    assert shell("$P trainers >&-").stderr == b""
    done = shell("$P predict -i nowhere -o out -m model 2>&- >&-")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


@posix
@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("größe".encode(), {"LC_ALL": "C"}),
        (b"gr\xf6\xdfe", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        ("größe".encode(), {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii"}),
    ],
)
def test_names_are_told_as_they_are(name, environment):
    escaped = "".join(f"\\x{byte:02x}" for byte in name)
    done = shell("$P predict -i $(printf '%b' \"$N\") -o out -m model", N=escaped, **environment)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"no such file or folder" in done.stderr
    assert name in done.stderr or b"gr\\xf6\\xdfe" in done.stderr


def test_any_letter_can_be_printed_on_any_stream(tmp_path, monkeypatch):
    with (tmp_path / "printed").open("w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        streams.prepare_streams()
        print("größe", os.fsdecode(b"gr\xf6\xdfe"), "\x1b[2J")
    assert (tmp_path / "printed").read_bytes() == b"gr\\xf6\\xdfe gr\xf6\xdfe \\x1b[2J\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b]52;c;cHduZWQ=\x07b", r"a\x1b]52;c;cHduZWQ=\x07b"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b2J", r"\x9b2J"),
        ("sub\u202egpj", r"sub\u202egpj"),
        ("a\rb", r"a\rb"),
        ("\r 10% größe\r", "\r 10% größe\r"),
        ("\r", "\r"),
        ("one\n\ttwo\n", "one\n\ttwo\n"),
        ("\n\x1b[A", "\n\x1b[A"),
    ],
)
def test_no_text_commands_a_terminal(tmp_path, text, shown):
    with (tmp_path / "printed").open("w", encoding="utf-8", newline="") as stream:
        plain = streams.PlainStream(stream)
        assert plain.write(text) == len(text)
        plain.writelines([text])
        assert plain.fileno() == stream.fileno()
    assert (tmp_path / "printed").read_bytes().decode() == 2 * shown


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signals_end_it_as_ctrl_c_does(name):
    code = (
        "import time, sys\nfrom paraspinal_nnunet.cli.guard import guarded\n"
        "def run():\n try:\n  print('ready', flush=True); time.sleep(60)\n finally:\n  print('tidied up')\n"
        "sys.exit(guarded('it', run, debug=False))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    start = time.monotonic()
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - start < 10
    assert (out, err, process.returncode) == (b"tidied up\n", b"it: stopped\n", 128 + getattr(signal, name))


def test_signals_are_as_before_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit):
        cli.main(["env", "--help"])
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_cannot_be_written_is_refused_before(tmp_path):
    (tmp_path / "file").write_text("x")
    guard.check_writable(tmp_path / "new" / "deep")
    guard.check_writable(tmp_path / "file")
    guard.check_writable(Path("."))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    for output, reason in (
        (tmp_path / "file" / "out", "is a file, not a folder"),
        (tmp_path / ("x" * 300), "File name too long"),
        (tmp_path / "new" / ("x" * 300), "File name too long"),
        (tmp_path / "nul\0", "null byte"),
        (Path("/proc/out"), "cannot be written"),
    ):
        with pytest.raises(InputError, match=reason):
            guard.check_writable(output)


def test_the_command_looks_before_it_computes(capsys):
    assert cli.main(["predict", "-i", "nowhere", "-o", "/proc/out", "-m", "model"]) == 1
    assert "paraspinal predict: error: /proc/out: cannot be written (" in capsys.readouterr().err
