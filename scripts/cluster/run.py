"""Running other programs: a step is said, its output goes to a log, and a failure is a sentence with its evidence."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

ROOT = Path(__file__).resolve().parents[2]
# Outside the checkout, so that a fresh clone starts warm; `make clean` removes it.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "django-streaming-kubernetes"

_PROGRESS_SECONDS = 15
_TAIL_LINES = 15


class Trouble(Exception):
    """What went wrong and what to do about it, in a sentence that a user can act on."""


def say(line: str) -> None:
    """Print one line of progress to standard error, so that standard output stays the result."""
    print(line, file=sys.stderr, flush=True)


def output(*args: str | Path, stdin: str | None = None, timeout: float = 120) -> str:
    """Return what a short command prints, stripped.

    Args:
        args: the program and its arguments.
        stdin: text for its standard input.
        timeout: seconds after which it is killed.

    Raises:
        Trouble: it cannot be started, does not end in time or exits with another status than 0.
    """
    command = " ".join(str(arg) for arg in args[:4])
    try:
        done = subprocess.run(args, input=stdin, capture_output=True, text=True, timeout=timeout)
    except OSError as error:
        raise Trouble(f"{args[0]} could not be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"{command} … did not answer within {timeout:.0f} s") from error
    if done.returncode != 0:
        raise Trouble(f"{command} … failed: {(done.stderr or done.stdout).strip() or f'status {done.returncode}'}")
    return done.stdout.strip()


def succeeds(*args: str | Path, timeout: float = 120) -> bool:
    """Tell whether a short command exits with status 0 (arguments as for `output`)."""
    try:
        output(*args, timeout=timeout)
    except Trouble:
        return False
    return True


def step(title: str, *args: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None, log: str = "") -> None:
    """Run a command that may take long: say what it is for, that it goes on, and how long it took.

    Args:
        title: what the step does, for the user.
        args: the program and its arguments.
        cwd: the folder to run in.
        env: variables to set beside the caller's.
        log: name of the log file below the cache, made of the title when not given.

    Raises:
        Trouble: the command failed; carries the last lines that it printed and the path of the whole log.
    """
    path = CACHE / "logs" / f"{log or title.lower().replace(' ', '-').replace('/', '-')}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    say(f" • {title} …")
    with path.open("w") as file:
        try:
            process = subprocess.Popen(
                args, cwd=cwd, env=os.environ | dict(env or {}), stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )
        except OSError as error:
            raise Trouble(f"{args[0]} could not be started: {error.strerror}") from error
        try:
            _wait(process, title, path, started)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if process.returncode != 0:
        raise Trouble(f"{title}: failed (whole log: {path}). Its last lines:\n{_tail(path, _TAIL_LINES)}")
    say(f" ✓ {title} ({time.monotonic() - started:.0f} s)")


def _wait(process: subprocess.Popen[bytes], title: str, log: Path, started: float) -> None:
    while True:
        try:
            process.wait(_PROGRESS_SECONDS)
            return
        except subprocess.TimeoutExpired:
            say(f"   {title}: {time.monotonic() - started:.0f} s so far  {_tail(log, 1).strip()[:90]}")


def _tail(path: Path, lines: int) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def main(command: click.Command, interrupted: str, *troubles: type[Exception]) -> None:
    """Run a command, and end the process with one sentence and a status where it fails.

    Args:
        command: what click made of it.
        interrupted: what to say after Ctrl-C.
        troubles: errors whose message is a sentence for the user, beside Trouble.
    """
    import click  # here, because `make clean` runs without the packages of .venv

    sentences: tuple[type[Exception], ...] = (Trouble, *troubles)
    try:
        command.main(standalone_mode=False)
    except sentences as error:
        sys.exit(f"error: {error}")
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        say(f"\ninterrupted: {interrupted}")
        sys.exit(130)
