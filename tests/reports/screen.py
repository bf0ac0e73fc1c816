"""A pseudo-terminal, and as much of a screen as it takes to see what a person would see there."""

import contextlib
import fcntl
import os
import re
import struct
import termios
import threading
import unicodedata
from types import TracebackType

_MARKER = b"\x00shown\x00"
_CODE = re.compile(rb"\x1b\[(\??[0-9;]*)([A-Za-z])")


class Pty:
    """A pseudo-terminal that is read all the time; `fd` is the end that programs write to."""

    def __init__(self, columns: int = 80) -> None:
        self._master, self.fd = os.openpty()
        self._read = bytearray()
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._keep_reading)
        self._reader.start()
        self.resize(columns)

    def resize(self, columns: int) -> None:
        self._columns = columns
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def written(self) -> bytes:
        """Return all that has been written until now."""
        # The kernel hands on what was written in its own time; the marker comes last.
        os.write(self.fd, _MARKER)
        with self._changed:
            self._changed.wait_for(lambda: _MARKER in self._read)
            self._read = self._read.replace(_MARKER, b"")
            return bytes(self._read)

    def screen(self) -> "Screen":
        """Return what stands on the screen now."""
        return Screen(self.written(), self._columns)

    def _keep_reading(self) -> None:
        # Reading fails when the other end has been closed.
        with contextlib.suppress(OSError):
            while True:
                data = os.read(self._master, 65536)
                with self._changed:
                    self._read += data
                    self._changed.notify_all()

    def __enter__(self) -> "Pty":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.fd)
        self._reader.join()
        os.close(self._master)


class Screen:
    """What a terminal shows that has got `data`: as many rows as needed.

    Attributes:
        rows: The text of each row, without blanks at its end.
        plain: Whether colours are off, the cursor is shown and long lines are wrapped.
        column: Where the cursor stands in the last row.
    """

    def __init__(self, data: bytes, columns: int) -> None:
        self._columns = columns
        self._cells: list[list[str]] = [[]]
        self._modes: set[str] = set()
        self._wraps = True
        self.column = 0
        end = 0
        for code in _CODE.finditer(data):
            self._type(data[end : code.start()].decode(errors="replace"))
            self._obey(code[1].decode(), code[2].decode())
            end = code.end()
        self._type(data[end:].decode(errors="replace"))

    @property
    def rows(self) -> list[str]:
        return ["".join(row).rstrip() for row in self._cells]

    @property
    def plain(self) -> bool:
        return not self._modes and self._wraps

    def _type(self, text: str) -> None:
        for char in text:
            if char == "\r":
                self.column = 0
            elif char == "\n":
                self._cells.append([])
            else:
                self._draw(char)

    def _draw(self, char: str) -> None:
        wide = 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if self.column + wide > self._columns:
            if self._wraps:
                self._cells.append([])
                self.column = 0
            else:
                self.column = max(0, self._columns - wide)
        row = self._cells[-1]
        row += [" "] * (self.column - len(row))
        row[self.column : self.column + wide] = [char, ""][:wide]
        self.column += wide

    def _obey(self, argument: str, code: str) -> None:
        if code == "K":
            del self._cells[-1][self.column :]
        elif code == "m":
            self._modes = set() if argument in ("", "0") else {*self._modes, "colour"}
        elif argument == "?7":
            self._wraps = code == "h"
        elif argument == "?25":
            self._modes = self._modes - {"hidden"} if code == "h" else {*self._modes, "hidden"}
        else:
            raise AssertionError(f"unexpected escape code {argument}{code}")
