"""An example of a worker for `timelog dispatch`: runs a command for each job.

    python tools/worker.py jobs.sock ./build            runs: ./build KEY REST

It takes nothing from timelog: the protocol is lines over a Unix socket. One connection is kept as
long as there is work. When the dispatcher goes away in the middle of a job, the worker connects
again and says what became of it; when the worker goes away, the dispatcher offers the job to
another one.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import IO


def connect(path: str, pause: float) -> Iterator[IO[str]]:
    """Yield connections to the dispatcher, each when the one before is over."""
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            try:
                line.connect(path)
                with line.makefile("rw", encoding="utf-8", newline="\n") as file:
                    yield file
            except OSError as error:
                print(f"worker: {path}: {error.strerror}; trying again", file=sys.stderr)
        time.sleep(pause)


def work(path: str, command: list[str], pause: float, until_empty: bool) -> int:
    """Do jobs; return how many, once there is none, where ``until_empty`` says so."""
    count = 0
    message = "READY"
    for line in connect(path, pause):
        while True:
            line.write(message + "\n")
            line.flush()
            answer = line.readline()
            if not answer.endswith("\n"):
                break  # the dispatcher is gone; say the same again to the next one
            word, _, rest = answer.rstrip("\n").partition(" ")
            if word == "JOB":
                key, _, payload = rest.partition(" ")
                code = subprocess.run([*command, key, payload], check=False).returncode
                message = f"DONE {key} {code}"
                count += 1
                continue
            if word == "ERROR":
                print(f"worker: {rest}", file=sys.stderr)
            message = "READY"
            if word == "NOJOBS":
                if until_empty:
                    return count
                time.sleep(pause)
    return count


def main() -> int:
    """Take the arguments, and work."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("socket", help="where timelog dispatch listens")
    parser.add_argument("command", nargs="+", help="what to run; KEY and REST are added")
    parser.add_argument("--pause", type=float, default=5.0, help="seconds between questions (5)")
    parser.add_argument("--until-empty", action="store_true", help="end where nothing waits")
    args = parser.parse_args()
    work(args.socket, args.command, args.pause, args.until_empty)
    return 0


if __name__ == "__main__":
    sys.exit(main())
