"""Benchmarks: each job beside its floor and beside other programs that do the same job.

In reading order: `lines` (what is logged), `ours` (the jobs, done by timelog), `rivals` (the same
jobs, done by others, and the floors), `bench_core` (the contests, run by pytest), `report` (tables,
the machine, result files), `years` (opening and searching a log of many segments), `memory`
(resident memory of appending and searching), `search` (searching, beside rivals; with
`search_ours`, `search_rivals` and `search_turns`). README.md says how to run them.
"""
