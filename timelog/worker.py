"""The program that tests contents for a pattern, in a process that can be ended in mid-match.

Nothing imports this file: `timelog.deadline` runs it as a program and is all it ever talks to. It
takes nothing from the package and little from the standard library, so that it starts fast. Its
life: one pattern, then batches of contents, until the input ends.

Input and output are frames: a length of 8 bytes, most significant first, then so many bytes.

=============  ======================================================================
first in       `marshal` of ``(pattern, flags, seconds)``; there is no answer
then in        `marshal` of a list of ``str``: a batch of contents
out            for each batch a byte for each content, in order: 1 where found, else 0
=============  ======================================================================

`marshal` suits because both ends are the same Python: it is the fastest way to pass a list of any
``str``, lone surrogates included. A batch is read to its end before its answer is written, so the
two ends never both wait for the other to read.

Where the other end dies, the input ends and so does this process. In the middle of a match it would
not notice; so the kernel ends it ``seconds`` after its start, whatever it is doing.
"""

import marshal
import re
import signal
import sys


def main() -> None:
    """Take the pattern, then answer batch after batch until the input ends."""
    if first := read_frame():
        pattern, flags, seconds = marshal.loads(first)
        end_after(seconds)
        # The caller's process has compiled it already, perhaps under a higher limit than usual.
        sys.setrecursionlimit(1_000_000)
        search = re.compile(pattern, flags).search
        while batch := read_frame():
            found = bytes([search(content) is not None for content in marshal.loads(batch)])
            write_frame(found)


def read_frame() -> bytes:
    """The bytes of the next frame; ``b""`` where the input ends, be it within a frame."""
    size = int.from_bytes(sys.stdin.buffer.read(8), "big")
    frame = sys.stdin.buffer.read(size)
    return frame if len(frame) == size else b""


def write_frame(frame: bytes) -> None:
    """Write one frame."""
    sys.stdout.buffer.write(len(frame).to_bytes(8, "big") + frame)
    sys.stdout.buffer.flush()


def end_after(seconds: float) -> None:
    """Let the kernel end this process: that needs no Python, which a match keeps busy."""
    # Whoever started it may ignore or block the signal, and a new process takes that over.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    main()
