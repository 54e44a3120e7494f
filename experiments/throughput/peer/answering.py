"""The peer's side of the pipe: a line of JSON in, a line of JSON out.

The questions are "prepare", whose answer is what the peer computes and is; "measure", the seconds
of a call among others in a row; and "memory".
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[[], Any]

TURN = 0.2
"""Seconds of calls in a row."""


def answer_all(prepare: Callable[..., tuple[Run, dict[str, Any]]]) -> None:
    """Answer every line of standard input until it ends.

    Args:
      prepare: from what the question holds, arrays included, to a call that is to be timed, which
        returns when its result is there, and what to say about it.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    run: Run = tuple
    for line in sys.stdin:
        question = json.loads(line)
        do = question.pop("do")
        answer: dict[str, Any] = {}
        try:
            if do == "prepare":
                arrays = dict(np.load(question.pop("given")))
                run, answer = prepare(arrays, **question)
            elif do == "measure":
                answer["seconds"] = in_a_row(run)
            elif do == "memory":
                answer["peak_bytes"] = peak_bytes()
            else:
                raise ValueError(f"asked to {do!r}; want prepare, measure or memory")
        except Exception as error:  # the other side puts it into its row
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def in_a_row(run: Run, turn: float = TURN) -> float:
    """Seconds of one call among calls in a row, as in the evaluation of a data set.

    The first call finds the caches full of what another process did. It counts only where it alone
    takes the whole turn.
    """
    begun = time.perf_counter()
    run()
    first = time.perf_counter() - begun
    if first >= turn:
        return first
    begun, count = time.perf_counter(), 0
    while True:
        run()
        count, took = count + 1, time.perf_counter() - begun
        if took >= turn:
            return took / count


def peak_bytes() -> int | None:
    """The most that this process held so far, or None where the system does not say.

    Not `getrusage`: its figure begins with what the process had that started this one.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    lines = status.read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def versions(*packages: str) -> dict[str, str]:
    return {package: metadata.version(package) for package in packages}
