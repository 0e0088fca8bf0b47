"""One checksum, whoever computes it."""

from __future__ import annotations

import subprocess
import sys
import zlib
from random import Random

import pytest

from timelog.checksum import crc32


@pytest.mark.parametrize("size", [0, 1, 7, 64, 5_000, 300_000])
def test_it_is_that_of_zlib(size: int) -> None:
    data = Random(size).randbytes(size)
    for seed in (0, 1, 0xFFFFFFFF):
        assert crc32(data, seed) == zlib.crc32(data, seed)
        assert crc32(memoryview(data)[size // 2 :], seed) == zlib.crc32(data[size // 2 :], seed)


def test_without_the_extra_it_is_zlib_itself() -> None:
    program = (
        "import sys; sys.modules['zlib_ng'] = None\n"
        "import zlib, timelog.checksum\n"
        "assert timelog.checksum.crc32 is zlib.crc32"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
