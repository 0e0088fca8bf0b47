"""Opening files that somebody else writes: never waiting, never anything but a plain file."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import stat
import zlib
from typing import IO, Any, Protocol, cast

from timelog.errors import missing_extra
from timelog.ingest.place import packing_of


class Content(Protocol):
    """The text of an open file."""

    fd: int

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset`` on, fewer only at the end."""

    def close(self) -> None:
        """Close the file."""


class Plain:
    """A plain file."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def read_at(self, offset: int, size: int) -> bytes:
        """As `Content.read_at`."""
        data = os.pread(self.fd, size, offset)
        while data and len(data) < size:
            more = os.pread(self.fd, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)


class Packed:
    """A compressed file; reading backwards begins again at its start.

    ``is_torn``: its end is missing or cannot be decompressed, as while it is being written.
    """

    def __init__(self, fd: int, packing: str) -> None:
        self.fd = fd
        self._packing = packing
        self._stream: Any = None
        self._at = 0  # where the stream stands
        self._kept = b""  # what stands before it
        self.is_torn = False

    def read_at(self, offset: int, size: int) -> bytes:
        """As `Content.read_at`."""
        # What ended in the middle of a header cannot go on from there.
        if self._stream is None or self.is_torn or offset < self._at - len(self._kept):
            os.lseek(self.fd, 0, os.SEEK_SET)
            self._stream = _decompressed(io.FileIO(self.fd, closefd=False), self._packing)
            self._at, self._kept, self.is_torn = 0, b"", False
        self._kept = self._kept[max(0, offset - (self._at - len(self._kept))) :]
        while self._at < offset + size:
            more = self._next(max(1, min(offset + size - self._at, 256 * 1024)))
            if not more:
                break
            self._at += len(more)
            # What stands before the offset is only passed over.
            self._kept = (self._kept + more)[max(0, len(self._kept + more) - (self._at - offset)) :]
        return self._kept[:size]

    def _next(self, size: int) -> bytes:
        assert self._stream is not None
        try:
            more: bytes = self._stream.read1(size)
            return more
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            self.is_torn = True
            return b""

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)


def open_content(path: bytes, packing: str, key: tuple[int, int]) -> Plain | Packed:
    """Open a file that is to have that device and inode.

    Raises ``OSError``: whatever is no plain file is not opened, and one that took the place of
    another one is ``ESTALE``. Raises `MissingExtra` for zst without the extra ``zstd``.
    """
    check_plain(os.stat(path))
    if packing == "zst":
        _zstandard()
    # A FIFO that came in between would else be waited for.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        check_plain(status)
        if (status.st_dev, status.st_ino) != key:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return Packed(fd, packing) if packing else Plain(fd)
    except BaseException:
        os.close(fd)
        raise


def open_stream(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a file to be read from its beginning; decompressed, if its name says that it is.

    Raises ``OSError``, and `MissingExtra` for zst without the extra ``zstd``. What is torn raises
    ``EOFError`` when it is read that far.
    """
    packing = packing_of(os.fsencode(path))
    raw = io.FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    return _decompressed(raw, packing) if packing else raw


def check_plain(status: os.stat_result) -> None:
    """Raise an ``OSError`` that says what it is, if it is no plain file."""
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, f"it is {_kind(status.st_mode)}, not a plain file")


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def _decompressed(raw: io.FileIO, packing: str) -> IO[bytes]:
    if packing == "gz":
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw))
    if packing == "xz":
        return lzma.LZMAFile(raw)
    if packing == "bz2":
        return bz2.BZ2File(raw)
    return cast(IO[bytes], _Zst(raw))


class _Zst(io.RawIOBase):
    """A stream of zst that says when its end is missing, as those of the library do."""

    def __init__(self, raw: io.FileIO) -> None:
        self._module = _zstandard()
        self._raw = raw
        self._decoder = self._module.ZstdDecompressor().decompressobj()
        self._has_begun = False
        self._ready = b""

    def fileno(self) -> int:
        """Return the descriptor of the file."""
        return self._raw.fileno()

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._raw.close()

    def read1(self, size: int = -1) -> bytes:
        """As `read`."""
        return self.read(size)

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes."""
        while not self._ready:
            data = self._raw.read(65_536)
            if not data:
                if self._has_begun:
                    raise EOFError("the end of a frame is missing")
                return b""
            self._feed(data)
        part, self._ready = self._ready[:size], self._ready[size:]
        return part

    def _feed(self, data: bytes) -> None:
        try:
            while data:
                self._ready += self._decoder.decompress(data)
                self._has_begun = not self._decoder.eof
                data = self._decoder.unused_data
                if self._decoder.eof:
                    self._decoder = self._module.ZstdDecompressor().decompressobj()
        except self._module.ZstdError as error:
            raise EOFError(str(error)) from error


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError:
        raise missing_extra("reading .zst files", "zstd") from None
    return zstandard
