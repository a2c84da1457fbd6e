"""Weir in a Python process: an L7 proxy that runs Envoy's v3 configuration.

>>> import weir
>>> with weir.Proxy(weir.forward("127.0.0.1:8080")) as proxy:  # doctest: +SKIP
...     print(proxy.url())

`Proxy` is a whole proxy with threads and sockets of its own; `Engine` only decides, and the host brings bytes and time.
The library is found by WEIR_LIBRARY, next to this package, by the system's loader, or by pkg-config.
"""

from __future__ import annotations

from ._abi import ActionKind, Close, EventKind, Family, Level, Opening, Result, Severity, TlsFault
from ._call import Call
from ._config import ConfigLike, Upstream, forward
from ._engine import (
    Action,
    Config,
    Engine,
    EngineState,
    Event,
    Listener,
    Replay,
    ReplaySummary,
    TlsInfo,
    replay,
)
from ._http import Body, Headers, HeadersLike, Response
from ._library import Address, load as _load
from ._proxy import Log, Proxy
from .errors import (
    BadLogError,
    BugError,
    BusyError,
    CallCancelledError,
    CallError,
    CallFinishedError,
    CallRefusedError,
    CallResetError,
    ConfigError,
    Diagnostic,
    DivergedError,
    DrainingError,
    EndedError,
    Error,
    FileError,
    LibraryError,
    ListenError,
    NoListenerError,
    NoStatError,
    NotAcceptedError,
    ReplayError,
    ResolveError,
    StartError,
    TimedOutError,
    UnknownIdError,
    UsageError,
)

__version__ = "0.1.0"


def library_path() -> str:
    """The file of the library in use."""
    return _load().path


def library_version() -> str:
    """Its version."""
    version: bytes = _load().cdll.weir_version()
    return version.decode()


__all__ = [
    "Action",
    "ActionKind",
    "Address",
    "BadLogError",
    "Body",
    "BugError",
    "BusyError",
    "Call",
    "CallCancelledError",
    "CallError",
    "CallFinishedError",
    "CallRefusedError",
    "CallResetError",
    "Close",
    "Config",
    "ConfigError",
    "ConfigLike",
    "Diagnostic",
    "DivergedError",
    "DrainingError",
    "EndedError",
    "Engine",
    "EngineState",
    "Error",
    "Event",
    "EventKind",
    "Family",
    "FileError",
    "Headers",
    "HeadersLike",
    "Level",
    "LibraryError",
    "ListenError",
    "Listener",
    "Log",
    "NoListenerError",
    "NoStatError",
    "NotAcceptedError",
    "Opening",
    "Proxy",
    "Replay",
    "ReplayError",
    "ReplaySummary",
    "ResolveError",
    "Response",
    "Result",
    "Severity",
    "StartError",
    "TimedOutError",
    "TlsFault",
    "TlsInfo",
    "UnknownIdError",
    "Upstream",
    "UsageError",
    "forward",
    "library_path",
    "library_version",
    "replay",
]
