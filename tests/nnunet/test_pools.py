"""One worker of nnU-Net's needs no process; several are processes as before, and afterwards all are again."""

import multiprocessing
import os
import threading

import pytest

pytest.importorskip("nnunetv2")

from nnunetv2.preprocessing.preprocessors import default_preprocessor
from nnunetv2.utilities import utils

from paraspinal_nnunet.nnunet.pools import one_worker_here


def place(_):
    return os.getpid(), threading.current_thread() is threading.main_thread()


def pool(processes):
    return default_preprocessor.multiprocessing.get_context("spawn").Pool(processes)


def test_one_worker_is_a_thread_of_this_process():
    with one_worker_here(), pool(1) as workers:
        assert workers.starmap_async(place, [(0,)]).get() == [(os.getpid(), False)]
        assert all(worker.is_alive() for worker in workers._pool)  # nnU-Net asks


def test_an_error_of_the_worker_is_raised_as_from_a_process():
    with one_worker_here(), pool(1) as workers, pytest.raises(ZeroDivisionError):
        workers.starmap_async(divmod, [(1, 0)]).get()


def test_all_else_is_the_module_itself_and_afterwards_nothing_is_ours():
    with one_worker_here():
        inside = default_preprocessor.multiprocessing
        assert inside is not multiprocessing
        assert inside.cpu_count is multiprocessing.cpu_count
        assert inside.get_context("spawn").Pool is not multiprocessing.get_context("spawn").Pool
    assert default_preprocessor.multiprocessing is multiprocessing
    assert utils.Pool == multiprocessing.Pool


def test_files_are_listed_without_processes(tmp_path):
    for name in ("b_0000.nii.gz", "a_0000.nii.gz", "a_0001.nii.gz"):
        (tmp_path / name).touch()
    with one_worker_here():
        found = utils.create_lists_from_splitted_dataset_folder(str(tmp_path), ".nii.gz")
    assert [[os.path.basename(file) for file in files] for files in found] == [
        ["a_0000.nii.gz", "a_0001.nii.gz"], ["b_0000.nii.gz"],
    ]  # fmt: skip


@pytest.mark.slow
def test_several_workers_are_processes():
    with one_worker_here(), pool(2) as workers:
        assert os.getpid() not in {pid for pid, _ in workers.map(place, range(4))}
