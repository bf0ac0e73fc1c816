"""Writing to whatever standard output may be."""

import contextlib
import errno
import os
import threading
from pathlib import Path

import pytest

from parallel_workers.reports.output import Output


def test_everything_reaches_a_slow_reader_of_a_non_blocking_pipe() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    data = os.urandom(1_000_000)
    got = bytearray()

    def read() -> None:
        while chunk := os.read(reader, 1000):
            got.extend(chunk)

    thread = threading.Thread(target=read)
    thread.start()
    output = Output(writer)
    output.write(data)
    os.close(writer)
    thread.join()
    os.close(reader)
    assert output.broken is None
    assert got == data


def test_a_pipe_without_a_reader_is_noted_and_not_written_to_again() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    output = Output(writer)
    output.write(b"lost")
    assert output.broken == os.strerror(errno.EPIPE)
    output.write(b"lost as well")
    os.close(writer)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_noted() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    output = Output(fd)
    output.write(b"lost")
    os.close(fd)
    assert output.broken == os.strerror(errno.ENOSPC)


def test_it_is_ready_until_its_reader_is_slow() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    output = Output(writer)
    assert output.ready()
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    assert not output.ready()
    os.close(reader)
    os.close(writer)
