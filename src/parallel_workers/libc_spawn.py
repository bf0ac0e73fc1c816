"""Starting a process while other threads go on: `os.posix_spawn` without the interpreter's lock.

`os.posix_spawn` keeps the lock until the new program has replaced the child, which is a quarter of
all that a short command takes; a worker whose own child has ended meanwhile stands still. Called
through ctypes, the same function of the C library lets the lock go.

What is handed over are opaque structures, which differ between C libraries in size (and are all
well below `_ROOM`), and constants that do not differ among those known here.
"""

import ctypes
import os
from collections.abc import Sequence
from typing import TypeAlias

from parallel_workers.spawning import LOG_FLAGS, LOG_MODE, RESET, Environment

_Array: TypeAlias = ctypes.Array[ctypes.c_char_p]

_ROOM = 512
_POINTER = ctypes.sizeof(ctypes.c_char_p)
_SETSIGDEF = 0x04
_SETSID = 0x80

# With the lock: these only fill in structures, for which nobody has to wait.
_fill = ctypes.PyDLL(None)
_posix_spawn = ctypes.CDLL(None).posix_spawn
_posix_spawn.argtypes = [
    ctypes.POINTER(ctypes.c_int),
    ctypes.c_char_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
]


class LibcStarter:
    """Starts processes as sessions of their own; on Linux only.

    Args:
        null: A file descriptor that they get as standard input.
        passed: Other file descriptors that they get, under the same numbers.
    """

    def __init__(self, null: int, passed: Sequence[int] = ()) -> None:
        self._null = null
        self._passed = passed
        self._base: Environment = {}
        self._base_block = _array([])
        self._attributes = ctypes.create_string_buffer(_ROOM)
        signals = ctypes.create_string_buffer(_ROOM)
        _fill.sigemptyset(signals)
        for signum in RESET:
            _fill.sigaddset(signals, int(signum))
        _fill.posix_spawnattr_init(self._attributes)
        _fill.posix_spawnattr_setsigdefault(self._attributes, signals)
        _fill.posix_spawnattr_setflags(self._attributes, ctypes.c_short(_SETSIGDEF | _SETSID))

    def __call__(
        self, program: str, words: tuple[str, ...], base: Environment, own: Environment, log: str
    ) -> int:
        """Start a process; as `Starter` has it."""
        actions = ctypes.create_string_buffer(_ROOM)
        path = os.fsencode(log)
        _fill.posix_spawn_file_actions_init(actions)
        try:
            pid = ctypes.c_int()
            error = (
                _fill.posix_spawn_file_actions_adddup2(actions, self._null, 0)
                or _fill.posix_spawn_file_actions_addopen(actions, 1, path, LOG_FLAGS, LOG_MODE)
                or _fill.posix_spawn_file_actions_adddup2(actions, 1, 2)
                or self._pass_on(actions)
            ) or _posix_spawn(
                pid,
                os.fsencode(program),
                actions,
                self._attributes,
                _array([os.fsencode(word) for word in words]),
                self._block(base, own),
            )
        finally:
            _fill.posix_spawn_file_actions_destroy(actions)
        if error:
            raise OSError(error, os.strerror(error))
        return pid.value

    def _pass_on(self, actions: ctypes.Array[ctypes.c_char]) -> int:
        """Let the program inherit what it is to get; return the number of an error, or 0."""
        add = _fill.posix_spawn_file_actions_adddup2
        return next(filter(None, (add(actions, fd, fd) for fd in self._passed)), 0)

    def _block(self, base: Environment, own: Environment) -> _Array:
        """Return an environment as C has it; what is shared is put together once."""
        if any(name in base for name in own):
            return _array(_lines({**base, **own}))
        if base is not self._base:
            self._base_block = _array(_lines(base))
            self._base = base
        shared = len(base)
        block = (ctypes.c_char_p * (shared + len(own) + 1))()
        ctypes.memmove(block, self._base_block, shared * _POINTER)
        for place, line in enumerate(_lines(own), shared):
            block[place] = line
        return block


def _lines(env: Environment) -> list[bytes]:
    return [b"%b=%b" % item for item in env.items()]


def _array(texts: list[bytes]) -> _Array:
    """Return texts as C has a list of them: with a null pointer at its end."""
    return (ctypes.c_char_p * (len(texts) + 1))(*texts)
