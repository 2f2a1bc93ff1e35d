"""Headers and archives that promise more than a machine holds: one line for the file, at once, in little memory."""

import struct
import time
import tracemalloc
import zipfile
import zlib

import pytest

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

import highdicom
from helpers.dicom_files import enhanced, phantom_labels, save, save_seg, save_series, segmentation, slices
from pydicom.uid import DeflatedExplicitVRLittleEndian

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.dicom import Kind, opened_source, scan_study
from paraspinal_nnunet.dicom.headers import read_file
from paraspinal_nnunet.dicom.segmentation.read import read_segmentation
from paraspinal_nnunet.dicom.sizes import read_dicom
from paraspinal_nnunet.dicom.stack import read_stack
from paraspinal_nnunet.errors import InputError


@pytest.fixture
def frugal():
    """Holds a test to five seconds of the processor, most of them for imports and for writing the files, and 200 MB."""
    tracemalloc.start()
    start = time.process_time()
    yield
    took, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 5
    assert peak < 200e6


def frames(dataset):
    dataset.NumberOfFrames = 2**31 - 1


def sides(dataset):
    dataset.Rows = dataset.Columns = 65535


@pytest.mark.parametrize("change", [frames, sides])
@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_more_voxels_than_the_file_can_hold(tmp_path, frugal, raw, change, kind, capsys):
    made = slices() if kind == "classic" else [enhanced()]
    change(made[-1])
    save_series(made, tmp_path / "in" / "study")
    with pytest.raises(InputError, match=r"IM\d+: is a damaged DICOM file \(.*(do not fit into|do not come from)"):
        scan_study(tmp_path / "in").check_sound()
    assert main(["convert", "dicom", "-i", str(tmp_path / "in"), "-d", "601", "-np", "1"]) == 1
    assert "is a damaged DICOM file" in capsys.readouterr().err
    assert not list(raw.glob("Dataset*"))


@pytest.mark.parametrize("levels", [300, 5000])
@pytest.mark.parametrize("tag", [(0x0008, 0x1115), (0x0008, 0x1140)])
def test_deep_nests(tmp_path, frugal, levels, tag):
    path = save(slices()[0], tmp_path / "IM")
    content = path.read_bytes()
    start = struct.pack("<HH2s2xL", *tag, b"SQ", 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    end = struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    place = content.index(b"\x10\x00\x10\x00PN")
    path.write_bytes(content[:place] + start * levels + end * levels + content[place:])
    with pytest.raises(InputError, match=r"^IM: is a damaged DICOM file \(RecursionError"):
        read_file(path, "IM")


def test_a_zip_bomb(tmp_path, frugal):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("IM0", "w") as member:
        for _ in range(300):
            member.write(bytes(1 << 20))
    with pytest.raises(InputError, match="unpacks to 314572800 bytes from"), opened_source(path):
        pass


def test_a_deflated_file_that_inflates_beyond_measure(tmp_path, frugal):
    path = save(slices()[0], tmp_path / "IM", syntax=DeflatedExplicitVRLittleEndian)
    assert len(read_file(path, "IM")) == 1
    content = path.read_bytes()
    start = 132 + 12 + struct.unpack("<L", content[140:144])[0]
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = deflater.compress(zlib.decompress(content[start:], -zlib.MAX_WBITS))
    bomb += b"".join(deflater.compress(bytes(1 << 20)) for _ in range(300)) + deflater.flush()
    path.write_bytes(content[:start] + bomb)
    with pytest.raises(InputError, match=r"^IM: is a damaged DICOM file \(it inflates to more than 268435456 bytes"):
        read_file(path, "IM")


@pytest.mark.parametrize("error", [RecursionError("deep"), IndexError("x"), StopIteration(), MemoryError()])
def test_whatever_a_parser_raises_is_the_failure_of_that_seg(tmp_path, monkeypatch, error):
    made = slices()
    save_series(made, tmp_path / "a")
    save_seg(segmentation(made, phantom_labels()), tmp_path / "seg")
    study = scan_study(tmp_path)
    image = read_stack(study.of_kind(Kind.IMAGE)[0])

    def fail(_path):
        raise error

    monkeypatch.setattr(highdicom.seg, "segread", fail)
    with pytest.raises(InputError, match=r"^the SEG: is a damaged DICOM SEG \(") as raised:
        read_segmentation(study.of_kind(Kind.SEGMENTATION)[0], image, name="the SEG")
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "change",
    [
        frames,
        sides,
        lambda seg: delattr(seg, "Rows"),
        lambda seg: delattr(seg, "SegmentSequence"),
        lambda seg: setattr(seg, "BitsAllocated", 7),
        lambda seg: seg.PerFrameFunctionalGroupsSequence[0].clear(),
    ],
)
def test_absurd_segs(tmp_path, frugal, change):
    made = slices()
    save_series(made, tmp_path / "a")
    seg = segmentation(made, phantom_labels())
    change(seg)
    save_seg(seg, tmp_path / "seg")
    with pytest.raises(InputError, match=r"^(the SEG|seg): "):
        study = scan_study(tmp_path)
        study.check_sound()
        image = read_stack(study.of_kind(Kind.IMAGE)[0])
        read_segmentation(study.of_kind(Kind.SEGMENTATION)[0], image, name="the SEG")


def test_an_element_that_claims_to_be_longer_than_its_file_takes_no_memory(tmp_path, frugal):
    """Python takes the memory for what is asked for before it reads: 4 GB for a file of 300 bytes."""
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.1.2", "1.2.3"
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    FileDataset(tmp_path / "a.dcm", {}, file_meta=meta, preamble=b"\0" * 128).save_as(tmp_path / "a.dcm")
    with (tmp_path / "a.dcm").open("ab") as file:
        file.write(b"\x10\x00\x10\x00" + (0xFFFFFFF0).to_bytes(4, "little") + b"Doe^Jane")
    assert read_dicom(tmp_path / "a.dcm", force=True).PatientName == "Doe^Jane"
