"""streamproof: tells whether an HTTP stream survives the path from app to client.

Two steps, kept apart: `observe` reads a response and time-stamps every read; `judge` turns what was observed into
verdicts and knows nothing of sockets.

    from streamproof.judge import judge, overall
    from streamproof.observe import observe
    from streamproof.request import Request

    verdicts = judge(observe(Request("http://127.0.0.1:8000/stream", timeout=10)))
    assert overall(verdicts) == "PASS", verdicts
"""

__version__ = "0.1.0"
