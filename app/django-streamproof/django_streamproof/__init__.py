"""What every stream gets, whatever view it comes from: a slot, a time limit, an honest end, log lines and metrics."""

from django_streamproof.marks import streaming
from django_streamproof.registry import StreamStopped, pause

__version__ = "0.1.0"
__all__ = ["StreamStopped", "pause", "streaming"]
