"""ONNX Runtime and OpenVINO behind one face: networks in, logits of many patches out, in order, on some threads.

Patches of a 2D network are small, so each runs on one thread and several run at once: no thread ever waits for another
inside a patch. Everything computes in single precision unless the caller allows a shorter type.
"""

import importlib.util
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from typing import Any, Protocol

import numpy as np

from paraspinal_nnunet.errors import InputError, ParaspinalError, SetupError, one_line
from paraspinal_nnunet.inference.portable.time_limit import TimeLimited
from paraspinal_nnunet.utils.packages import install_line, optional_package

RUNTIMES = ("auto", "onnxruntime", "openvino")
CUDA = "CUDAExecutionProvider"
_PURPOSE = "portable models need"
_EXTRAS = {"onnxruntime": "fast", "openvino": "openvino"}


SHORT_TO_THE_END = "enforceBF16evenForGraphTail"
"""Mark of OpenVINO's for nodes that it would otherwise keep in single precision because no ordinary convolution comes
after them on one path: in these networks all of the way up. Source: OpenVINO 2026.4, intel_cpu, node.cpp, graph.cpp."""


class Runtime(Protocol):
    """Networks that are ready to run.

    Attributes:
        name: For reports, e.g. ``'openvino'``.
    """

    name: str

    def stream(self, requests: Iterable[tuple[int, np.ndarray]], *, short: bool = False) -> Iterator[np.ndarray]:
        """Run (network, patch) requests; their logits come in the same order.

        An array that was yielded is valid until the next is asked for.

        Args:
            requests: Taken as they are needed.
            short: Where the processor computes faster in bfloat16 and the runtime can, let it.
        """

    def time_limit(self, seconds: float | None) -> AbstractContextManager[None]:
        """Within the block, end what runs after so long, and raise an InputError; no limit when None."""


def usable_threads() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_runtime(
    networks: Sequence[bytes], *, runtime: str, threads: int | None, device: str | None, parallel: bool, where: str
) -> Runtime:
    """Make networks ready.

    Args:
        networks: ONNX files' content, weights inside.
        runtime: One of `RUNTIMES`.
        threads: Processor threads; all that may be used when None.
        device: ``'cuda'``, ``'cpu'``, or None for a GPU where there is one.
        parallel: Run patches side by side with one thread each, rather than one after the other with all threads.
        where: The model, for messages.

    Raises:
        InputError: A content that the runtime refuses, or an option that is unknown.
        SetupError: The runtime, or the GPU asked for, is missing.
    """
    if runtime not in RUNTIMES:
        raise InputError(f"runtime '{runtime}' is unknown; take one of {', '.join(RUNTIMES)}")
    if device not in (None, "cpu", "cuda"):
        raise InputError(f"portable models run on cuda or cpu, not on '{device}'")
    count = threads if threads is not None else usable_threads()
    if count < 1:
        raise InputError(f"{count} threads cannot compute; give 1 or more")
    if _chosen(runtime, device) == "openvino":
        return _OpenVino(networks, count, parallel, where)
    return _OnnxRuntime(networks, count, parallel, device, where)


def _chosen(runtime: str, device: str | None) -> str:
    has_onnxruntime, has_openvino = (importlib.util.find_spec(n) is not None for n in ("onnxruntime", "openvino"))
    wanted = {"onnxruntime": has_onnxruntime, "openvino": has_openvino}
    if runtime != "auto":
        if not wanted[runtime]:
            raise SetupError(f"{runtime} is not installed; run: {install_line(_EXTRAS[runtime])}")
        return runtime
    if not any(wanted.values()):
        raise SetupError(f"{_PURPOSE} onnxruntime or openvino; run: {install_line('fast')}")
    if device == "cuda" or not has_openvino:
        return "onnxruntime"
    if device is None and has_onnxruntime and _has_cuda():
        return "onnxruntime"
    return "openvino"


