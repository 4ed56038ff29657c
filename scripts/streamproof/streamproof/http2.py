"""HTTP/2, from time-stamped bytes to an observation. No socket here either."""

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from streamproof.record import Recorder
from streamproof.request import Request

# RFC 9113 section 6.5.2: what a peer may send before it has heard of anything else, and here ever.
_MAX_FRAME = 16384
_FRAME_HEADER = 9
_DATA, _GOAWAY = 0, 7
# How much the server may send ahead of what was read: enough for a fast path, little beside what a stall is to show.
_WINDOW = 1 << 20
_STREAM = 1
# What belongs to a connection and so, in HTTP/1.1, to the Host header (RFC 9113 section 8.3.1).
_HOST = b"host"


class Http2Recorder(Recorder):
    """Records a response to an HTTP/2 request, the only one on its connection.

    Frames are handed to h2 one by one: it forgets what it has understood of a read if an invalid frame follows in it,
    and takes nothing more after a GOAWAY, which servers also send to say that this request will be the last.
    """

    def __init__(self, request: Request) -> None:
        """Begin with the request, of an https URL.

        Raises:
            h2.exceptions.ProtocolError: it cannot be written as HTTP/2.
            UnicodeError: a header cannot be encoded.
        """
        super().__init__(request, "HTTP/2")
        self._pending = bytearray()
        self._goaway: str | None = None
        # h2 would leave out what does not belong into HTTP/2, such as Connection, without a word.
        config = h2.config.H2Configuration(client_side=True, header_encoding=None, normalize_outbound_headers=False)
        self._connection = h2.connection.H2Connection(config)
        self._connection.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
                h2.settings.SettingCodes.MAX_FRAME_SIZE: _MAX_FRAME,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 64 << 10,
            },
        )
        self._connection.initiate_connection()
        self._connection.increment_flow_control_window(_WINDOW - self._connection.inbound_flow_control_window)
        sent = [(name.lower(), value) for name, value in request.fields()]
        pseudo = [(b":method", request.method.encode("ascii")), (b":scheme", b"https")]
        pseudo += [(b":authority", dict(sent)[_HOST]), (b":path", request.target.path.encode("ascii"))]
        fields = [(name, value) for name, value in sent if name != _HOST]
        self._unsent = request.body or b""
        self._connection.send_headers(_STREAM, pseudo + fields, end_stream=not self._unsent)
        self.output = self.to_send()

    def to_send(self) -> bytes:
        """Return acknowledgements, window updates for what was read, and what the server has room for of the body."""
        while self._unsent and self.ended is None:
            room = min(self._connection.local_flow_control_window(_STREAM), self._connection.max_outbound_frame_size)
            if room <= 0:
                break
            piece, self._unsent = self._unsent[:room], self._unsent[room:]
            self._connection.send_data(_STREAM, piece, end_stream=not self._unsent)
        return self._connection.data_to_send()

    def closed(self, at: float) -> None:
        """Take the end of the connection (EOF): nothing but END_STREAM ends a response in HTTP/2."""
        where = "before the end" if self._status else "before a response came"
        self._end("truncated", at, self._goaway or f"the connection was closed {where}")

    def _take(self, data: bytes, at: float) -> None:
        self._brought = False
        self._pending += data
        while self.ended is None and len(self._pending) >= _FRAME_HEADER:
            length = int.from_bytes(self._pending[:3], "big")
            if length > _MAX_FRAME:  # RFC 9113 section 4.2
                self._end("protocol_error", at, f"a frame of {length} bytes, of at most {_MAX_FRAME} allowed")
                return
            end = _FRAME_HEADER + length
            if len(self._pending) < end:
                self._brought |= self._pending[3] == _DATA
                return
            frame = bytes(self._pending[:end])
            del self._pending[:end]
            if frame[3] == _GOAWAY and length >= 8:
                self._take_goaway(frame[_FRAME_HEADER:], at)
            else:
                self._take_frame(frame, at)

    def _take_goaway(self, payload: bytes, at: float) -> None:
        # RFC 9113 section 6.8: streams up to the given one go on to their end.
        code = int.from_bytes(payload[4:8], "big")
        self._goaway = f"the server ended the connection by GOAWAY, {_name(code)}"
        if int.from_bytes(payload[:4], "big") & 0x7FFFFFFF < _STREAM:
            self._end("truncated", at, self._goaway)

    def _take_frame(self, frame: bytes, at: float) -> None:
        try:
            events = self._connection.receive_data(frame)
        except h2.exceptions.ProtocolError as error:
            self._end("protocol_error", at, str(error) or type(error).__name__)
            return
        for event in events:
            if isinstance(event, h2.events.ResponseReceived):
                self._take_response(event, at)
            elif isinstance(event, h2.events.DataReceived):
                self._brought = True
                self._take_body(event.data, at)
                self._connection.acknowledge_received_data(event.flow_controlled_length, _STREAM)
            elif isinstance(event, h2.events.StreamEnded):
                self._end("terminated", at)
            elif isinstance(event, h2.events.StreamReset):
                self._end("truncated", at, f"the server reset the stream, {_name(int(event.error_code or 0))}")

    def _take_response(self, event: h2.events.ResponseReceived, at: float) -> None:
        fields = [(bytes(name), bytes(value)) for name, value in event.headers]
        status = dict(fields).get(b":status", b"")
        if len(status) != 3 or not status.isdigit():
            self._end("protocol_error", at, f"the status is {status.decode('latin-1')!r}")
            return
        self._brought = True
        headers = [(name, value) for name, value in fields if not name.startswith(b":")]
        self._take_header("2", int(status), "", headers, at)


def _name(code: int) -> str:
    """Name an error code (RFC 9113 section 7)."""
    try:
        return h2.errors.ErrorCodes(code).name
    except ValueError:
        return f"error code {code}"
