"""ONNX files from strangers: nothing outside them is read, no operator of strangers runs, and none for ever."""

import subprocess
import sys

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helpers.tiny_portable import AFFINE, boxes, painted, write_tiny_model
from onnx import TensorProto, helper

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.inference.portable import open_model
from paraspinal_nnunet.inference.portable.onnx_file import check_network_file
from paraspinal_nnunet.inference.portable.runtimes import load_runtime


def network(*nodes, initializers=(), opsets=(("", 17),), functions=()):
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, "y", "x"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1, "y", "x"])
    graph = helper.make_graph(list(nodes), "made", [image], [logits], list(initializers))
    imports = [helper.make_opsetid(*each) for each in opsets]
    return helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=9)


IDENTITY = helper.make_node("Identity", ["image"], ["logits"])


def external(name="weights"):
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def wrapped(tensor):
    return helper.make_node("Constant", [], ["c"], value=tensor)


def within(node):
    branch = helper.make_graph([node, helper.make_node("Identity", ["image"], ["b"])], "branch", [], [
        helper.make_tensor_value_info("b", TensorProto.FLOAT, None)])  # fmt: skip
    return helper.make_node("If", ["image"], ["logits"], then_branch=branch, else_branch=branch)


def overlong(content, field, value):
    """The same message with a field number or length of more bytes than it needs."""
    tag = bytes([field << 3 | 2])
    at = content.index(tag + bytes([len(value)]) + value)
    length = bytes([len(value) | 0x80, 0x80, 0x00])
    return content[: at + 1] + length + content[at + 2 :]


def foreign(name="Custom", domain="evil.ops"):
    return helper.make_node(name, ["image"], ["logits"], domain=domain)


FUNCTION = helper.make_function("own", "F", ["x"], ["y"], [helper.make_node("Identity", ["x"], ["y"])], [
    helper.make_opsetid("", 17)])  # fmt: skip
LOOP = helper.make_node("Loop", ["m", "c"], ["logits"], body=helper.make_graph([IDENTITY], "body", [], []))


def test_a_plain_network_is_fine():
    check_network_file(network(IDENTITY).SerializeToString(), "model")
    check_network_file(network(within(IDENTITY)).SerializeToString(), "model")


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (network(IDENTITY, initializers=[external()]), "files outside the model"),
        (network(IDENTITY, wrapped(external())), "files outside the model"),
        (network(within(wrapped(external()))), "files outside the model"),
        (network(foreign()), "an operator of 'evil.ops'"),
        (network(foreign("FusedConv", "com.microsoft")), "an operator of 'com.microsoft'"),
        (network(within(foreign())), "an operator of 'evil.ops'"),
        (network(IDENTITY, opsets=(("", 17), ("evil.ops", 1))), "operators of 'evil.ops'"),
        (network(IDENTITY, functions=[FUNCTION]), "operators of its own"),
        (network(LOOP), "may run without end"),
        (network(within(LOOP)), "may run without end"),
    ],
)
def test_what_reaches_out_is_refused(made, reason):
    with pytest.raises(InputError, match=reason):
        check_network_file(made.SerializeToString(), "model")


def test_longer_numbers_than_needed_hide_nothing():
    tensor = external().SerializeToString()
    entry = external().external_data[0].SerializeToString()
    hidden = overlong(tensor, 13, entry)
    assert TensorProto.FromString(hidden) == external()
    alone = b"\x3a" + _size(b"\x2a" + _size(hidden) + hidden) + b"\x2a" + _size(hidden) + hidden  # graph, initializer
    with pytest.raises(InputError, match="files outside the model"):
        check_network_file(alone, "model")


def _size(content):
    number, found = len(content), b""
    while number > 0x7F:
        found, number = found + bytes([number & 0x7F | 0x80]), number >> 7
    return found + bytes([number])


@pytest.mark.parametrize("content", [b"\x3a\xff", b"\x3a\x05ab", b"\x03", b"\xff" * 12, b"\x00\x01", b"\x38\x01"])
def test_damaged_files_are_refused_in_a_line(content):
    with pytest.raises(InputError, match="no sound ONNX file"):
        check_network_file(content, "model")


