"""Text that spreadsheets would run, and numbers that they must keep."""

import pandas as pd
import pytest

from paraspinal_nnunet.errors import SetupError
from paraspinal_nnunet.utils.spreadsheet import cell_text, plain_text, write_exact_tsv, write_tsv, write_workbook

FORMULAS = ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "-1+2", "=cmd|' /C calc'!A0", "--1", "+", "-1 (A1)"]
NUMBERS = ["-1.5", "+3", "-.5", "1e-5", "-1e+05", "-inf", "-0.06 (0.45)", "-0.19 [-1.16–0.72]"]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_get_an_apostrophe(text):
    assert plain_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=1", "'=1", "sub-01", "a-b", *NUMBERS])
def test_numbers_and_plain_text_stay(text):
    assert plain_text(text) == text


@pytest.mark.parametrize("text", ["=1+1", "-A1", "sub-01", "-1.5", "'quoted'", "'", ""])
def test_a_safe_cell_gives_its_text_back(text):
    assert cell_text(plain_text(text)) == text


def test_tables_to_compute_from_keep_every_digit(tmp_path):
    write_exact_tsv(pd.DataFrame({"case": ["-x", "y"], "v": [1 / 3, float("nan")]}), tmp_path / "t.tsv")
    assert (tmp_path / "t.tsv").read_text() == "case\tv\n'-x\t0.3333333333333333\ny\t\n"


def test_a_table_by_hand(tmp_path):
    write_tsv(pd.DataFrame({"=case": ["-x", "y"], "v": [1 / 3, -123456.789], "n": [1, 2]}), tmp_path / "t.tsv")
    assert (tmp_path / "t.tsv").read_text() == "=case\tv\tn\n'-x\t0.333333\t1\ny\t-123457\t2\n"


def test_a_workbook_needs_its_library(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(SetupError, match=r"paraspinal-nnunet\[xlsx\]"):
        write_workbook({"a": pd.DataFrame({"x": [1]})}, tmp_path / "a.xlsx")
    assert list(tmp_path.iterdir()) == []
