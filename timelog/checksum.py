"""The crc-32 of zlib and gzip (RFC 1952): of the same bytes the same number, from what is fastest.

zlib-ng computes it some fifteen times as fast as zlib does; the extra ``fast`` installs it. (ISA-L
is as fast, but leaves the processor's wide registers in use, which halves the speed of hyperscan.)
"""

from __future__ import annotations

try:
    from zlib_ng.zlib_ng import crc32
except ImportError:
    from zlib import crc32

__all__ = ["crc32"]
