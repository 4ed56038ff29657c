"""Marks views that stream."""

from collections.abc import Callable
from typing import Any, TypeVar

from django_streamproof.registry import Mark

View = TypeVar("View", bound=Callable[..., Any])


def streaming(*, limit: int | None = None, seconds: float | None = None) -> Callable[[View], View]:
    """Mark a view that streams, or that costs as much: it gets its slot before it runs, or is not run at all.

    Before every middleware that comes after `django_streamproof.middleware.bounded`, and before a transaction by
    ATOMIC_REQUESTS. A view without the mark has done its work, such as writing rows, when its stream is refused. The
    slot is kept until the response is sent, also one in a single piece. For a class,
    `method_decorator(streaming(), name="dispatch")`.

    Args:
        limit: how many of this view's responses a worker may have open, within its STREAMS_PER_WORKER; None for all.
        seconds: how long its stream may last; None for STREAM_SECONDS.

    Raises:
        ValueError: one of them is less than 1.
    """
    for name, value in (("limit", limit), ("seconds", seconds)):
        if value is not None and value < 1:
            raise ValueError(f"streaming({name}={value!r}): {name} must be at least 1, or left out.")
    mark = Mark(limit, seconds)

    def decorate(view: View) -> View:
        view.streams_mark = mark  # type: ignore[attr-defined]
        return view

    return decorate
