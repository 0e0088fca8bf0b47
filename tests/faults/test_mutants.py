"""Each safety line of the package switched off, one at a time: somebody must find it out.

A mutant that nobody finds out is a line that nothing needs, or a test that is missing. Left out are
lines behind which another stands that does the same: with one of them switched off nothing breaks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import damage_detectors as damage
from tests.faults import detectors as by
from tests.faults import report
from tests.faults.detectors import Detector, cut
from tests.faults.mutants import DoesNotApplyError, Mutant, applied
from tests.faults.removal_mutants import REMOVALS
from tests.rig import abandon_all
from timelog.indexer import is_possible
from timelog.storage import Storage

MUTANTS = [
    # -- what the system is asked for -----------------------------------------------------
    Mutant("no fsync", "storage:Storage.sync", "os.fsync(fd)", "pass", by.system_calls),
    Mutant(
        "no fsync of directories",
        "storage:Storage.sync_directory",
        "self.sync(fd)",
        "pass",
        by.system_calls,
    ),
    Mutant(
        "no fsync of what is cut",
        "storage:Storage.truncate",
        "self.sync(fd)",
        "pass",
        by.system_calls,
    ),
    Mutant(
        "no fsync of a new file in the place of another",
        "storage:Storage.replace",
        "self.sync(fd)",
        "pass",
        cut("checkpoints"),
    ),
    Mutant(
        "no fsync of its name",
        "storage:Storage.replace",
        "self.sync_directory(path.parent)",
        "pass",
        cut("checkpoints"),
    ),
    Mutant(
        "what a killed process left is in the way",
        "storage:Storage.replace",
        "self.unlink(temporary)",
        "pass",
        by.kills,
    ),
    Mutant("no O_EXCL", "storage:Storage.create", " | os.O_EXCL", "", by.foreign_files),
    Mutant(
        "no O_NOFOLLOW",
        "storage:Storage.open_append",
        "| _BASE",
        "| os.O_CLOEXEC",
        by.planted_links,
    ),
    Mutant("no second write", "storage:Storage.write", "while left:", "if left:", by.short_writes),
    Mutant(
        "no second write in place",
        "storage:Storage.overwrite",
        "while view:",
        "if view:",
        by.short_writes,
    ),
    # -- locks ----------------------------------------------------------------------------
    Mutant(
        "a lock that excludes nobody",
        "storage:Storage.lock",
        "fcntl.LOCK_EX",
        "fcntl.LOCK_SH",
        by.second_writers,
    ),
    Mutant(
        "a lock file that was replaced is locked",
        "lock:FileLock._take",
        "if self.is_current():",
        "if True:",
        by.second_writers,
    ),
    Mutant(
        "no crc of the lock file",
        "lock:_parse",
        " or zlib.crc32(payload) != crc",
        "",
        damage.flipped_lock,
    ),
    Mutant(
        "no look at the lock before the commit",
        "commit:Committer.commit",
        "self._check_lock()\n        end",
        "end",
        by.lock_taken_away_early,
    ),
    Mutant(
        "no look at the lock behind the commit",
        "commit:Committer.commit",
        "self._check_lock()\n        # Pub",
        "# Pub",
        by.lock_taken_away_late,
    ),
    Mutant(
        "a log is made without a lock",
        "create:create_log",
        "with StoreLock(storage, layout.lock, lock_timeout).held():",
        "if True:",
        by.creators,
    ),
    Mutant(
        "a log is made that was made meanwhile",
        "create:create_log",
        "known if known is not None else",
        "",
        by.creators,
    ),
    # -- the busy mark --------------------------------------------------------------------
    Mutant(
        "no mark",
        "commit:Committer.commit",
        "self._write_state(mark, guard)\n        self.is_un",
        "self.is_un",
        by.kills,
    ),
    Mutant(
        "the mark is left",
        "commit:Committer.commit",
        "self._write_state(None, guard)",
        "pass",
        by.readers,
    ),
    Mutant(
        "the mark is left by the repair",
        "repair:Repairer.repair",
        "if boot_changed or (state is not None and state.busy is not None):",
        "if False:",
        by.readers,
    ),
    Mutant(
        "readers do not look at the mark",
        "catchup:CatchUp._step",
        "Place(mark.journal, mark.offset) if mark else None",
        "None",
        by.readers,
    ),
    Mutant(
        "a failed flush is forgotten",
        "commit:Committer.commit",
        "self.is_unfinished = True",
        "pass",
        by.lock_taken_away_in_a_write,
    ),
    Mutant(
        "files whose fsync failed are not in the mark",
        "commit:Committer._sync_others",
        "suspect=suspect",
        "suspect=()",
        cut("unsynced_failed_syncs"),
    ),
    Mutant(
        "sealed files are gone on with",
        "flush:Flusher._target",
        "not newest.is_sealed(index.sealed_before)",
        "True",
        cut("failed_syncs"),
    ),
    # -- a flush --------------------------------------------------------------------------
    Mutant(
        "no fsync of segments",
        "flush:Flusher._write_segments",
        "sync_all(fds, ",
        "sync_all((), ",
        cut("sync_appends"),
    ),
    Mutant(
        "no fsync of partitions",
        "flush:Flusher._write_segments",
        "sorted(new_in, reverse=True)",
        "",
        cut("flushes"),
    ),
    Mutant(
        "no fsync of the log's directory",
        "flush:Flusher._write_segments",
        "{path.parent, self._layout.root}",
        "{path.parent}",
        cut("flushes"),
    ),
    Mutant(
        "no fsync of the journal",
        "commit:Committer._write_commit",
        "self._storage.sync(fd)",
        "pass",
        cut("sync_appends"),
    ),
    Mutant(
        "no fsync of the journal's directory",
        "commit:Committer._sync_others",
        "self._storage.sync_directory(self._layout.journals)",
        "pass",
        cut("named_late"),
    ),
    Mutant(
        "what was not synced is not synced later",
        "commit:Committer.commit",
        "self._sync_others(mark, guard)",
        "pass",
        cut("unsynced"),
    ),
    Mutant(
        "a commit does not say that it is durable",
        "commit:Committer.commit",
        "durable,\n            sealed_before",
        "False,\n            sealed_before",
        damage.damaged_durable,
    ),
    Mutant(
        "a commit does not say what is durable",
        "commit:Committer.commit",
        "tuple(blocks),\n            synced,",
        "tuple(blocks),\n            0,",
        damage.damaged_durable_record,
    ),
    Mutant(
        "no look at a segment's size",
        "flush:Flusher._write_segment",
        "!= blocks[-1].end",
        "< 0",
        by.foreign_bytes(".jsonl"),
    ),
    Mutant(
        "no look at the journal's size",
        "commit:Committer._write_commit",
        "!= place.offset",
        "< 0",
        by.foreign_bytes(".journal"),
    ),
    Mutant(
        "no batch numbers",
        "flush:Flusher._store",
        "self._buffer.holds(batch.number)",
        "True",
        by.errors,
    ),
    Mutant(
        "another batch is released",
        "buffer:Buffer.release",
        " or self._batch.number != number",
        "",
        by.errors,
    ),
    Mutant(
        "a failed batch is forgotten",
        "buffer:Buffer.freeze",
        "self._batch is None and ",
        "",
        by.errors,
    ),
    Mutant(
        "a commit counts twice",
        "indexstate:IndexState.apply",
        "if commit.sequence <= self.sequence:",
        "if False:",
        damage.restated_twice,
    ),
    Mutant(
        "nobody remembers what is not synced",
        "indexstate:IndexState.apply",
        "self.unsynced.update(files)",
        "pass",
        cut("unsynced"),
    ),
    Mutant(
        "nobody remembers a cursor that is not synced",
        "indexstate:IndexState.apply",
        " or [self._journal_name()]",
        "",
        by.cursors,
    ),
    Mutant(
        "what is not synced is not synced with others",
        "rotate:sync_files",
        "storage.sync_all(fds)",
        "pass",
        cut("unsynced"),
    ),
    Mutant(
        "the journal is not synced with them",
        "rotate:sync_files",
        "sync_file(storage, layout.journal(index.place.journal))",
        "pass",
        cut("unsynced_checkpoints"),
    ),
    Mutant(
        "directories are not synced with them",
        "rotate:sync_files",
        "storage.sync_all((), sorted(directories, reverse=True))",
        "pass",
        cut("unsynced"),
    ),
    # -- checkpoints ----------------------------------------------------------------------
    Mutant(
        "a checkpoint of what is not synced",
        "rotate:write_checkpoint",
        "sync_files(layout, storage, index)",
        "pass",
        cut("unsynced_checkpoints"),
    ),
    Mutant(
        "the end of a journal is not synced",
        "rotate:begin_journal",
        "sync_file(storage, layout.journal(place.journal))",
        "pass",
        cut("unsynced_repaired"),
    ),
    Mutant(
        "a number is used again",
        "rotate:_next_number",
        "index.place.journal + 1",
        "1",
        cut("checkpoints"),
    ),
    Mutant(
        "a journal goes that is needed",
        "rotate:_sweep",
        "number < root.journal",
        "number <= root.journal",
        by.kills,
    ),
    # -- the repair -----------------------------------------------------------------------
    Mutant(
        "nothing is cut",
        "repair:Repairer._finish",
        "self._cut(path, length)",
        "pass",
        by.kills,
    ),
    Mutant(
        "nothing is kept of what is cut",
        "quarantine:Quarantine.cut",
        "self.keep(file, length, size, names.quarantined(path, length, sequence))",
        "pass",
        damage.quarantine,
    ),
    Mutant(
        "no fsync of a copy",
        "quarantine:Quarantine.copy",
        "storage.sync(out)",
        "pass",
        cut("unsynced_failed_syncs"),
    ),
    Mutant(
        "no fences",
        "repair:Repairer._finish",
        "fenced=tuple(names_in_mark)",
        "fenced=()",
        cut("failed_syncs"),
    ),
    Mutant(
        "fences are not remembered",
        "catchup:CatchUp._begin",
        "self.day(name.span.start).fence(name, begin.time)",
        "pass",
        cut("failed_syncs"),
    ),
    Mutant(
        "a fence keeps nobody out",
        "segment:Segment.is_sealed",
        "self.fenced or ",
        "",
        cut("failed_syncs"),
    ),
    Mutant(
        "what was written is not restated",
        "repair:Repairer._finish",
        "restated=tuple(written)",
        "restated=()",
        by.errors,
    ),
    Mutant(
        "what is not valid is read",
        "catchup:CatchUp._step",
        "end = min(end, following[0].valid)",
        "pass",
        by.kills,
    ),
    Mutant(
        "files are not written anew",
        "repair:Repairer._finish",
        "self._write_anew(path, place)",
        "pass",
        cut("unsynced_failed_syncs"),
    ),
    Mutant(
        "no look at what a boot left",
        "repair:Repairer.repair",
        "elif boot_changed or unfinished:",
        "elif False:",
        cut("flushes"),
    ),
    Mutant(
        "commits survive without their blocks",
        "repair:_History.surviving",
        "if not all(map(holds, commit.blocks)):",
        "if False:",
        cut("unsynced"),
    ),
    Mutant(
        "durable commits are given up",
        "repair:_History.surviving",
        "if commit.sequence <= self.synced:",
        "if False:",
        damage.damaged_durable,
    ),
    Mutant(
        "a block holds whatever is in it",
        "repair:Repairer._holds",
        " and crc == block.crc",
        "",
        cut("unsynced"),
    ),
    Mutant(
        "files that no commit names are left",
        "repair:Repairer._check_tails",
        "suspect |= self._recent(history.since)",
        "pass",
        cut("sync_appends"),
    ),
    Mutant(
        "an unknown boot is the same",
        "repair:Repairer.repair",
        "self._boot == UNKNOWN_BOOT and not self._checked_boot",
        "False",
        by.unknown_boots,
    ),
    Mutant(
        "commits survive behind one that is lost",
        "repair:_History.surviving",
        "if commit.sequence > max(self.sequence_before(n), self.synced) + 1:",
        "if False:",
        damage.hole_in_the_journal,
    ),
    Mutant(
        "what a restated commit wrote is cut",
        "repair:Repairer._finish",
        "max(lengths.get(block.path, 0), block.file_end)",
        "lengths.get(block.path, 0)",
        by.errors,
    ),
    # -- damage ---------------------------------------------------------------------------
    Mutant(
        "no crc of what is read",
        "journal:Block.problem",
        "crc32(data, self.seed) == self.crc",
        "True",
        damage.flipped_segments,
    ),
    Mutant(
        "no crc of what is read first",
        "reader:BlockReader.fetch",
        "not block.problem(view[block.offset - base : block.end - base])",
        "True",
        damage.flipped_segments,
    ),
    Mutant(
        "no crc of what was intact",
        "reader:BlockReader._cut",
        "not block.problem(piece)",
        "True",
        damage.flipped_segments,
    ),
    Mutant(
        "a seed is not gone on from",
        "segment:_join",
        "one.seed,",
        "two.seed,",
        by.kills,
    ),
    Mutant(
        "no crc of the journal",
        "journal:_payload",
        "payload if _crc(offset, payload) == crc else None",
        "payload",
        damage.flipped_journal,
    ),
    Mutant(
        "a record of the journal counts anywhere",
        "journal:_claimed",
        " and offset == base + at",
        "",
        damage.record_in_a_record,
    ),
    Mutant(
        "nobody says what is missing",
        "indexstate:IndexState.apply",
        "self.missing.append((self.position, commit.position - 1))",
        "pass",
        damage.damaged_middle,
    ),
    Mutant(
        "nobody misses the newest commits",
        "catchup:CatchUp.expect",
        "self._miss(end.sequence, end.position)",
        "pass",
        damage.lost_end,
    ),
    Mutant(
        "the lock does not say what is durable",
        "indexstate:IndexState.apply",
        "self.synced_end = self.end",
        "pass",
        damage.lost_end,
    ),
    Mutant(
        "no crc of what the text index is made of",
        "indexer:TextIndexer._read",
        "problem := block.problem(data)",
        'problem := ""',
        damage.text_index_of_damage,
    ),
    Mutant(
        "no crc of checkpoints",
        "checkpoint:_parse",
        " and zlib.crc32(payload) == crc",
        "",
        damage.flipped_index,
    ),
    Mutant(
        "a day's index of another checkpoint",
        "checkpoint:parse_day",
        "crc_of(data) != summary.crc or ",
        "",
        damage.stale_index,
    ),
    Mutant(
        "scrub does not check",
        "scrub:Scrubber._check",
        "reason = block.problem(data)",
        'reason = ""',
        damage.flipped_segments_unseen,
    ),
    Mutant(
        "verify does not check",
        "verify:_Verifier._block",
        "problem := block.problem(data)",
        'problem := ""',
        damage.flipped_segments_unseen,
    ),
    Mutant(
        "verify does not look at tails",
        "verify:_Verifier._segment",
        "self._tail(path, blocks[-1].file_end if blocks else 0, self._storage.size(fd))",
        "pass",
        damage.unfinished,
    ),
    Mutant(
        "verify does not look at names",
        "verify:_Verifier.run",
        "self._names()",
        "pass",
        damage.unfinished,
    ),
    Mutant(
        "a deep check does not check times",
        "verify:_deep_problems",
        "(first, last) == (block.first, block.last)",
        "True",
        damage.deep_damage,
    ),
    # -- making a log -----------------------------------------------------------------------
    Mutant(
        "no fsync of the parent",
        "create:_create",
        "storage.sync_directory(layout.root.parent)",
        "pass",
        cut("named_late"),
    ),
    Mutant(
        "no fsync of the log's new directory",
        "create:_create",
        "storage.sync_directory(layout.root)",
        "pass",
        cut("named_late"),
    ),
    Mutant(
        "no fsync of the control directory",
        "create:_create",
        "storage.sync_directory(layout.control)",
        "pass",
        by.every_cut_of_making,
    ),
    Mutant(
        "no fsync of the directories above",
        "tree:make_directories",
        "storage.sync_directory(directory.parent)",
        "pass",
        by.made_parents,
    ),
    # -- other logs and files -------------------------------------------------------------
    Mutant(
        "a foreign directory becomes a log",
        "create:_check_empty",
        "if foreign:",
        "if False:",
        by.foreign_directories,
    ),
    Mutant(
        "a log without its format becomes a new one",
        "create:_check_empty",
        "if found and (",
        "if False and (",
        by.foreign_directories,
    ),
    Mutant(
        "another log's format file is taken",
        "store:Store.__init__",
        "if self.index.log != self.id:",
        "if False:",
        by.exchanged_logs,
    ),
    Mutant(
        "another log's checkpoint is taken",
        "catchup:CatchUp.reload",
        "root.log != self.log",
        "False",
        by.exchanged_logs,
    ),
    *REMOVALS,
]


_NEEDS_NUMPY = {damage.text_index_of_damage}
# What cuts the power passes already where the tests of power cuts do, which try more.
_OTHERS = list(
    dict.fromkeys(m.detector for m in MUTANTS if not m.detector.__name__.startswith("power cuts"))
)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Logs that a detector did not close do not try to at the end."""
    yield
    abandon_all()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_found_out(ram: Path, mutant: Mutant) -> None:
    if mutant.detector in _NEEDS_NUMPY and not is_possible():
        pytest.skip(f"NOT RUN: 1 mutant, {mutant.name}: numpy is not installed")
    with applied(mutant), pytest.raises(AssertionError) as found:
        mutant.detector(ram)
    words = " ".join(str(found.value).replace(str(ram), "").split())[:150]
    report.record(f"mutant, {mutant.name}: found by {mutant.detector.__name__}: {words}")


