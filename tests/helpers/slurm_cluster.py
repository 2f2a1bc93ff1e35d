"""A real SLURM of one node for tests: munged, slurmctld and slurmd in a folder of their own, ended after the test."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "srun", "sinfo")
_START_SECONDS = 40

_SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={ctld_port}
SlurmdPort={d_port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/ctld
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
MinJobAge=3600
ReturnToService=2
SlurmctldDebug=info
SchedulerParameters=sched_interval=2,batch_sched_delay=0
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class ClusterUnavailableError(Exception):
    """SLURM is not installed, or cannot start here."""


@dataclass(frozen=True)
class Cluster:
    """A running SLURM.

    Attributes:
        folder: Its configuration, logs and state.
        environment: What commands need to find it.
    """

    folder: Path
    environment: dict[str, str]

    def call(self, *command: str) -> str:
        """What a command prints."""
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        if result.returncode:
            raise ClusterUnavailableError(f"{' '.join(command)}: {result.stderr.strip() or result.stdout.strip()}")
        return result.stdout

    def finished_jobs(self) -> list[dict[str, str]]:
        """The cluster's own record of jobs that ended, one dictionary per job."""
        path = self.folder / "jobs.txt"
        lines = path.read_text().splitlines() if path.is_file() else []
        return [dict(field.partition("=")[::2] for field in line.split(" ") if "=" in field) for line in lines]


@contextmanager
def slurm_cluster(folder: Path, *, cpus: int = 2) -> Iterator[Cluster]:
    """Start a cluster in a folder, and end it.

    Raises:
        ClusterUnavailableError: It is not installed, or does not come up.
    """
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        raise ClusterUnavailableError(f"{', '.join(missing)} not found; on Debian: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        raise ClusterUnavailableError("slurmd starts jobs of other users and needs root")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    path = f"{folder / 'bin'}:{os.environ.get('PATH', '')}"
    cluster = Cluster(folder, {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": path})
    _write_configuration(folder, cpus)
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for name, arguments in (
            ("munged", ("--foreground", "--force", f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket",
                        f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log",
                        f"--seed-file={folder}/munged.seed")),
            ("slurmctld", ("-D", "-i", "-f", f"{folder}/slurm.conf")),
            ("slurmd", ("-D", "-f", f"{folder}/slurm.conf", "-N", _host())),
        ):  # fmt: skip
            with (folder / f"{name}.out").open("wb") as sink:
                command = [str(_program(name)), *arguments]
                daemons.append(subprocess.Popen(command, env=cluster.environment, stdout=sink, stderr=sink))
            time.sleep(0.5)
        _wait_until_idle(cluster, daemons)
        yield cluster
    finally:
        if len(daemons) > 1:
            subprocess.run(["scancel", "--user", _user()], env=cluster.environment, capture_output=True, timeout=30)
            time.sleep(1)
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(timeout=15)
            except subprocess.TimeoutExpired:
                daemon.kill()


def _write_configuration(folder: Path, cpus: int) -> None:
    for name in ("ctld", "spool"):
        (folder / name).mkdir(exist_ok=True)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    content = _SLURM_CONF.format(
        host=_host(), user=_user(), folder=folder, cpus=cpus, memory_mb=_memory_mb(), ctld_port=_port(), d_port=_port()
    )
    (folder / "slurm.conf").write_text(content)
    (folder / "bin").mkdir(exist_ok=True)
    wrapper = folder / "bin" / "srun"  # snakemake's job steps keep no SLURM_CONF; clusters have it in /etc/slurm
    wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {_program("srun")} "$@"\n')
    wrapper.chmod(0o755)
    (folder / "cgroup.conf").write_text(f"CgroupPlugin={_cgroup_plugin()}\n")


def _cgroup_plugin() -> str:
    """slurmd loads one even where nothing uses cgroups; 'disabled' is one since 23.11."""
    text = subprocess.run([str(_program("slurmd")), "-V"], capture_output=True, text=True, timeout=30).stdout
    version = tuple(int(part) for part in text.split()[-1].split(".")[:2])
    return "disabled" if version >= (23, 11) else "cgroup/v1"


def _wait_until_idle(cluster: Cluster, daemons: list["subprocess.Popen[bytes]"]) -> None:
    end, found = time.monotonic() + _START_SECONDS, "nothing"
    while time.monotonic() < end:
        dead = [d for d in daemons if d.poll() is not None]
        if dead:
            name = Path(str(dead[0].args[0])).name  # type: ignore[index]
            output = (cluster.folder / f"{name}.out").read_text(errors="replace").strip()
            raise ClusterUnavailableError(f"{name} ended: {output.splitlines()[-1] if output else 'no output'}")
        try:
            found = cluster.call("sinfo", "--noheader", "--format=%T").strip()
        except (ClusterUnavailableError, subprocess.TimeoutExpired) as error:
            found = str(error)
        if found == "idle":
            return
        time.sleep(0.5)
    raise ClusterUnavailableError(f"the node did not come up within {_START_SECONDS} s: {found}")


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _host() -> str:
    return socket.gethostname().split(".")[0]


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


def _memory_mb() -> int:
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20 * 0.95)


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
