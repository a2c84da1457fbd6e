"""A whole proxy in this process."""

from __future__ import annotations

import atexit
import ctypes
import json
import logging
import os
import weakref
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Union

from . import _abi, _http
from ._abi import Level
from ._call import Call, nanos, wait
from ._config import ConfigLike, to_text
from ._http import Body, HeadersLike, Response
from ._library import Address, Handle, Library, load_proxy
from .errors import Diagnostic, Error, FileError

#: Who takes the log: a logger, or a function of level and line, which is called on the proxy's threads.
Log = Union[logging.Logger, Callable[[Level, str], None]]

_LOGGER = logging.getLogger("weir")
_LEVELS = {
    Level.TRACE: 5,
    Level.DEBUG: logging.DEBUG,
    Level.INFO: logging.INFO,
    Level.WARN: logging.WARNING,
    Level.ERROR: logging.ERROR,
}
_NEVER_LOGS = _abi.LogFn()
_running: "weakref.WeakSet[Proxy]" = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """Before the interpreter ends: the proxies' threads must not call a log that is gone."""
    for proxy in list(_running):
        proxy.close()


def _log_function(log: Optional[Log]) -> Any:
    if log is None:
        return _NEVER_LOGS
    if isinstance(log, logging.Logger):
        logger = log
        # A record may outlive this call, and so must not have C's text but a copy.
        return _abi.LogFn(lambda _, level, line: logger.log(_LEVELS.get(level, logging.INFO), "%s", str(line)))
    take = log
    return _abi.LogFn(lambda _, level, line: take(Level(level), str(line)))


