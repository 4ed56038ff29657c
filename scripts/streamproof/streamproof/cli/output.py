"""What commands print and write, and the status they end with."""

import contextlib
import errno
import os
import secrets
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import click
from rich.console import Console

from streamproof.judge import overall
from streamproof.observation import Observation
from streamproof.page import as_html
from streamproof.report import as_json, as_text
from streamproof.run import Run

STATUS = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 2}
WRONG_USAGE = 3
FAULT = 4
INTERRUPTED = 130

EXIT_STATUS = (
    "Exit status: 0 all that was asked passed, 1 something failed, 2 could not tell (or nothing came back), "
    "3 wrong usage, 4 a fault of streamproof or of its output."
)


@dataclass(frozen=True)
class Output:
    """Where the answers go.

    Attributes:
        json: print one JSON object instead of text.
        html: file for a page, or None.
        save: file for what was observed, or None.
    """

    json: bool
    html: Path | None = None
    save: Path | None = None

    def check(self) -> None:
        """Find out whether the files can be written: before the network is asked, which may take a minute.

        Raises:
            click.UsageError: that is not so.
        """
        if self.save is not None:
            _check_writable(self.save)
        if self.html is not None:
            _replace(self.html, None)

    def report(self, run: Run) -> int:
        """Write a run and what it comes to, and return the exit status."""
        if self.save is not None:
            try:
                run.save(self.save)
            except OSError as error:
                raise cannot("write", self.save, error) from error
        verdicts = run.verdicts()
        # One for each way in which the stream was asked for: ten at once look alike, and a short request is none.
        by_role = {one.role: one for one in reversed(run.observations) if not one.role.startswith("short")}
        drawn = [(one.role, one) for one in run.observations if by_role.get(one.role) is one]
        streams = [(role, one) for role, one in drawn if role in ("stream", "stalled")] or drawn[:1]
        if self.json:
            print_any(as_json(run.observations, verdicts))
        else:
            print_text(lambda **style: as_text(streams, verdicts, **style))
        if self.html is not None:
            _replace(self.html, as_html(drawn, verdicts))
        return STATUS[overall(verdicts)]

    def report_nothing(self, observations: Sequence[Observation]) -> None:
        """Write as JSON, where that is wanted, what was tried when no connection came about."""
        if self.json and observations:
            print_any(as_json(observations, ()))


class _Writer(Protocol):
    def __call__(self, *, width: int = ..., colour: bool = ...) -> str: ...


def print_text(write: _Writer) -> None:
    """Print a text for people: as wide as the terminal and in its colours, if it is one."""
    if sys.stdout.isatty():
        terminal = Console()
        print_any(write(width=terminal.width, colour=terminal.color_system is not None and not terminal.no_color))
    else:
        print_any(write())


def print_any(text: str) -> None:
    """Print, whatever the encoding: what it cannot express is escaped."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        click.echo(text.encode(encoding, "backslashreplace").decode(encoding))
    except OSError as error:
        # Python writes what is left when it ends, and would complain again.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # whoever closed it wants no more
            raise Fault(f"cannot write to standard output: {error.strerror or error}") from error


class Fault(click.ClickException):
    """Something that is no fault of the stream or of the usage, such as a full disk."""


def cannot(what: str, path: Path, error: OSError) -> click.ClickException:
    """Make the error that says what cannot be done with a file, and why."""
    kind = Fault if what == "write" else click.UsageError
    return kind(f"cannot {what} {path}: {error.strerror or error}")


def _check_writable(path: Path) -> None:
    existed = path.exists()
    try:
        with path.open("ab"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise cannot("write", path, error) from error


def _replace(path: Path, content: str | None) -> None:
    """Write a file, which is there whole or as it was; without content only find out whether that can be done."""
    # A link stays one.
    target = Path(os.path.realpath(path))
    # Nobody can put a link there first: the name cannot be guessed, and what is there is not opened.
    temporary = target.with_name(f".{target.name[:64]}.{secrets.token_hex(8)}")
    try:
        if _is_planted(path):
            raise OSError(errno.EACCES, "it is a link of somebody else's")
        if target.exists() and not target.is_file():
            raise OSError(errno.EINVAL, "it is not a regular file")
        try:
            with temporary.open("x", encoding="utf-8") as file:
                file.write(content or "")
            if content is not None:
                temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot("write", path, error) from error


def _is_planted(path: Path) -> bool:
    """Tell a link that somebody else has put into a folder of everybody's, as proc(5) has it (protected_symlinks)."""
    if not path.is_symlink():
        return False
    folder, link = path.parent.stat(), path.lstat()
    shared = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
    return bool(shared) and link.st_uid not in (os.geteuid(), folder.st_uid)
