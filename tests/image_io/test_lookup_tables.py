"""Look-up tables: read back by the rules of the two formats, they give every label's name and colour."""

import re
import shlex

import pytest

from paraspinal_nnunet.anatomy import ALL_STRUCTURES, BY_KEY, PARASPINAL, STRUCTURES
from paraspinal_nnunet.errors import LabelError
from paraspinal_nnunet.image_io.viewers.lookup_tables import itksnap_labels, slicer_colour_table, write_lookup_tables


def read_slicer(text: str) -> dict[int, tuple[str, tuple[int, ...]]]:
    """As 3D Slicer's guide has it: '#' lines are the header, then five numbers round a name without spaces."""
    head, *lines = text.splitlines()
    assert head.startswith("# Color table file")
    rows = [line.split() for line in lines if not line.startswith("#")]
    assert all(len(row) == 6 for row in rows)
    return {int(row[0]): (row[1], tuple(map(int, row[2:]))) for row in rows}


def read_itksnap(text: str) -> dict[int, tuple[str, tuple[int, ...]]]:
    """As the file's own header has it: index, red, green, blue, opacity, visibility, mesh, quoted name."""
    rows = [shlex.split(line) for line in text.splitlines() if not line.startswith("#")]
    assert all(len(row) == 8 for row in rows)
    return {int(row[0]): (row[7], tuple(map(int, row[1:7]))) for row in rows}


@pytest.mark.parametrize("structures", [PARASPINAL, STRUCTURES, ALL_STRUCTURES, (BY_KEY["psoas_major_left"],)])
def test_slicer(structures):
    text = slicer_colour_table(structures)
    found = read_slicer(text)
    assert found.pop(0) == ("Background", (0, 0, 0, 0))
    assert found == {s.label: (s.display_name.replace(" ", "_"), (*s.colour, 255)) for s in structures}
    assert int(re.search(r"# (\d+) values", text)[1]) == len(structures) + 1


@pytest.mark.parametrize("structures", [PARASPINAL, STRUCTURES, ALL_STRUCTURES, (BY_KEY["psoas_major_left"],)])
def test_itksnap(structures):
    found = read_itksnap(itksnap_labels(structures))
    assert found.pop(0) == ("Clear Label", (0, 0, 0, 0, 0, 0))
    assert found == {s.label: (s.display_name, (*s.colour, 1, 1, 1)) for s in structures}


def test_the_papers_first_label():
    assert "\n1 Multifidus_right 204 85 0 255\n" in slicer_colour_table()
    assert re.search(r'^ +1 +204 +85 +0 +1 +1 +1 +"Multifidus right"$', itksnap_labels(), re.MULTILINE)


def test_order_does_not_matter_and_files_are_written(tmp_path):
    slicer, itksnap = write_lookup_tables(tmp_path, PARASPINAL[::-1])
    assert slicer.read_text(encoding="utf-8") == slicer_colour_table()
    assert itksnap.read_text(encoding="utf-8") == itksnap_labels()


@pytest.mark.parametrize("structures", [(), (PARASPINAL[0], PARASPINAL[0])])
def test_labels_must_be_distinct(structures):
    with pytest.raises(LabelError, match="distinct labels"):
        slicer_colour_table(structures)
    with pytest.raises(LabelError, match="distinct labels"):
        itksnap_labels(structures)
