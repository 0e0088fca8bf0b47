"""Files into a log: lines of files that grow, are rotated, truncated, compressed and deleted.

`files` reads whole files once; `Watcher` follows files and directories, and keeps its places in the
log itself, so that each line is stored exactly once, whatever is killed when.

Reading order: `lines` (bytes to lines); of times in lines `forms`, `strptime`, `stamps`,
`detect`; `records` (several lines as one); `options` and `making` (lines to events); `place` and
`places` (how far each file was read, and how that is kept in the log); `opening`, `tail` (one
file), `scan` (a directory), `copies` (text that was read already, in another file), `feed` (events
into the log, waiting while it is full), `reading` and `lookout` (what is done at each look),
`waiting` and `claim`, `watcher`; `once`. It uses the public library only, and pure helpers of its
ground.

Times are read in the form `timestamps`: ``"auto"`` (detected), ``"none"`` (time of arrival),
``"iso"`` (RFC 3339 and like it, at the start), ``"iso-later"`` (after up to three words),
``"logfmt"``, ``"apache"`` (and ctime), ``"apache-access"``, ``"syslog"``, ``"syslog-year"``,
``"syslog-late-year"``, ``"slashes"`` (nginx, Go), ``"compact"``, ``"month-day"``, ``"digits"``,
``"unix"``, ``"unix-ms"``, ``"unix-us"``, ``"unix-ns"``, ``"json"``, or a format of ``strptime``.
"""

from __future__ import annotations

from timelog.ingest.detect import detect
from timelog.ingest.forms import NAMES
from timelog.ingest.lines import Tally
from timelog.ingest.once import Once, files
from timelog.ingest.opening import open_stream
from timelog.ingest.options import Options
from timelog.ingest.watcher import FileState, Watcher

__all__ = [
    "NAMES",
    "FileState",
    "Once",
    "Options",
    "Tally",
    "Watcher",
    "detect",
    "files",
    "open_stream",
]
