"""The examples at the end of each command's ``--help``; tests run what can be run of them."""

TIMES = """
times: -1h, -1h30m, -2w, '1h ago', now, today, yesterday, 10:00, 2026-11-21, '2026-11-21 10:00',
  2026-11-21T10:00:30.5, 'Nov 21 10:15:03', @1700000000.5, and whatever timelog prints. A time may
  end in Z, an offset (+01:00) or a zone ('2026-11-21 10:00 Europe/Berlin'). A time without a zone
  is LOCAL time, unless --utc, --tz or TIMELOG_TZ say otherwise."""

MAIN = """examples:
  timelog demo                                       see what it does, with a log made for it
  timelog --dir data append 'disk replaced' --tag ops
  timelog --dir data ingest /var/log/syslog
  timelog --dir data search --since -1h --tag auth --grep 'Failed password'
  grep -h sshd data/2026-11-21/20261121T10*          the log is plain text

environment: TIMELOG_DIR (instead of --dir), TIMELOG_TZ (a zone, instead of local time),
  NO_COLOR, FORCE_COLOR, PAGER"""

APPEND = f"""examples:
  timelog append 'disk replaced' --source ops --tag disk --tag prod
  timelog append 'deploy done' --field version=1.2.3 --field hosts='["a","b"]' --field took=12.5
  timelog append 'power cut' --timestamp 'yesterday 17:30'
  timelog append -- '--this text begins with a dash'
{TIMES}"""

_FORMATS = """
The whole line stays the content. FORMAT says how lines tell their time: auto (found out from the
first lines, and said on stderr), none (the time of arrival), iso, iso-later, logfmt, json, syslog,
syslog-year, syslog-late-year, apache, apache-access, slashes, compact, month-day, digits, unix,
unix-ms, unix-us, unix-ns; or a format of strptime (man 3 strptime) at the start of each line, with
or without the year. A line without such a time takes the time of the line before it. A time without
a zone is LOCAL time, unless --utc, --tz or TIMELOG_TZ say otherwise."""

INGEST = f"""examples:
  timelog ingest /var/log/nginx/*.log --tag web
  timelog ingest /var/log/syslog --timestamp-format '%b %d %H:%M:%S'
  timelog ingest app.log --timestamp-format iso --utc
  timelog ingest old.log.gz --year 2019 --multiline indent
  timelog ingest --follow app.log               on and on; what was read before is not read again
  journalctl -f -o short-iso | timelog ingest - --source journal --timestamp-format iso
{_FORMATS}"""

WATCH = f"""examples:
  timelog watch /var/log --glob '*.log' --glob syslog
  timelog watch /srv --recursive --multiline time --tag app --name srv
  timelog watch /var/log --timestamp-format-for 'app*=%d.%m.%Y %H:%M:%S'

Each line is stored once, however files are renamed, compressed or deleted, and whenever this is
killed: the places are kept in the log, under --name, which one process may use at a time. What is
truncated before it was read is lost.
{_FORMATS}"""

IMPORT = """examples:
  timelog --dir data import --format theia ./theia-data
  timelog import --format jsonl app.log.json --source app
  timelog import --format jsonl odd.json --map content=text --map timestamp=when --utc
  journalctl -o export | timelog import --format journald -

A file is imported once: cut off, or asked again, the command goes on where it stopped. What cannot
be read is reported by file and byte, and skipped. Of JSON lines, what is no part of an event goes
into the fields. A time without a zone is LOCAL time, unless --utc, --tz or TIMELOG_TZ say
otherwise.

exit code: 0 everything is stored, 1 something was skipped, 2 an error"""

EXPORT = f"""examples:
  timelog --dir data export -O all.jsonl
  timelog export --format csv --since -1d --tag auth -O auth.csv
  timelog export --format parquet -S 2026-11-01 -U 2026-12-01 -O november.parquet --force
  timelog export -s sshd | jq -r .content

A file is there whole or not at all. In CSV, a text that a spreadsheet would take for a formula has
an apostrophe before it, unless --exact. Parquet needs -O, and pip install 'timelog[arrow]'.

exit code: 0 something was written, 1 nothing matched, 2 an error, 3 damage was met
{TIMES}"""

SIMULATE = """examples:
  timelog --dir data simulate --rate 200 --duration 30s
  timelog simulate --rate 5 --duration 2s -o short-iso > app.log
  timelog simulate --rate 1000 --source web-1 --source web-2 --seed 7

Events of a web server, a login service and a shop, with bursts, levels and tracebacks. The rate is
kept on average; where the machine cannot keep it, the summary says what it was."""

SEARCH = f"""examples:
  timelog search --since -1h --tag auth --grep 'Failed password'
  timelog search -S 'yesterday 10:00' -U today -s sshd -s sudo -o short-iso
  timelog search -n 20                          the last 20 events
  timelog search -g 'timeout after (\\d+)' -i --count
  timelog search -S 2026-11-21 --json | jq -r .content

exit code: 0 something matched, 1 nothing did, 2 error, 3 damage was met (under --strict)
{TIMES}"""

FOLLOW = """examples:
  timelog follow --tag auth --grep 'Failed password'
  timelog follow -n 0 --json | jq -r .content
  timelog follow --all --no-wait                          all there is, as it arrived
  timelog follow --all --cursor-file ship.cursor -o json | ship-elsewhere

Printed is what is on the disk, in order of arrival: an event of long ago that comes late is printed
when it comes. What expired or was damaged before it could be printed is reported on stderr. FILE is
written after what was printed: a run that was cut off prints the last events again.

exit code: 0 something was printed, 1 nothing, 2 error, 3 something was gone (under --strict)"""

