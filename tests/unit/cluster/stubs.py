"""Programs that stand in for docker, kubectl and others: each answers as it is told, and notes what it was asked."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path


def stub(folder: Path, name: str, answers: Mapping[str, str | Exception]) -> Path:
    """Write a program, and return the file in which it notes its arguments, a line for each call.

    Args:
        folder: to be put on PATH.
        name: of the program.
        answers: what it prints by a shell pattern of its arguments, the first that fits; an exception for a failure
            with that message. It fails where nothing fits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    log.touch()
    cases = ""
    for pattern, answer in answers.items():
        text = shlex.quote(str(answer))
        does = (
            f"echo {text} >&2; exit 1" if isinstance(answer, Exception) else f"printf '%s\\n' {text}" if answer else ":"
        )
        quoted = "*".join(shlex.quote(part) if part else "" for part in pattern.split("*"))
        cases += f"{quoted}) {does} ;;\n"
    program = folder / name
    program.write_text(
        f'#!/bin/sh\necho "$*" >> {shlex.quote(str(log))}\ncase "$*" in\n{cases}'
        f'*) echo "{name} was not told what to answer to: $*" >&2; exit 1 ;;\nesac\n'
    )
    program.chmod(0o755)
    return log