def _has_cuda() -> bool:
    """Whether ONNX Runtime's GPU build is installed; only that one is imported to ask."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        version("onnxruntime-gpu")
    except PackageNotFoundError:
        return False
    import onnxruntime

    return CUDA in onnxruntime.get_available_providers()


class _OnnxRuntime(TimeLimited):
    def __init__(self, networks: Sequence[bytes], threads: int, parallel: bool, device: str | None, where: str) -> None:
        super().__init__()
        onnxruntime = optional_package("onnxruntime", purpose=_PURPOSE, extra=_EXTRAS["onnxruntime"])
        provider = self._provider(onnxruntime, device)
        self.name = "onnxruntime-cuda" if provider == CUDA else "onnxruntime"
        self._workers = threads if parallel and provider != CUDA else 1
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1 if self._workers > 1 else threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._sessions = []
        for content in networks:
            with _as_input_error(where):
                self._sessions.append(onnxruntime.InferenceSession(content, options, providers=[provider]))
        for session in self._sessions:
            _check_signature([(i.name, i.shape) for i in session.get_inputs()], len(session.get_outputs()), where)
        self._where = where
        self._new_run_options: Callable[[], Any] = onnxruntime.RunOptions
        self._run_options = self._new_run_options()

    @staticmethod
    def _provider(onnxruntime: Any, device: str | None) -> str:
        available = onnxruntime.get_available_providers()
        if device == "cuda" and CUDA not in available:
            raise SetupError("there is no GPU build of ONNX Runtime here; run: pip install onnxruntime-gpu")
        return CUDA if CUDA in available and device != "cpu" else "CPUExecutionProvider"

    def stream(self, requests: Iterable[tuple[int, np.ndarray]], *, short: bool = False) -> Iterator[np.ndarray]:
        run_options = self._run_options = self._new_run_options()

        def run(network: int, patch: np.ndarray) -> np.ndarray:
            session = self._sessions[network]
            with _as_input_error(self._where):
                result: np.ndarray = session.run(None, {session.get_inputs()[0].name: patch}, run_options)[0]
            return result

        if self._workers == 1:
            for network, patch in self.in_time(requests):
                yield run(network, patch)
            return
        with ThreadPoolExecutor(self._workers) as pool:
            waiting: deque[Future[np.ndarray]] = deque()
            try:
                for network, patch in self.in_time(requests):
                    waiting.append(pool.submit(run, network, patch))
                    if len(waiting) > self._workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def end_runs(self) -> None:
        self._run_options.terminate = True


_Variant = tuple[int, tuple[int, ...], bool]
"""Network, shape of the patch, and whether a shorter type is allowed."""


@cache
def _openvino_core() -> Any:
    """The process's one OpenVINO core, which is never given back.

    A core replaces the stack that signals are handled on and puts back the one before it when it goes. Of two cores the
    later one puts back a stack that went with the earlier: the next signal, e.g. Ctrl-C, then ends the process or
    writes into whatever lies there now.
    """
    return optional_package("openvino", purpose=_PURPOSE, extra=_EXTRAS["openvino"]).Core()


class _OpenVino(TimeLimited):
    """Networks are compiled for each shape of patch that comes; a scan has one or two.

    Left to itself, OpenVINO computes in bfloat16 where the processor has instructions for it (AVX512-BF16, AMX).
    """

    name = "openvino"

    def __init__(self, networks: Sequence[bytes], threads: int, parallel: bool, where: str) -> None:
        super().__init__()
        self._core = _openvino_core()
        self._streams = threads if parallel else 1
        self._settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": self._streams,
            "ENABLE_CPU_PINNING": False,
        }
        self._where = where
        self._models = []
        for content in networks:
            with _as_input_error(where):
                self._models.append(self._core.read_model(content))
        for model in self._models:
            shapes = [(i.get_any_name(), list(i.get_partial_shape())) for i in model.inputs]
            _check_signature(shapes, len(model.outputs), where)
        self._waiting: deque[tuple[_Variant, Any]] = deque()
        self._compiled: dict[_Variant, Any] = {}
        self._free: dict[_Variant, list[Any]] = {}

    def stream(self, requests: Iterable[tuple[int, np.ndarray]], *, short: bool = False) -> Iterator[np.ndarray]:
        waiting = self._waiting
        try:
            for network, patch in self.in_time(requests):
                key = (network, patch.shape, short)
                request = self._request(key)
                request.start_async({0: patch}, share_inputs=False)
                waiting.append((key, request))
                if len(waiting) > self._streams:
                    yield from self._result(*waiting[0])
            while waiting:
                yield from self._result(*waiting[0])
        finally:
            for _, request in waiting:
                with suppress(RuntimeError):  # it was ended, or another failed before it
                    request.wait()
            waiting.clear()

    def end_runs(self) -> None:
        for _, request in tuple(self._waiting):
            request.cancel()

    def _request(self, key: _Variant) -> Any:
        if key not in self._compiled:
            network, shape, short = key
            model = self._models[network].clone()
            settings = self._settings if short else {**self._settings, "INFERENCE_PRECISION_HINT": "f32"}
            with _as_input_error(self._where):
                model.reshape(list(shape))
                if short:
                    for node in model.get_ops():
                        node.set_rt_info(True, SHORT_TO_THE_END)
                self._compiled[key] = self._core.compile_model(model, "CPU", settings)
        free = self._free.setdefault(key, [])
        return free.pop() if free else self._compiled[key].create_infer_request()

    def _result(self, key: _Variant, request: Any) -> Iterator[np.ndarray]:
        """One result; its memory is used again once the caller asks for the next."""
        with _as_input_error(self._where):
            request.wait()
        self._waiting.popleft()
        yield request.get_output_tensor(0).data
        self._free[key].append(request)


@contextmanager
def _as_input_error(where: str) -> Iterator[None]:
    """Turn whatever a runtime says of a stranger's network, which speaks of its internals, into one line about it."""
    try:
        yield
    except (ParaspinalError, MemoryError):
        raise
    except Exception as error:
        said = one_line(error)[:200]
        raise InputError(f"{where}: the network cannot be run ({said}); get the model again") from error


def _check_signature(inputs: "Sequence[tuple[str, Sequence[Any]]]", outputs: int, where: str) -> None:
    if len(inputs) != 1 or outputs != 1 or len(inputs[0][1]) not in (4, 5):
        raise InputError(f"{where}: the network has {len(inputs)} inputs and {outputs} outputs, not one image; refused")
