"""What follows a log and does something with its events: projections, and work for workers.

Uses the public face of the log only. Reading order:

- projections: `ranges` (positions left out), `statefile` (the bytes of a saved state), `states`
  (the directory of them), `folding` (the user's functions), `past` (a state before now),
  `projection`;
- work: `tasks` (events as entries of feeds), `schema` and `database` (SQLite), `entries` and
  `workqueue` (`Queue`), `protocol` (the lines), `peer`, `listener`, `connection` and `server` (the
  socket), `intake` (the log), `dispatcher`; `held` is for both.
"""

from timelog.consume.dispatcher import Dispatcher
from timelog.consume.entries import Run
from timelog.consume.projection import Projection
from timelog.consume.states import Saved
from timelog.consume.tasks import Task, feed_of
from timelog.consume.workqueue import Counts, History, Hold, Job, Queue

__all__ = [
    "Counts",
    "Dispatcher",
    "History",
    "Hold",
    "Job",
    "Projection",
    "Queue",
    "Run",
    "Saved",
    "Task",
    "feed_of",
]
