"""What every stream gets, whatever view it comes from: a slot, a time limit, an honest end, log lines and metrics."""

from streams.marks import streaming
from streams.registry import StreamStopped, pause

__all__ = ["StreamStopped", "pause", "streaming"]
