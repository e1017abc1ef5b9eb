"""A file of measurements, a JSON object per line, to which a run of several days is added.

A measurement is found again by what was measured, so a script that was stopped skips what it has.
"""

import fcntl
import json
from pathlib import Path
from typing import Any

KEYS = {"what", "found", "about"}


class Records:
    """Measurements in a file, which several processes may extend.

    Args:
        path: of the file; it is made with the first measurement.

    Raises:
        ValueError: a whole line is damaged. A last line without an end is not whole: its process
            was killed, and the next measurement replaces it.
    """

    def __init__(self, path: Path):
        self.path = path
        self.lines: dict[str, dict[str, Any]] = {}
        self._read()

    def _read(self) -> None:
        text = self.path.read_bytes() if self.path.exists() else b""
        for number, line in enumerate(text.split(b"\n")[:-1], 1):
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if not isinstance(record, dict) or record.keys() != KEYS:
                raise ValueError(
                    f"{self.path}:{number}: expected a JSON object with {', '.join(sorted(KEYS))}, "
                    f"got {line[:40]!r}"
                )
            self.lines[_key(record["what"])] = record

    def get(self, what: dict[str, Any]) -> dict[str, Any] | None:
        """Return the record of what was measured (dict), None if there is none."""
        return self.lines.get(_key(what))

    def add(self, what: dict[str, Any], found: dict[str, Any], about: dict[str, Any]) -> None:
        """Append a measurement.

        Args:
            what (dict): what was measured.
            found (dict): the result.
            about (dict): circumstances by which it is not found again.
        """
        record = {"what": what, "found": found, "about": about}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)  # without the line of a killed process
            file.write(json.dumps(record).encode() + b"\n")
        self.lines[_key(what)] = record


def _key(what: dict[str, Any]) -> str:
    return json.dumps(what, sort_keys=True)
