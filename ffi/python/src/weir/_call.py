"""A call through a proxy: a request and its response without a socket, piece by piece."""

from __future__ import annotations

import ctypes
import threading
import time
from typing import Any, Callable, Iterator, List, Optional

from . import _abi
from ._abi import Result
from ._http import Body, Headers, HeadersLike, Response, fields, read_headers
from ._library import Handle, Library
from .errors import CallFinishedError, Error

#: Seconds after which a wait looks whether Python has something to do, as for Ctrl-C.
_SLICE = 0.2
_BUFFER = 64 * 1024
#: A body of up to so many bytes is sent before the response is asked for: it fits into what the proxy takes unread.
_AT_ONCE = 16 * 1024


def nanos(seconds: float) -> int:
    """As C takes it; never the number that stands for ever."""
    return min(max(0, int(seconds * 1e9)), _abi.FOREVER - 1)


def wait(library: Library, timeout: Optional[float], call: Callable[[int], int]) -> bool:
    """Waits in C, by slices, so that a signal's handler runs meanwhile. `call` is given nanoseconds."""
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = _SLICE if end is None else min(_SLICE, max(0.0, end - time.monotonic()))
        result = call(nanos(left))
        if result != Result.TIMED_OUT or (end is not None and time.monotonic() >= end):
            return library.check(result)


class Call:
    """A call under way. One thread may send while another reads. Close it, or use it as a context manager.

    Iterating over it gives the response's body in pieces, as they come.
    """

    def __init__(self, library: Library, handle: Handle, timeout: Optional[float]) -> None:
        self._library, self._handle = library, handle
        #: Seconds that each wait may take; None for as long as it takes.
        self.timeout = timeout
        self._status: Optional[int] = None
        self._headers = Headers()
        self._trailers = Headers()
        self._buffer: Any = None
        self._fault: Optional[BaseException] = None

    def send(self, data: bytes) -> None:
        """Sends a piece of the request's body. Waits while the proxy takes no more."""
        piece = bytes(data)
        self._library.call("weir_call_send", self._handle.number, piece, len(piece))

    def finish(self, trailers: Optional[HeadersLike] = None) -> None:
        """The request's body is whole."""
        texts, listed = _abi.Texts(), fields(trailers)
        self._library.call("weir_call_finish", self._handle.number, texts.fields(listed), len(listed))

    def feed(self, body: Body, trailers: Optional[HeadersLike] = None) -> None:
        """Sends a whole body: a short one now, a long one or an iterable on a thread of its own while the response comes."""
        if isinstance(body, str):
            body = body.encode()
        if isinstance(body, (bytes, bytearray, memoryview)):
            whole = bytes(body)
            if len(whole) <= _AT_ONCE:
                self._feed([whole] if whole else [], trailers)
                return
            body = (whole[at : at + _BUFFER] for at in range(0, len(whole), _BUFFER))
        threading.Thread(target=self._feed, args=(body, trailers), name="weir-body", daemon=True).start()

    def _feed(self, body: Any, trailers: Optional[HeadersLike]) -> None:
        try:
            for piece in body:
                self.send(piece)
            self.finish(trailers)
        except CallFinishedError:
            pass  # the response came first, and says why
        except Error:
            pass  # whoever reads gets the same
        except BaseException as fault:
            self._fault = fault
            self.cancel()

    def _wait(self, call: Callable[[int], int]) -> bool:
        try:
            return wait(self._library, self.timeout, call)
        except Error:
            if self._fault is not None:
                raise self._fault
            raise

    def _head(self) -> None:
        if self._status is not None:
            return
        status, count = ctypes.c_uint32(), ctypes.c_size_t()
        cdll, number = self._library.cdll, self._handle.number
        self._wait(lambda wait: int(cdll.weir_call_response(number, wait, ctypes.byref(status), ctypes.byref(count))))
        self._headers = self._fields("weir_call_header")
        self._status = status.value

    def _fields(self, function: str) -> Headers:
        number = self._handle.number
        return read_headers(lambda index, out: self._library.call(function, number, index, ctypes.byref(out)))

    @property
    def status(self) -> int:
        """The response's status. Waits for its head."""
        self._head()
        assert self._status is not None
        return self._status

    @property
    def headers(self) -> Headers:
        """The response's header fields. Waits for them."""
        self._head()
        return self._headers

    def read(self) -> bytes:
        """The next piece of the response's body; empty when it is whole. What is not read lets the upstream wait."""
        self._head()
        if self._buffer is None:
            self._buffer = ctypes.create_string_buffer(_BUFFER)
        buffer, count = self._buffer, ctypes.c_size_t()
        cdll, number = self._library.cdll, self._handle.number
        more = self._wait(
            lambda wait: int(cdll.weir_call_read(number, buffer, _BUFFER, ctypes.byref(count), wait))
        )
        if more:
            return ctypes.string_at(buffer, count.value)
        self._trailers = self._fields("weir_call_trailer")
        return b""

    def __iter__(self) -> Iterator[bytes]:
        while True:
            piece = self.read()
            if not piece:
                return
            yield piece

    @property
    def trailers(self) -> Headers:
        """The response's trailers, once its body is whole."""
        return self._trailers

    def response(self) -> Response:
        """The whole response."""
        body: List[bytes] = list(self)
        return Response(self.status, self.headers, b"".join(body), self.trailers)

    def cancel(self) -> None:
        """Gives the call up. Whoever waits for it gets `CallCancelledError`."""
        if self._handle.is_open:
            self._library.call("weir_call_cancel", self._handle.number)

    def close(self) -> None:
        """Frees the call, and gives it up if it has not ended."""
        self._handle.free()

    def __enter__(self) -> "Call":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


