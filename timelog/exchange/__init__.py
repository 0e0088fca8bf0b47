"""Events from other programs' files, and into them.

In: `theia.import_theia` (the data directory of a theia event store), `jsonl.import_jsonl` (JSON
lines of whatever keys), `journald.import_journald` (``journalctl -o export``). Each returns an
`intake.Imported`; cut off at any moment, the next call goes on where it stopped, as its place is
stored in the commit of the events before it.

Out: `ndjson.export_jsonl`, `table.export_csv` and `parquet.export_parquet` write what a search
finds, in order, in bounded memory, and a file is there whole or not at all.

Below them: `intake` (events into the log, with their place), `source` (files and places in them),
`moments` (times in JSON), `target` (files that are written whole).
"""
