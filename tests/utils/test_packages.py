"""Packages that may be missing: the error says what needs them, why they do not load, and what installs them."""

import sys

import pytest

from paraspinal_nnunet.errors import SetupError
from paraspinal_nnunet.utils.packages import optional_package


def test_what_is_there_is_given_back_with_its_modules():
    assert (
        optional_package("xml", "xml.dom.minidom", purpose="tests need", extra="x").dom.minidom
        is sys.modules["xml.dom.minidom"]
    )


def test_what_is_missing_is_named_as_pip_knows_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.measure", None)
    with pytest.raises(SetupError) as error:
        optional_package("skimage.measure", purpose="pictures need", extra="report", called="scikit-image")
    assert str(error.value) == (
        "pictures need scikit-image (import of skimage.measure halted; None in sys.modules); "
        "run: pip install 'paraspinal-nnunet[report]'"
    )


def test_a_package_that_does_not_load_says_why(tmp_path, monkeypatch):
    (tmp_path / "torn_package.py").write_text("raise ImportError('libgone.so: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SetupError, match=r"tests need torn_package \(libgone\.so: cannot open shared object file\); "):
        optional_package("torn_package", purpose="tests need", extra="x")