class Proxy:
    """A proxy that runs Envoy's v3 bootstrap, with threads and sockets of its own.

    It serves when this returns, until `drain`, `stop` or `close`; as a context manager it is closed at the end. All
    methods may be called on any thread, several at once.

    :param config: YAML or JSON as text, or a mapping. See `weir.forward` for simple ones.
    :param name: what findings call the config.
    :param workers: threads; None for as many as the hardware runs at once.
    :param allow_unsupported: take fields that Weir does not honour as warnings.
    :param drain_time: seconds that a drain may take before what is left is cut (ten minutes).
    :param log: who takes the log; the logger `weir` by default, None for nobody.
    :param log_level: how much is logged: `trace`, `debug`, `info`, `warn`, `error`, `off`, or a `weir.Level`.
    :param seed: draw everything from this, and not from a seed of the system's.
    :param hostname: for `%HOSTNAME%` in access logs.
    :param record: a folder for input logs, see `write_input_logs`.
    :param record_mib: MiB of the past that each worker keeps.
    :param record_bodies: keep the bytes of bodies too.
    """

    def __init__(
        self,
        config: ConfigLike,
        *,
        name: str = "config",
        workers: Optional[int] = 1,
        allow_unsupported: bool = False,
        drain_time: Optional[float] = None,
        log: Optional[Log] = _LOGGER,
        log_level: Union[str, Level] = Level.DEFAULT,
        seed: Optional[int] = None,
        hostname: str = "",
        record: Union[str, "os.PathLike[str]", None] = None,
        record_mib: int = 64,
        record_bodies: bool = False,
    ) -> None:
        library = load_proxy()
        texts = _abi.Texts()
        options = _abi.sized(_abi.ProxyOptions)
        options.workers = _abi.ALL_PROCESSORS if workers is None else workers
        options.flags = _abi.ALLOW_UNSUPPORTED if allow_unsupported else 0
        options.drain_time = 0 if drain_time is None else max(1, nanos(drain_time))
        options.log_level = log_level if isinstance(log_level, Level) else Level[log_level.upper()]
        options.has_seed, options.seed = int(seed is not None), seed or 0
        options.hostname = texts.of(hostname)
        options.record_folder = texts.of(os.fspath(record) if record is not None else "")
        options.record_mib, options.record_bodies = record_mib, int(record_bodies)
        options.log = log_function = _log_function(log)
        self._library: Library = library
        out, cdll = ctypes.c_void_p(), self._library.cdll
        text, file = texts.of(to_text(config)), texts.of(name)
        start = cdll.weir_proxy_start
        #: What was found in the config that does not keep it from being run.
        self.warnings: List[Diagnostic] = self._library.configured(
            lambda found: int(start(text, file, ctypes.byref(options), ctypes.byref(out), found))
        )
        self._handle = Handle(self._library, "weir_proxy_free", out.value, "proxy", log_function)
        _running.add(self)

    @classmethod
    def from_file(cls, path: Union[str, "os.PathLike[str]"], **options: Any) -> "Proxy":
        """A proxy that runs the config in a file; findings name the file. Options as for `Proxy`."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise FileError(f"cannot read {os.fspath(path)}: {error}") from error
        return cls(text, **{"name": os.fspath(path), **options})

    def update(self, config: ConfigLike, *, name: str = "config") -> List[Diagnostic]:
        """Goes on with another config; what is under way keeps the one it began with. Answers warnings.

        A config that is refused changes nothing.
        """
        texts, update, number = _abi.Texts(), self._library.cdll.weir_proxy_update, self._handle.number
        text, file = texts.of(to_text(config)), texts.of(name)
        self.warnings = self._library.configured(lambda found: int(update(number, text, file, found)))
        return self.warnings

    # Questions.

    def listener(self, name: str = "") -> Address:
        """Where a listener listens: host and port. Without a name, the first of the config."""
        out, texts = _abi.Address(), _abi.Texts()
        self._library.call("weir_proxy_listener", self._handle.number, texts.of(name), ctypes.byref(out))
        return Address.of_c(out)

    def url(self, path: str = "", *, listener: str = "", scheme: str = "http") -> str:
        """A URL that a client on this machine can reach a listener by: `http://127.0.0.1:41234`, and `path`."""
        host, port = self.listener(listener)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}"

    def admin(self) -> Optional[Address]:
        """Where the admin page listens; None if the config has none."""
        out = _abi.Address()
        there = self._library.call("weir_proxy_admin", self._handle.number, ctypes.byref(out))
        return Address.of_c(out) if there else None

    def stat(self, name: str) -> int:
        """A counter or gauge, by Envoy's name: `cluster.backend.upstream_rq_total`."""
        texts = _abi.Texts()
        return self._library.number("weir_proxy_stat", self._handle.number, texts.of(name)) or 0

    def stats(self) -> Dict[str, int]:
        """All counters and gauges, by Envoy's names."""
        return read_stats(self.stats_text())

    def stats_text(self) -> str:
        """All stats, histograms too, a line each, as Envoy's `/stats` has them."""
        return self._text("weir_proxy_stats")

    def config_dump(self) -> Dict[str, Any]:
        """The config in force, in the shape of Envoy's `/config_dump`."""
        dump: Dict[str, Any] = json.loads(self._text("weir_proxy_config_dump"))
        return dump

    def explain(
        self,
        method: str = "GET",
        target: str = "/",
        *,
        headers: Optional[HeadersLike] = None,
        authority: Optional[str] = None,
        listener: str = "",
    ) -> List[str]:
        """Says step by step where a request would go and why. Nothing is sent, and nothing is counted."""
        request, texts = _http.Request(method, target, headers, authority, False), _abi.Texts()
        made = ctypes.byref(request.made)
        return self._text("weir_proxy_explain", texts.of(listener), made).splitlines()

    def write_input_logs(self) -> List[Path]:
        """Writes what was recorded (`record=`) to files, which `weir.replay` takes. They have credentials in them."""
        return [Path(line) for line in self._text("weir_proxy_write_input_logs").splitlines()]

    def _text(self, function: str, *arguments: Any) -> str:
        return (self._library.bytes(function, self._handle.number, *arguments) or b"").decode("utf-8", "replace")

    # Calls.

    def call(
        self,
        method: str,
        target: str,
        *,
        headers: Optional[HeadersLike] = None,
        authority: Optional[str] = None,
        has_body: bool = False,
        listener: str = "",
        timeout: Optional[float] = None,
    ) -> Call:
        """Begins a request through a listener, without a socket: the same filters, routes, clusters, limits and stats.

        With `has_body` the caller sends it: `Call.send`, `Call.finish`. `stream` and `request` do that by themselves.

        :param target: `/path?query`, or `http://host/path?query`.
        :param authority: the host that routes look at; by default that of the target or the headers, or `localhost`.
        :param listener: its name; by default the first of the config.
        :param timeout: seconds that may pass without news.
        """
        request, texts = _http.Request(method, target, headers, authority, has_body), _abi.Texts()
        out, made = ctypes.c_void_p(), ctypes.byref(request.made)
        self._library.call("weir_proxy_call", self._handle.number, texts.of(listener), made, ctypes.byref(out))
        return Call(self._library, Handle(self._library, "weir_call_free", out.value, "call"), timeout)

    def stream(
        self,
        method: str,
        target: str,
        *,
        headers: Optional[HeadersLike] = None,
        body: Optional[Body] = None,
        trailers: Optional[HeadersLike] = None,
        authority: Optional[str] = None,
        listener: str = "",
        timeout: Optional[float] = None,
    ) -> Call:
        """As `request`, for a response that is read piece by piece:

        >>> with proxy.stream("GET", "/log") as call:  # doctest: +SKIP
        ...     for piece in call:
        ...         print(call.status, piece)
        """
        has_body = body is not None or trailers is not None
        call = self.call(
            method,
            target,
            headers=headers,
            authority=authority,
            has_body=has_body,
            listener=listener,
            timeout=timeout,
        )
        if has_body:
            try:
                call.feed(body if body is not None else b"", trailers)
            except BaseException:
                call.close()
                raise
        return call

    def request(
        self,
        method: str,
        target: str,
        *,
        headers: Optional[HeadersLike] = None,
        body: Optional[Body] = None,
        trailers: Optional[HeadersLike] = None,
        authority: Optional[str] = None,
        listener: str = "",
        timeout: Optional[float] = None,
    ) -> Response:
        """Sends a request through a listener, without a socket, and answers the whole response.

        :param body: bytes, text, or an iterable of pieces, which is sent while the response comes.
        :param timeout: seconds that may pass without news.
        """
        with self.stream(
            method,
            target,
            headers=headers,
            body=body,
            trailers=trailers,
            authority=authority,
            listener=listener,
            timeout=timeout,
        ) as call:
            return call.response()

    # The end.

    def drain(self, wait: Union[bool, float] = True) -> Optional[int]:
        """Takes nothing new, and lets what is under way end. Answers how many exchanges were cut at `drain_time`.

        :param wait: True to wait until it has ended, seconds to wait so long (`TimedOutError` then; the drain goes on),
            False to return at once, with None.
        """
        self._library.call("weir_proxy_drain", self._handle.number)
        if wait is False:
            return None
        return self.wait(None if wait is True else wait)

    def wait(self, timeout: Optional[float] = None) -> int:
        """Waits until the proxy has ended, by a drain or a stop. Answers how many exchanges were cut."""
        cut, number, cdll = ctypes.c_uint32(), self._handle.number, self._library.cdll
        wait(self._library, timeout, lambda left: int(cdll.weir_proxy_wait(number, left, ctypes.byref(cut))))
        return cut.value

    def stop(self) -> None:
        """Ends the proxy now: what is under way is cut. Its threads have ended when this returns."""
        self._library.call("weir_proxy_stop", self._handle.number)

    def close(self) -> None:
        """Stops the proxy if it has not ended, and frees it. Again, it does nothing."""
        self._handle.free()
        _running.discard(self)

    @property
    def is_open(self) -> bool:
        """Whether it was not closed."""
        return self._handle.is_open

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        try:
            return f"<weir.Proxy at {self.url()}>"
        except Error as error:
            return f"<weir.Proxy: {error}>"


def read_stats(text: str) -> Dict[str, int]:
    """The counters and gauges of a page of stats."""
    named = (line.rsplit(": ", 1) for line in text.splitlines() if ": " in line)
    return {name: int(value) for name, value in named if value.isdigit()}
