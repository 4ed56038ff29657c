"""What every stream gets, whatever view it comes from: a slot, a time limit, an honest end, log lines and metrics."""

from django_streamproof import support

support.check_versions()

from django_streamproof.marks import streaming  # noqa: E402
from django_streamproof.registry import StreamStopped, pause  # noqa: E402

__version__ = "0.1.0"
__all__ = ["StreamStopped", "pause", "streaming"]
