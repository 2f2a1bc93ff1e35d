import os

import pytest

from paraspinal_nnunet import cli
from paraspinal_nnunet.errors import InputError


def test_every_verb_has_help(capsys):
    for verb in cli.VERBS:
        with pytest.raises(SystemExit) as ended:
            cli.main([verb, "--help"])
        assert ended.value.code == 0
        assert f"paraspinal {verb}" in capsys.readouterr().out


def test_wrong_usage_ends_with_two(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["no-such-verb"])
    assert ended.value.code == 2


def broken(monkeypatch, error):
    def run(args):
        raise error

    monkeypatch.setattr("paraspinal_nnunet.cli.machine.env.run", run)


def test_known_error_is_one_line_and_one(monkeypatch, capsys):
    broken(monkeypatch, InputError("case_1.nii.gz: cut off\nafter 3 bytes"))
    assert cli.main(["env"]) == 1
    assert capsys.readouterr().err == "paraspinal env: error: case_1.nii.gz: cut off after 3 bytes\n"


def test_debug_shows_the_traceback(monkeypatch):
    broken(monkeypatch, InputError("case_1"))
    with pytest.raises(InputError):
        cli.main(["env", "--debug"])


def test_interrupt_ends_with_130(monkeypatch, capsys):
    broken(monkeypatch, KeyboardInterrupt())
    assert cli.main(["env"]) == 130
    assert "stopped" in capsys.readouterr().err


def test_threads_wait_asleep_unless_the_user_wants_otherwise(monkeypatch, capsys):
    for given, wanted in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        if given:
            monkeypatch.setenv("OMP_WAIT_POLICY", given)
        with pytest.raises(SystemExit):
            cli.main(["--version"])
        assert os.environ["OMP_WAIT_POLICY"] == wanted
