"""The events of a trace, some at a time, from the bytes of its file.

A trace is one JSON document, often of hundreds of megabytes, and nearly all of it
is one list. It is cut behind an event, and what lies before the cut is parsed as
a list of its own. That this parses proves the cut: quotes and brackets before it
are balanced. So any valid document is read as a parser of the whole would read it.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from scalebook.contract import ScalebookError

#: Bytes that are awaited before they are parsed.
CHUNK = 1 << 19
#: Most bytes without a place to cut.
LONGEST = 256 << 20

_OPENING = re.compile(rb'"traceEvents"\s*:\s*\[')
_BETWEEN = re.compile(rb"\}\s*,\s*(?=\{)")
#: Bytes without a place to cut, from which on it is asked whether they are JSON at all.
SUSPICIOUS = 4 << 20
#: What a parser says of a file that was cut short, it says within so many characters of its end.
_END = 16
_UTF_16 = (b"\xff\xfe", b"\xfe\xff", b"{\0", b"[\0", b"\0{", b"\0[")
_UTF_8_MARK = b"\xef\xbb\xbf"
#: What is wrong where a parser says this.
_CAUSES = {
    "Invalid \\": "a backslash is not escaped",
    "Invalid control": "a line break, tab or other control character stands in a text",
    "Expecting value": "what stands there is no value",
    "Expecting ',' delimiter": "a quotation mark is not escaped, or a comma is missing",
}
#: Places to cut that are tried before more bytes are awaited.
_TRIES = 6


class Events:
    """Iterate over lists of events, in the order of the file.

    Parameters
    ----------
    pieces : iterable of bytes
        The file, unpacked.
    where : str
        How an error names it.

    Attributes
    ----------
    header : dict
        What the document holds beside its events; complete after the last list.

    Raises
    ------
    ScalebookError
        While iterating: if the document is no trace, or cut short; one line.
    """

    def __init__(self, pieces: Iterable[bytes], where: str) -> None:
        self.header: dict[str, Any] = {}
        self._pieces = iter(pieces)
        self._where = where
        self._read = 0
        #: Line breaks before what is parsed next.
        self._lines = 0

    def __iter__(self) -> Iterator[list[Any]]:
        head, buffer = self._opened()
        self._lines = head.count(b"\n")
        awaited = CHUNK
        for piece in self._pieces:
            self._read += len(piece)
            buffer += piece
            while len(buffer) >= awaited:
                found = _first_events(buffer)
                if found is None:
                    if len(buffer) >= SUSPICIOUS:
                        self._doubt(buffer)
                    awaited = 2 * len(buffer)
                    if awaited > LONGEST:
                        raise ScalebookError(
                            f"{self._where}: one event takes more than {LONGEST >> 21} MiB, refused"
                        )
                    break
                events, end = found
                yield events
                self._lines += buffer.count(b"\n", 0, end)
                del buffer[:end]
                awaited = CHUNK
        self._lines -= head.count(b"\n")
        document = self._last(head + buffer)
        if isinstance(document, dict):
            self.header = document
            document = document.pop("traceEvents", None)
        if not isinstance(document, list):
            raise ScalebookError(
                f"{self._where}: is not a profiler trace: holds no list of traceEvents"
            )
        yield document

    def _opened(self) -> tuple[bytes, bytearray]:
        """Bytes up to the bracket before the first event, and those read behind it."""
        buffer, searched, tried = bytearray(), 0, 0
        for piece in self._pieces:
            if not buffer and piece.startswith(_UTF_16):
                raise ScalebookError(f"{self._where}: is UTF-16 text; write it as UTF-8")
            self._read += len(piece)
            buffer += piece.removeprefix(_UTF_8_MARK) if not buffer else piece
            if len(buffer) > LONGEST:
                raise ScalebookError(
                    f"{self._where}: is not a profiler trace: {LONGEST >> 20} MiB without an event"
                )
            if buffer[:64].lstrip()[:1] == b"[":
                end = buffer.index(b"[") + 1
                return bytes(buffer[:end]), buffer[end:]
            for match in _OPENING.finditer(bytes(buffer[searched:])):
                end, tried = searched + match.end(), tried + 1
                if tried <= _TRIES and _opens(buffer[:end]):
                    return bytes(buffer[:end]), buffer[end:]
            searched = max(0, len(buffer) - 64)
        return b"", buffer

    def _last(self, data: bytes) -> Any:
        if not data.strip():
            raise ScalebookError(f"{self._where}: is empty; expected a profiler trace")
        if data.lstrip()[:1] not in (b"{", b"["):
            raise ScalebookError(f"{self._where}: is no JSON; expected a profiler trace")
        try:
            return _loads(data)
        except RecursionError:
            raise ScalebookError(f"{self._where}: nested too deeply for a profiler trace") from None
        except ValueError as error:
            raise self._broken(error, data) from None

    def _doubt(self, buffer: bytearray) -> None:
        """Raise where what was read has a fault that no further bytes can mend."""
        try:
            _loads(b"[" + buffer)
        except RecursionError:
            pass
        except ValueError as error:
            if not _at_end(error):
                raise self._broken(error, buffer) from None

    def _broken(self, error: ValueError, data: bytes | bytearray) -> ScalebookError:
        message = getattr(error, "msg", "no JSON")
        if _at_end(error):
            return ScalebookError(
                f"{self._where}: cut short within the last {min(len(data), self._read):,} of "
                f"{self._read:,} bytes ({message}); copy or write it again"
            )
        cause = next((text for said, text in _CAUSES.items() if message.startswith(said)), message)
        line = getattr(error, "lineno", 1) + self._lines
        return ScalebookError(
            f"{self._where}: line {line:,} is not valid JSON: {cause}; its writer is at fault: "
            "mend the line, or export the trace with another version"
        )


def _at_end(error: ValueError) -> bool:
    """Whether a parser found a fault at the end only: more would have to follow."""
    text, place = getattr(error, "doc", ""), getattr(error, "pos", 0)
    unfinished = str(getattr(error, "msg", "")).startswith("Unterminated string")
    return unfinished or place >= len(text.rstrip()) - _END


def _opens(head: bytes | bytearray) -> bool:
    """Whether the events of the document itself begin here: closed at once, it is valid JSON."""
    try:
        document = orjson.loads(head + b"]}")
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and document.get("traceEvents") == []


def _first_events(buffer: bytearray) -> tuple[list[Any], int] | None:
    """Events up to the last place to cut, and where the next one begins; None for no place."""
    for end, following in _cuts(buffer):
        try:
            return _loads(b"[" + buffer[:end] + b"]"), following
        except (ValueError, RecursionError):
            continue
    return None


def _cuts(buffer: bytearray) -> Iterator[tuple[int, int]]:
    """Ends of objects behind which another may begin, with its start; the last ones first."""
    size = tried = 0
    high = len(buffer)
    while size < len(buffer):
        # Wider and wider windows, from the end.
        size = min(len(buffer), max(1 << 12, 16 * size))
        low = len(buffer) - size
        cuts = [
            (low + match.start() + 1, low + match.end())
            for match in _BETWEEN.finditer(bytes(buffer[low:]))
            if low + match.start() < high
        ]
        for cut in reversed(cuts):
            yield cut
            tried += 1
            if tried == _TRIES:
                return
        high = low


def _loads(data: bytes | bytearray) -> Any:
    """Parse JSON; NaN, names that are not UTF-8 and lone surrogates are read the slow way."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if error.pos >= len(data) - 2 and error.pos > 0:
            raise
    return json.loads(data.decode("utf-8", errors="replace"))