@pytest.mark.parametrize("detector", _OTHERS, ids=lambda detector: detector.__name__)
def test_a_detector_finds_nothing_without_a_mutant(ram: Path, detector: Detector) -> None:
    if detector in _NEEDS_NUMPY and not is_possible():
        pytest.skip(f"NOT RUN: 1 detector, {detector.__name__}: numpy is not installed")
    detector(ram)


@pytest.mark.parametrize(
    ("place", "old", "words"),
    [
        ("storage:Storage.sync", "no such text", "stands 0 times"),
        ("storage:Storage.read_at", "data", r"stands \d+ times"),
        ("storage:Storage.no_such_method", "x", "is no function"),
        ("storage:UNKNOWN_BOOT", "x", "is no function"),
    ],
)
def test_a_mutant_that_no_longer_applies_says_so(place: str, old: str, words: str) -> None:
    mutant = Mutant("none", place, old, "pass", damage.quarantine)
    with pytest.raises(DoesNotApplyError, match=words), applied(mutant):
        pass


def test_the_package_is_as_it_was_after_a_mutant(ram: Path) -> None:
    mutant = Mutant("none", "storage:Storage.size", "return", "return 7 or", damage.quarantine)
    (ram / "file").touch()
    fd = Storage().open_read(ram / "file")
    with applied(mutant):
        assert Storage().size(fd) == 7
    assert Storage().size(fd) == 0
    Storage().close(fd)
