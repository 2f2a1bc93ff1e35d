"""The package's names, looked up on first use."""

import subprocess
import sys

import pytest

import paraspinal_nnunet.evaluation as package


def test_every_exported_name_is_found():
    for name in package.__all__:
        assert getattr(package, name).__class__ is not type(package)


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'no_such_metric'"):
        package.no_such_metric  # noqa: B018


def test_evaluating_imports_neither_statistics_nor_torch():
    program = (
        "import sys; from paraspinal_nnunet.evaluation import evaluate, format_summary, read_record; "
        "print([m for m in ('torch', 'monai', 'nnunetv2', 'scipy.stats', 'statsmodels') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