FILES = f"""examples:
  timelog files --since -1h -0 | xargs -0r rg sshd
  timelog files -S 'yesterday 10:00' -U 'yesterday 11:00' | xargs -r cat | jq -r .content
  timelog files -S -5m --ranges | while IFS=$'\\t' read -r path start end; do
    tail -c +$((start + 1)) "$path" | head -c $((end - start)); done

Printed are the fewest files that have committed events of the range; they may have others, too.
Events that a process still has in memory (for a second, by default) are in no file yet. The end of
a file may be an unfinished write: the bytes of --ranges are whole lines.

exit code: 0 there are some, 1 there are none, 2 error, 3 damage was met (under --strict)
{TIMES}"""

STATUS = """examples:
  timelog --dir data status
  timelog status --json | jq .events
  timelog status --json | jq -r .disk.full      when the disk is full at this rate

committed: today, and in seven days, of UTC; on disk: never less than du says"""

INDEX = """examples:
  timelog --dir data ingest big.log && timelog --dir data index

It notes which texts each part of the log may hold, in about 4 % of its size. A process that
writes to the log for more than a few minutes does this by itself. Needs numpy:
pip install 'timelog[fast]'"""

VERIFY = """examples:
  timelog --dir data verify
  timelog verify --deep && echo clean

exit code: 0 clean, 3 only a torn end (the next writer cuts it off), 1 damage, 2 not checked"""

REPAIR = """examples:
  timelog --dir data repair --dry-run
  timelog --dir data repair && echo well
  timelog repair --adopt                        also keep lines that somebody wrote with >>

Bytes that no commit names go to .timelog/quarantine. Where .timelog, or the index of a day, cannot
be used or is gone, it is made anew from the text. Nothing is removed before its copy is in
quarantine; damaged events are named, and left as they are.

exit code: 0 nothing was wrong, or all is put right; 1 something is still wrong (after --dry-run:
  something is wrong), 2 it could not be done"""

SNAPSHOT = """examples:
  timelog --dir data snapshot /backup/data
  timelog snapshot /backup/data --if-due && timelog snapshot /backup/data --prune
  timelog snapshot /backup/data --kind safety       before an upgrade
  timelog snapshot /backup/data --list
  timelog --dir /backup/data/20261121T101503.123456Z-periodic search --since -1h

Each is a directory in DEST, and a log that can be read. On one file system it shares what no longer
changes with the log; elsewhere each costs what is new. Kept by --prune: the 5 newest periodic ones,
those of the kind safety for 14 days of the log's own time, and always the newest whole one.

exit code: 0 done, none was due, or all are whole; 1 none is there (--list), 2 it could not be done,
  3 one that was taken or is listed is damaged"""

RESTORE = """examples:
  timelog restore /backup/data/20261121T101503.123456Z-periodic data

Nothing is overwritten, and everything is compared with the manifest first. --dir and TIMELOG_DIR
are not used.

exit code: 0 done, 2 it could not be done, 3 done, and the log was damaged when it was taken"""

TORTURE = """examples:
  timelog torture /var/lib/app
  timelog torture /mnt/share --seconds 120
  timelog torture . --json | jq '.findings[] | select(.verdict != "holds")'

Everything happens in a new directory in DIR, which is removed at the end, and kept where something
failed. No privileges are needed, and no power is cut: whether a disk keeps what it said was synced
cannot be tried on a running system. --dir and TIMELOG_DIR are not used.

exit code: 0 no guarantee failed, 1 some did, 2 it could not be tried"""

AUDIT = f"""examples:
  timelog --dir data audit
  timelog audit --since today && echo balanced
  timelog audit --json | jq .refused

Entered = stored + damaged + in memory + refused + missing + lost; a difference is named. The text
of events is not read: 'timelog verify' does that.

exit code: 0 the books balance, 1 they do not, 2 not checked, 3 they do, and something is damaged
{TIMES}"""

VACUUM = """examples:
  timelog --dir data vacuum --time '30 days' --tag 'audit=3 years' --dry-run
  timelog vacuum --size 10G
  timelog vacuum --suspend

Without limits, what the log was opened with: timelog.open(path, retention=…). Whole UTC days go,
the oldest first; a day goes by age when its end is too old. K, M, G, T are powers of 1024.

exit code: 0 done, 1 expiry is suspended, 2 an error"""

COMPACT = """examples:
  timelog --dir data compact
  timelog compact --older-than '30 days' --archive

What was deleted, or has expired, is left out. Programs that write the log do this in the
background.

exit code: 0 done, 2 an error, 3 done, but damaged files were left as they are"""

DELETE = f"""examples:
  timelog --dir data delete 01a21420-6a70-7497-831f-26527c2a3005
  timelog delete --erase 01a21420-6a70-7497-831f-26527c2a3005
  timelog delete --list --json | jq -r .id
  echo "$line" | timelog delete --prove -

exit code: 0 done, 1 an event was not found, or no proof, 2 an error
{TIMES}"""

DISPATCH = """examples:
  timelog --dir data dispatch --socket jobs.sock
  timelog dispatch --socket jobs.sock --source updates --state updates.queue
  python tools/worker.py jobs.sock ./build       runs ./build KEY REST for each

An event is 'KEY REST'; its source is the feed. Workers say READY, or DONE KEY CODE, and are told
JOB KEY REST, or NOJOBS. The key that was started longest ago comes first, and never twice at once;
what a worker had that goes away is offered again, after 12 hours in any case.

exit code: 130 or 143 ended by a signal, 2 an error"""

DEMO = """examples:
  timelog demo
  timelog demo --dir demo-log

Without --dir the log is made in a new temporary directory, and kept. TIMELOG_DIR is not used."""

COMPLETION = """examples:
  source <(timelog completion bash)
  timelog completion zsh > "${fpath[1]}/_timelog"
  timelog completion fish > ~/.config/fish/completions/timelog.fish"""
