"""A system that allows no more threads, as it would when the limit of processes is reached."""

import threading

import pytest


def allow_threads(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Let the system refuse all threads beyond `most`, in the way in which it does."""
    start = threading.Thread.start
    begun: list[threading.Thread] = []

    def limited(thread: threading.Thread) -> None:
        if len(begun) >= most:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
