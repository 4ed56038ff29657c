"""`python -m local_edge`: verify the measuring stream through a real nginx, without a cluster, in seconds.

Exit status: the verifier's, 0 passed, 1 failed, 2 could not tell; 2 also when a server does not start.
"""

import signal
import subprocess
import sys
import time
from types import FrameType

from local_edge.edge import LocalEdge, StartFailed

_STREAM = "/measure?rows=12&delay_ms=250"
_COULD_NOT_TELL = 2


def main() -> int:
    """Start the two servers, run the verifier on a stream through them, stop them, and return its exit status."""
    started = time.monotonic()
    _say("starting gunicorn with the app, and nginx in front of it with the directives that ingress-nginx renders …")
    try:
        with LocalEdge() as edge:
            _say(f"up after {time.monotonic() - started:.1f} s: gunicorn at {edge.app_url}, nginx at {edge.url}")
            url = edge.url + _STREAM
            _say(f"verifying {url}, twelve rows produced 250 ms apart …")
            status = subprocess.run([sys.executable, "-m", "streamproof", "verify", url]).returncode
    except StartFailed as failure:
        _say(str(failure))
        return _COULD_NOT_TELL
    _say(f"gunicorn and nginx are stopped, {time.monotonic() - started:.1f} s in all")
    return status


def _say(line: str) -> None:
    print(f"local edge: {line}", file=sys.stderr, flush=True)


def _terminated(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    # By default this signal would end us without a chance to stop the servers.
    signal.signal(signal.SIGTERM, _terminated)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        _say("interrupted; gunicorn and nginx are stopped")
        sys.exit(130)
