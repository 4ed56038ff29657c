"""A binary stream of any size, cut out of memory, whose digest is known before its first byte."""

import hashlib
from collections.abc import Iterator
from threading import Lock

MAX_CHUNK = 1 << 20

# All content is the beginning of one endless sequence: this pattern, again and again. Its length is a prime, so chunks
# that follow each other differ, and a chunk that is lost, repeated or misplaced changes the digest. It can't be
# compressed, so what is measured is the path and not a compressor.
_PERIOD = 65_537
_PATTERN = hashlib.shake_128(b"django-streaming-kubernetes").digest(_PERIOD)
_CONTENT = (_PATTERN * (MAX_CHUNK // _PERIOD + 2))[: _PERIOD + MAX_CHUNK]

# _states[n] has digested the first n steps of the sequence. No byte is digested twice in a process, but for less than
# one step for each request: a first GiB takes about a second, and from then on any size takes a millisecond.
_STEP = MAX_CHUNK
_states = [hashlib.sha256()]
_lock = Lock()


def binary_chunks(*, size: int, chunk_bytes: int) -> Iterator[bytes]:
    """Yield that many bytes in chunks of one size; the last may be smaller.

    Args:
        size: bytes in all.
        chunk_bytes: bytes of each chunk, at most 1 MiB.
    """
    for start in range(0, size, chunk_bytes):
        yield _content(start, min(chunk_bytes, size - start))


def binary_promise(size: int) -> str:
    """Tell before the first byte what `binary_chunks` will yield, for the header X-Stream-Promise."""
    steps, rest = divmod(size, _STEP)
    with _lock:
        while len(_states) <= steps:
            state = _states[-1].copy()
            state.update(_content((len(_states) - 1) * _STEP, _STEP))
            _states.append(state)
        state = _states[steps].copy()
    state.update(_content(steps * _STEP, rest))
    return f"bytes={size}, sha256={state.hexdigest()}"


def _content(start: int, length: int) -> bytes:
    offset = start % _PERIOD
    return _CONTENT[offset : offset + length]
