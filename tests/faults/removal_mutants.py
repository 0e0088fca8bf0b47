"""Safety lines of what takes events out of a log; see `tests.faults.test_mutants`."""

from __future__ import annotations

from tests.faults import removal_detectors as by
from tests.faults.detectors import cut
from tests.faults.mutants import Mutant

_COMMIT = "self._committer.commit(draft, durable=True)"
_EXPIRY = "self._committer.commit(Draft(expiry=expiry), durable=True, confirm_clock=confirm_clock)"
_NEW_KEY = """self._storage.replace(
                self._layout.key, secrets.token_bytes(_KEY), self._layout.temporary / names.KEY
            )"""

REMOVALS = [
    # -- compaction -----------------------------------------------------------------------
    Mutant(
        "no fsync of what was rewritten",
        "sortedfile:SortedFile.end",
        "self._storage.sync(self._fd)",
        "pass",
        cut("compaction"),
    ),
    Mutant(
        "no fsync of the names of what was rewritten",
        "compaction:Compactor._put_in_place",
        "self._storage.sync_all((), sorted(directories))",
        "pass",
        cut("compaction"),
    ),
    Mutant(
        "the commit before the names",
        "compaction:Compactor._commit",
        _COMMIT,
        "blocks = [msgspec.structs.replace(block, path=name.path) for output, name in moves "
        "for block in output.blocks]\n"
        "        self._committer.commit(msgspec.structs.replace(draft, write=lambda position: "
        "blocks), durable=True)\n"
        "        self._put_in_place(moves)",
        cut("compaction"),
    ),
    Mutant(
        "a replacement is not durable",
        "compaction:Compactor._commit",
        _COMMIT,
        "self._committer.commit(draft, durable=False)",
        cut("compaction"),
    ),
    Mutant(
        "segments are unlinked before the commit",
        "compaction:Compactor._commit",
        _COMMIT,
        "[self._storage.unlink(self._layout.segment(path)) for path, _ in task.segments]\n"
        f"        {_COMMIT}",
        cut("archive"),
    ),
    Mutant(
        "segments that changed are replaced",
        "compaction:Compactor._commit",
        "not all(self._is_same(*segment) for segment in task.segments)",
        "False",
        by.late_writers,
    ),
    Mutant(
        "two may compact at once",
        "compaction:Compactor.only_one",
        "with self._held.held():",
        "if True:",
        by.second_compactors,
    ),
    Mutant(
        "what a killed compaction wrote stays",
        "compaction:Compactor.only_one",
        "self._sweep()",
        "pass",
        by.left_texts,
    ),
    Mutant(
        "no crc of what is rewritten",
        "rewrite:Rewriter._load",
        "problem := block.problem(data)",
        'problem := ""',
        by.damaged_segments,
    ),
    # -- what follows the commit ----------------------------------------------------------
    Mutant(
        "what was replaced is not unlinked",
        "sweep:clear",
        "unlink_replaced(layout, storage, index, is_stopped)",
        "pass",
        by.kills,
    ),
    Mutant(
        "what was replaced is kept by the repair",
        "repair:Repairer._check_tails",
        "unlink_replaced(self._layout, self._storage, self._index)",
        "pass",
        by.finished_removals,
    ),
    Mutant(
        "what expired is kept by the repair",
        "repair:Repairer._check_tails",
        "move_to_trash(self._layout, self._storage, self._index)",
        "pass",
        by.finished_removals,
    ),
    Mutant(
        "what would have replaced others is kept by the repair",
        "repair:Repairer._finish",
        "if path in mark.whole and not length:",
        "if False:",
        by.kills,
    ),
    Mutant(
        "what goes is forgotten",
        "rotate:root_of",
        "index.removal,\n    )",
        "type(index.removal)(index.removal.horizons),\n    )",
        by.kills_and_checkpoints,
    ),
    Mutant(
        "no fsync of what was unlinked",
        "sweep:unlink_replaced",
        "storage.sync_directory(directory)",
        "pass",
        by.days_that_come_back,
    ),
    Mutant(
        "no fsync of the directories between which days move",
        "sweep:move_to_trash",
        "storage.sync_directory(layout.trash)\n        storage.sync_directory(layout.root)",
        "pass",
        by.days_that_come_back,
    ),
    Mutant(
        "the trash is not emptied",
        "sweep:clear",
        "storage.unlink(path / file)",
        "pass",
        by.kills,
    ),
    Mutant(
        "names are used again",
        "flush:Flusher._target",
        "max(newest.name.number if newest else 0, day.floor)",
        "(newest.name.number if newest else 0)",
        by.names_used_again,
    ),
    # -- expiry ---------------------------------------------------------------------------
    Mutant(
        "a day goes to the trash before the commit",
        "expiry:Expirer._expire",
        _EXPIRY,
        "[self._storage.rename(self._layout.root / names.partition(gone.start), "
        "self._layout.trash / names.trashed(names.partition(gone.start), 1)) "
        "for gone in choice.days]\n"
        f"            {_EXPIRY}",
        cut("expiry"),
    ),
    Mutant(
        "an expiry is not durable",
        "expiry:Expirer._expire",
        "durable=True",
        "durable=False",
        cut("expiry"),
    ),
    Mutant(
        "searches show what expired",
        "query:Results._scanner",
        "Keeping(self._view.horizons)",
        "Keeping(())",
        cut("compaction"),
    ),
    Mutant(
        "a doubtful clock is trusted",
        "expiry:Expirer._expire",
        "if doubt:",
        "if False:",
        by.jumps,
    ),
    Mutant(
        "the time is looked at again",
        "expiry:Expirer._expire",
        "self._choose(policy, now)",
        "self._choose(policy, self._now())",
        by.jumps,
    ),
    Mutant(
        "a commit makes the clock right",
        "commit:Committer.commit",
        "guard.trust(now, storage.uptime())",
        "guard.confirm(now, storage.uptime())",
        by.jumps,
    ),
    Mutant(
        "nobody remembers the time across a boot",
        "commit:Committer._guard",
        "if not trusted:",
        "if True:",
        by.jumps,
    ),
    Mutant(
        "the time of a commit is trusted across a boot",
        "removal:Removal.apply",
        "commit.clock or commit.time",
        "commit.time",
        by.jumps,
    ),
    # -- deletion -------------------------------------------------------------------------
    Mutant(
        "a tombstone is not durable",
        "deletion:Deleter._bury",
        "durable=True",
        "durable=False",
        cut("deletion"),
    ),
    Mutant(
        "a tombstone without a durable key",
        "deletion:Deleter._make_key",
        _NEW_KEY,
        "fd = self._storage.create(self._layout.key)\n"
        "            self._storage.write(fd, secrets.token_bytes(_KEY))\n"
        "            self._storage.close(fd)",
        by.proofs,
    ),
    Mutant(
        "searches show what was deleted",
        "query:Results._blocks",
        "scanner.deleted",
        "ignored",
        cut("deletion"),
    ),
    Mutant(
        "tombstones of a day that is not loaded are forgotten",
        "day:Day.loaded",
        "files.tombstones[tombstone.position] = tombstone",
        "pass",
        cut("archive"),
    ),
]
