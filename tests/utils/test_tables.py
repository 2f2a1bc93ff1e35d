"""Tables as spreadsheets and editors write them all mean the same; what is no table is refused with its line."""

import pytest

from paraspinal_nnunet.errors import DatasetError, InputError
from paraspinal_nnunet.utils.tables import number, read_rows, read_table, table_path

ROWS = [["a-1", "Müller, Eva", "1,5"], ["a-2", "", "2.5"]]
PLAIN = "case\tname\tvalue\na-1\tMüller, Eva\t1,5\na-2\t\t2.5\n"
WRITTEN = {
    "tabs": PLAIN.encode(),
    "commas": b'case,name,value\na-1,"M\xc3\xbcller, Eva","1,5"\na-2,,2.5\n',
    "semicolons": "case;name;value\na-1;Müller, Eva;1,5\na-2;;2.5\n".encode(),
    "separator stated": "sep=;\ncase;name;value\na-1;Müller, Eva;1,5\na-2;;2.5\n".encode(),
    "byte-order mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "UTF-16 with mark": PLAIN.encode("utf-16"),
    "UTF-16 big endian": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "UTF-16 without mark": PLAIN.encode("utf-16-le"),
    "CRLF": PLAIN.replace("\n", "\r\n").encode(),
    "no last line end": PLAIN.rstrip().encode(),
    "spaces": PLAIN.replace("\t", " \t ").replace("\n", "  \n").encode(),
    "spaces before quotes": 'case, name, value\na-1, "Müller, Eva", "1,5"\na-2, , 2.5\n'.encode(),
    "quotes": '"case";"name";"value"\n"a-1";"Müller, Eva";"1,5"\n"a-2";"";"2.5"\n'.encode(),
    "blank lines": ("\n" + PLAIN.replace("\n", "\n\n") + "\t\t\n").encode(),
    "comments": ("# made by hand\n" + PLAIN.replace("a-2", "# a-0\na-2")).encode(),
    "empty columns behind": PLAIN.replace("\n", "\t\t\n").encode(),
}


@pytest.mark.parametrize("written", WRITTEN)
def test_all_writings_of_a_table_are_one(tmp_path, written):
    (tmp_path / "t.csv").write_bytes(WRITTEN[written])
    table = read_table(tmp_path / "t.csv", ("case", "value"))
    assert list(table.columns) == ["case", "name", "value"]
    assert table.to_numpy().tolist() == ROWS


def test_rows_are_known_by_their_lines(tmp_path):
    (tmp_path / "t.csv").write_text('# one\n\ncase;note\na;"two\nlines"\n\nb;x\n')
    table = read_table(tmp_path / "t.csv")
    assert table["case"].to_dict() == {5: "a", 7: "b"}
    assert [line for line, _ in read_rows(tmp_path / "t.csv")] == [3, 5, 7]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is an empty table"),
        (b"\n# nothing\n", "is an empty table"),
        (b"case,case\na,b\n", "several columns 'case'"),
        (b"name,value\na,1\n", "has no column case; found name, value"),
        (b"case,value\na,1\nb\n", "line 3 has 1 cells, the header 2"),
        (b"case,value\na,1,5\n", "line 2 has 3 cells, the header 2"),
        (b'case,value\na,1\nb,"2\nc,3\n', "line 4 is no row of a table"),
        (b"case,value\na,1\nM\xfcller,2\n", "line 3 is neither UTF-8 nor UTF-16"),
    ],
)
def test_no_table_is_refused_with_its_line(tmp_path, content, words):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=words):
        read_table(tmp_path / "t.csv", ("case",), kind=DatasetError)


def test_missing_files_and_folders_are_refused(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_table(path)


@pytest.mark.parametrize(("text", "value"), [("1.5", 1.5), ("1,5", 1.5), (" -2,25e1 ", -22.5), (",5", 0.5), ("3", 3.0)])
def test_numbers_have_points_or_commas(text, value):
    assert number(text) == value


@pytest.mark.parametrize("text", ["1.234,5", "1,234,5", "1_000", "", "a", "1;5"])
def test_what_is_no_number_is_none(text):
    with pytest.raises(ValueError, match=r"number|convert"):
        number(text)


def test_tables_of_earlier_releases_are_found(tmp_path):
    assert table_path(tmp_path, "metrics.tsv") == tmp_path / "metrics.tsv"
    (tmp_path / "metrics.csv").touch()
    assert table_path(tmp_path, "metrics.tsv") == tmp_path / "metrics.csv"
    (tmp_path / "metrics.tsv").touch()
    assert table_path(tmp_path, "metrics.tsv") == tmp_path / "metrics.tsv"


def test_a_text_that_was_kept_from_being_a_formula_is_read_as_it_was(tmp_path):
    """In measures.tsv with an apostrophe, in a table of people as it is."""
    (tmp_path / "t.tsv").write_text("case\tage\n'=1+1\t-1\n'@x\t'a'\n=1+2\t'\n")
    assert read_table(tmp_path / "t.tsv").to_numpy().tolist() == [["=1+1", "-1"], ["@x", "'a'"], ["=1+2", "'"]]
