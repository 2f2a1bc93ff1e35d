import socket

from paraspinal_nnunet.utils.machine import RECORD_HOST, host_entry


def test_records_name_the_host_only_when_asked(monkeypatch):
    for value, entry in ((None, {}), ("0", {}), ("", {}), ("1", {"host": socket.gethostname()})):
        monkeypatch.delenv(RECORD_HOST, raising=False)
        if value is not None:
            monkeypatch.setenv(RECORD_HOST, value)
        assert host_entry() == entry
