"""Tables in four forms, and their escaping."""

import csv
import io
import re
from html.parser import HTMLParser

import pytest

from paraspinal_nnunet.evaluation.tables.table import (
    FORMS,
    Cell,
    Footnotes,
    Row,
    Table,
    escape_latex,
    escape_markdown,
    heading_row,
    plain_table,
    text_row,
    to_html,
    to_html_page,
    to_latex,
    to_markdown,
    to_tsv,
    write_table,
)

NASTY = 'a|b_c*d <script>&"x"</script> 50% $1 #2 {e} ~f ^g \\h `i` [j](k)\nl'


class Cells(HTMLParser):
    """Texts of all cells, and the tags met."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag in ("td", "th", "caption"):
            self.texts.append("")

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += data


def small(name="2D"):
    rows = (heading_row("Multifidus left"), Row((Cell("Dice"), Cell("0.905 (0.021)", bold=True, notes=("a",)))))
    return Table("Table 1", ("", name), rows, (("a", "a note"),), ("n = 2",))


def test_markdown():
    assert to_markdown(small()) == (
        "**Table 1**\n\n|  | 2D |\n| --- | --- |\n| **Multifidus left** |  |\n"
        "| Dice | **0.905 (0.021)**<sup>a</sup> |\n\nn = 2\n\n<sup>a</sup> a note\n"
    )


def test_tsv_has_headings_and_notes_as_columns():
    assert list(csv.reader(io.StringIO(to_tsv(small())), delimiter="\t")) == [
        ["", "", "2D", "notes"],
        ["Multifidus left", "Dice", "0.905 (0.021)", "a note"],
    ]


def test_latex():
    text = to_latex(small())
    assert r"\multicolumn{2}{l}{\textbf{Multifidus left}} \\" in text
    assert r"Dice & \textbf{0.905 (0.021)}\textsuperscript{a} \\" in text
    assert text.count("{") == text.count("}")
    assert re.findall(r"\\(begin|end)\{(\w+)\}", text) == [
        ("begin", "table"),
        ("begin", "tabular"),
        ("end", "tabular"),
        ("end", "table"),
    ]


def test_html():
    assert '<tr><th scope="row">Dice</th><td><strong>0.905 (0.021)</strong><sup>a</sup></td></tr>' in to_html(small())
    assert to_html_page([small()], title="<x>").count("<title>&lt;x&gt;</title>") == 1


def test_html_shows_any_name_and_runs_none():
    parser = Cells()
    parser.feed(to_html(small(NASTY)))
    assert parser.texts[2].strip() == NASTY
    assert "script" not in parser.tags


def test_markdown_keeps_any_name_in_one_cell():
    head = to_markdown(small(NASTY)).splitlines()[2]
    cells = re.split(r"(?<!\\)\|", head)
    assert len(cells) == 4  # outer bars and two columns
    assert "<" not in cells[2]
    unescaped = re.sub(r"\\(.)", r"\1", cells[2]).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert unescaped.strip() == " ".join(NASTY.split())


def test_latex_escapes_every_special_character():
    escaped = escape_latex(NASTY)
    commands = r"\\text(backslash|asciitilde|asciicircum|less|greater|bar|quotedbl)\{\}"
    plain = re.sub(commands, "", escaped)
    plain = re.sub(r"\\[{}$&#%_]", "", plain)
    assert not set(plain) & set("\\{}$&#%_~^<>|")
    assert escape_latex("± ≥ –") == r"$\pm$ $\geq$ --"


def test_markdown_escapes_are_literal():
    assert escape_markdown("2D_no|x") == r"2D\_no\|x"


def test_footnotes_go_on_after_z():
    notes = Footnotes()
    marks = [notes.mark(str(i)) for i in range(28)]
    assert marks[:3] == ["a", "b", "c"]
    assert marks[25:] == ["z", "aa", "ab"]
    assert notes.mark("0") == "a"
    assert dict(notes.entries)["ab"] == "27"


def test_all_forms_are_written(tmp_path):
    paths = write_table(plain_table("T", ("x",), [["1"]]), tmp_path, "t")
    assert sorted(p.name for p in paths) == sorted(f"t.{ending}" for ending in FORMS)
    assert all(p.is_file() for p in paths)
    assert (tmp_path / "t.tsv").read_text() == "x\n1\n"


@pytest.mark.parametrize("form", FORMS)
def test_a_table_without_rows_or_notes(form):
    assert FORMS[form](Table("T", ("x", "y"), ())).strip()


def test_text_row():
    assert text_row(["1", "2"]) == Row((Cell("1"), Cell("2")))
