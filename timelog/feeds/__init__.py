"""Events from where Python programs already tell of themselves, one module a source.

`logging` (a handler), `structlog` (a processor), `loguru` (a sink), `otel` (an exporter of
OpenTelemetry), `uncaught` (exceptions nobody caught), `pytest` (the events of failing tests, which
`keeper` keeps); below them `outlet`, where all of them put their events. Each is imported by its
own name, and only it imports the library it is for.

What all of them do alike: the message is the content, with the text of an exception below it; the
name of the logger is the source; the level, in lower case, is a tag; everything else is in the
fields. None waits for the disk: an event that the full buffer cannot take is dropped, counted, and
told of in the log itself as soon as there is room.
"""
