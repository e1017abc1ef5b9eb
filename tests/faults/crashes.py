"""The states of a folder that a kill or a power loss at any moment can leave.

A killed process leaves what it has handed to the system so far. A power loss leaves what was
flushed to the disk, and of the rest any part: here the new, removed or replaced names in a folder
are on the disk at once or when the folder is flushed, and the content of a file when it is flushed.
"""

import os
import stat
import sys
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path

State = dict[str, bytes | None]  # by path: the content of a file, None for a folder

LATE, AT_ONCE, REMOVED, REPLACED = "late", "at once", "removed at once", "replaced at once"
MODES = (LATE, AT_ONCE, REMOVED, REPLACED)


def read_state(folder: Path) -> State:
    """Return the content of a folder."""
    found: State = {}
    for path in sorted(folder.rglob("*")):
        with suppress(FileNotFoundError):
            found[path.relative_to(folder).as_posix()] = (
                None if path.is_dir() else path.read_bytes()
            )
    return found


def write_state(state: State, folder: Path) -> None:
    """Write a state into a new folder."""
    folder.mkdir(parents=True)
    for name, content in sorted(state.items()):
        if content is None:
            (folder / name).mkdir(parents=True, exist_ok=True)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


def states_of_kills(work, folder, modules):
    """Return the distinct states of a folder at each line of some modules that `work()` runs."""
    files, states = {module.__file__ for module in modules}, [read_state(folder)]
    before = sys.gettrace()

    def trace(frame, event, _):
        if frame.f_code.co_filename not in files:
            return None
        if event == "line" and (state := read_state(folder)) != states[-1]:
            states.append(state)
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    if (state := read_state(folder)) != states[-1]:
        states.append(state)
    return states


def torn_writes(states):
    """Yield each state and, for each file that has grown since the state before, shorter ones."""
    for before, after in zip([states[0], *states], states, strict=False):
        yield after
        for name, content in after.items():
            old = before.get(name)
            if content and isinstance(old, bytes) and content.startswith(old):
                for size in {len(old) + 1, (len(old) + len(content)) // 2, len(content) - 1}:
                    if len(old) < size < len(content):
                        yield after | {name: content[:size]}


class Disk:
    """A disk that keeps what was flushed to it.

    Args:
        folder (path): all of its content at first is on the disk.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.opened: dict[int, int] = {}  # by inode, so that no number is used again
        self.names: dict[int, dict[str, int]] = {}  # of a folder, on the disk
        self.content: dict[int, bytes] = {}  # of a file, on the disk
        self.states: list[State] = []
        self.last: list[State] = []
        for path in [folder, *folder.rglob("*")]:
            self._flushed(os.open(path, os.O_RDONLY))
        self.root = folder.stat().st_ino

    @contextmanager
    def watched(self, patch):
        """Record the possible states around each flush, rename and removal in a `with` block."""
        for name in ("fsync", "replace", "rename", "unlink", "rmdir"):
            patch.setattr(os, name, self._recording(getattr(os, name), name == "fsync"))
        try:
            yield self
            self.record()
        finally:
            patch.undo()
            for opened in self.opened.values():
                os.close(opened)

    def _recording(self, function, is_flush):
        def call(*arguments, **options):
            self.record()
            if is_flush:
                self._flushed(os.dup(arguments[0]))
            else:
                function(*arguments, **options)
            self.record()

        return call

    def _flushed(self, opened):
        inode = os.fstat(opened).st_ino
        if inode in self.opened:
            os.close(opened)
        self.opened.setdefault(inode, opened)
        with suppress(IsADirectoryError):
            self.content[inode] = self._bytes(inode)
            return
        self.names[inode] = self._listed(inode)

    def _bytes(self, inode):
        """Return the content of an open file, also of one that was removed."""
        opened = self.opened[inode]
        return os.pread(opened, os.fstat(opened).st_size, 0)

    def _listed(self, inode):
        """Return the names in an open folder now, also of one that was removed."""
        listed = {}
        for name in os.listdir(self.opened[inode]):  # noqa: PTH208
            opened = os.open(name, os.O_RDONLY, dir_fd=self.opened[inode])
            listed[name] = os.fstat(opened).st_ino
            if listed[name] in self.opened:
                os.close(opened)
            self.opened.setdefault(listed[name], opened)
        return listed

    def record(self):
        """Add the possible states of the disk now to `states`; `last` has all of them."""
        self.last = []
        for modes in product(MODES, MODES):
            state: State = {}
            self._build(self.root, "", modes, state)
            if state not in self.last:
                self.last.append(state)
        self.states += [state for state in self.last if state not in self.states[-50:]]

    def _build(self, inode, prefix, modes, state):
        now, flushed = self._listed(inode), self.names.get(inode, {})
        mode = modes[bool(prefix)]
        names = now if mode == AT_ONCE else flushed
        if mode == REMOVED:
            names = {name: each for name, each in flushed.items() if name in now}
        elif mode == REPLACED:
            names = {name: now.get(name, each) for name, each in flushed.items()}
        for name, each in names.items():
            is_folder = stat.S_ISDIR(os.fstat(self.opened[each]).st_mode)
            state[prefix + name] = None if is_folder else self.content.get(each, b"")
            if is_folder:
                self._build(each, f"{prefix}{name}/", modes, state)