def test_messages_within_messages_end():
    content = b""
    for _ in range(400):  # a graph in an attribute of a node of a graph ...
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            content = tag + _size(content) + content
    with pytest.raises(InputError, match="no sound ONNX file"):
        check_network_file(b"\x3a" + _size(content) + content, "model")


def test_files_cut_anywhere_end_in_a_line():
    made = network(within(IDENTITY)).SerializeToString()
    for end in range(len(made)):
        try:
            check_network_file(made[:end], "model")
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017 - many of them are sound as far as they go


def test_the_onnx_package_is_not_needed():
    code = "import sys; sys.modules['onnx'] = None; import paraspinal_nnunet.inference.portable.onnx_file"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("mode", ["tiles", "fast"])
def test_logits_that_are_no_numbers_give_no_mask(tmp_path, value, mode):
    model = open_model(write_tiny_model(tmp_path / "model"), runtime="onnxruntime", threads=1)
    stream = model._runtime.stream

    def broken(requests, *, short=False):
        for logits in stream(requests, short=short):
            logits = np.array(logits)
            logits[:, 1] = value
            yield logits

    model._runtime.stream = broken
    with pytest.raises(InputError, match="no numbers"):
        model.segment(Volume(painted(boxes()), AFFINE), mode=mode)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_network_that_takes_too_long_is_stopped(runtime):
    """A chain of convolutions of 1 s or more in a run; the time is over after a tenth of that."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [64, 64, 3, 3], np.zeros(64 * 64 * 9, np.float32))
    first = helper.make_tensor("f", TensorProto.FLOAT, [64, 1, 1, 1], np.ones(64, np.float32))
    last = helper.make_tensor("l", TensorProto.FLOAT, [1, 64, 1, 1], np.ones(64, np.float32))
    nodes = [helper.make_node("Conv", ["image", "f"], ["c0"])]
    nodes += [helper.make_node("Conv", [f"c{n}", "w"], [f"c{n + 1}"], pads=[1, 1, 1, 1]) for n in range(40)]
    nodes += [helper.make_node("Conv", ["c40", "l"], ["logits"])]
    content = network(*nodes, initializers=[weights, first, last]).SerializeToString()
    pytest.importorskip(runtime)
    loaded = load_runtime([content], runtime=runtime, threads=1, device="cpu", parallel=True, where="model")
    patches = [(0, np.zeros((1, 1, 256, 256), np.float32))] * 50
    with pytest.raises(InputError, match=r"took longer than 0\.2 s"), loaded.time_limit(0.2):
        for _ in loaded.stream(patches):
            pass
    with loaded.time_limit(None):
        assert next(iter(loaded.stream(patches[:1]))).shape == (1, 1, 256, 256)


SIGNAL_AFTER_TWO_MODELS = """
import gc, signal, sys
from pathlib import Path
import numpy as np
from paraspinal_nnunet.inference.portable.runtimes import load_runtime

content = Path(sys.argv[1]).read_bytes()
loaded = [load_runtime([content], runtime=sys.argv[2], threads=1, device="cpu", parallel=True, where="m") for _ in "ab"]
for each in loaded:
    list(each.stream([(0, np.zeros((1, 1, 8, 8), np.float32))]))
del each
while loaded:  # the first one goes first
    loaded.pop(0)
    gc.collect()
signal.signal(signal.SIGINT, lambda *_: print("handled"))
signal.raise_signal(signal.SIGINT)
"""


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_signal_is_handled_after_two_models_have_come_and_gone(tmp_path, runtime):
    """Two cores of OpenVINO left the process with a stack for signals that was no longer there."""
    pytest.importorskip(runtime)
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1, 1, 1, 1], np.ones(1, np.float32))
    convolution = network(helper.make_node("Conv", ["image", "w"], ["logits"]), initializers=[weights])
    (tmp_path / "network.onnx").write_bytes(convolution.SerializeToString())
    command = [sys.executable, "-c", SIGNAL_AFTER_TWO_MODELS, str(tmp_path / "network.onnx"), runtime]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
