"""`LogExporter`: log records of OpenTelemetry as events. Needs the extra ``otel``."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from timelog import EventLog
from timelog.errors import TimelogError, missing_extra
from timelog.feeds.outlet import Outlet, is_from_timelog, say_aside
from timelog.fit import fit_content, fit_fields, fit_source, fit_tags
from timelog.timestamp import to_datetime

try:
    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
except ImportError as error:
    raise missing_extra("timelog.feeds.otel", "otel") from error

# Of the SDK itself, and the same in every record.
_SDK = "telemetry.sdk."


class LogExporter(LogRecordExporter):
    """An OpenTelemetry ``LogRecordExporter`` that appends each record to a log. Thread-safe.

    ``log``: an open log, or the path of one, which is then opened with ``options`` (those of
    `timelog.open`) and closed by `shutdown`. ``tags``: for every event, behind the severity.

    The body is the content (as JSON where it is not a text), the instrumentation scope (else
    ``service.name``) the source, the severity in lower case a tag. In the fields are the
    attributes, ``trace_id`` and ``span_id`` in hexadecimal, ``event_name``, and the attributes of
    the resource under ``resource``.

    An export is a failure where any of its records could not be stored; they are counted in
    ``dropped`` (the buffer was full) and ``failed``. Raises what `timelog.open` does.
    """

    def __init__(
        self, log: EventLog | str | os.PathLike[str], *, tags: Iterable[str] = (), **options: Any
    ) -> None:
        self._tags = fit_tags(tags)
        self._outlet = Outlet(log, options)

    @property
    def log(self) -> EventLog:
        """The log that the records go to."""
        return self._outlet.log

    @property
    def dropped(self) -> int:
        """How many records the full buffer could not take."""
        return self._outlet.dropped

    @property
    def failed(self) -> int:
        """How many records were lost for another reason."""
        return self._outlet.failed

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Append the records; found by searches at once, on the disk with the next flush."""
        result = LogRecordExportResult.SUCCESS
        for data in batch:
            try:
                self._store(data)
            except Exception as error:
                self._outlet.note(error)
                result = LogRecordExportResult.FAILURE
        return result

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the log; whether that worked. It takes as long as the log's ``lock_timeout``."""
        try:
            self._outlet.flush()
        except TimelogError:
            return False
        return True

    def shutdown(self) -> None:
        """Close the log if it was opened here, else flush it. Errors as `EventLog.close`."""
        self._outlet.close()

    def _store(self, data: ReadableLogRecord) -> None:
        record = data.log_record
        resource = dict(data.resource.attributes)
        scope = data.instrumentation_scope
        source = (scope.name if scope else "") or str(resource.get("service.name", ""))
        severity = record.severity_text or (
            record.severity_number.name if record.severity_number else ""
        )
        nanoseconds = record.timestamp or record.observed_timestamp
        content = fit_content(_content(record.body))
        if is_from_timelog(source):
            # Nearly the numbers of logging: INFO is 9 and 20, WARN 13 and 30.
            number = record.severity_number.value * 5 // 2 if record.severity_number else 30
            own = {"name": source, "msg": content, "levelno": number}
            say_aside(logging.makeLogRecord(own))
            return
        self._outlet.put(
            content,
            fit_source(source),
            fit_tags((severity.lower(), *self._tags)),
            to_datetime(nanoseconds // 1000) if nanoseconds else None,
            fit_fields(_fields(record, resource)),
        )


def _content(body: object) -> str:
    if body is None:
        return ""
    return body if isinstance(body, str) else msgspec.json.encode(body, enc_hook=str).decode()


def _fields(record: Any, resource: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = dict(record.attributes or {})
    if record.trace_id:
        fields["trace_id"] = f"{record.trace_id:032x}"
    if record.span_id:
        fields["span_id"] = f"{record.span_id:016x}"
    if record.event_name:
        fields["event_name"] = record.event_name
    kept = {key: value for key, value in resource.items() if not key.startswith(_SDK)}
    if kept:
        fields["resource"] = kept
    return fields
