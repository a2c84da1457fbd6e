"""What weir.h says, for ctypes: numbers, structs and functions.

Written by hand and never trusted: `tests/test_abi.py` compares every number, size, offset and signature with the header.
Nobody but this package uses it.
"""

from __future__ import annotations

import ctypes
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_size_t, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from enum import IntEnum
from typing import Any, Dict, List, Tuple, Union

ABI_VERSION = 1
ALLOW_UNSUPPORTED = 1
FOREVER = 2**64 - 1
ALL_PROCESSORS = 2**32 - 1


class Result(IntEnum):
    """What a call came to (`enum weir_result`)."""

    OK = 0
    NONE = 1
    NULL_POINTER = 100
    WRONG_HANDLE = 101
    BUSY = 102
    BAD_UTF8 = 103
    TOO_SMALL = 104
    BAD_SIZE = 105
    WRONG_ABI = 106
    BAD_VALUE = 107
    TIME_REVERSED = 108
    UNKNOWN_ID = 109
    PANICKED = 110
    CONFIG_REFUSED = 200
    NO_LISTENER = 201
    LISTENER_LIMIT = 202
    GLOBAL_LIMIT = 203
    NO_FILTER_CHAIN = 204
    NO_STAT = 205
    BAD_LOG = 206
    DIVERGED = 207
    NOT_HERE = 250
    BAD_FIELD = 251
    LISTEN_FAILED = 300
    RESOLVE_FAILED = 301
    FILE_FAILED = 302
    SYSTEM_FAILED = 303
    ENDED = 304
    DRAINING = 305
    OWN_THREAD = 306
    TIMED_OUT = 307
    FAILED = 308
    CALL_RESET = 309
    CANCELLED = 310
    CALL_REFUSED = 311
    FINISHED = 312


class Severity(IntEnum):
    """How bad a finding is."""

    ERROR = 0
    #: The config is right, but Weir does not do what it says.
    UNSUPPORTED = 1
    WARNING = 2


class Level(IntEnum):
    """How bad a line of the log is, or how much is logged."""

    DEFAULT = 0
    TRACE = 1
    DEBUG = 2
    INFO = 3
    WARN = 4
    ERROR = 5
    OFF = 6


class Close(IntEnum):
    """Why a connection is gone."""

    CLOSED = 0
    RESET = 1


class Opening(IntEnum):
    """What a host has to do before it hands in a client's bytes."""

    PLAIN = 0
    TLS = 1
    INSPECT = 2
    REFUSED = 3


class TlsFault(IntEnum):
    """How a TLS handshake failed."""

    PROTOCOL = 1
    NO_CERTIFICATE = 2
    UNTRUSTED = 3
    NAME = 4
    PIN = 5


class ActionKind(IntEnum):
    """What an engine wants done."""

    CONNECT = 1
    TRANSMIT = 2
    READ = 3
    PAUSE = 4
    SHUTDOWN_WRITE = 5
    CLOSE = 6
    DROP = 7
    RESET = 8
    CLOSE_IF_IDLE = 9
    RESOLVE = 10
    OPEN = 11
    NUDGE = 12


class Family(IntEnum):
    """Which addresses a name is resolved to (`dns_lookup_family`)."""

    AUTO = 0
    V4 = 1
    V6 = 2
    V4_PREFERRED = 3
    ALL = 4


class EventKind(IntEnum):
    """What an engine tells."""

    ACCESS_LOG = 1
    DRAINED = 2
    LISTENER_DRAINED = 3
    STEP = 4


#: What the header calls each of these, and how its numbers begin.
ENUMS: Dict[str, Tuple[Any, str]] = {
    "weir_result": (Result, "WEIR_"),
    "weir_severity": (Severity, "WEIR_"),
    "weir_level": (Level, "WEIR_LEVEL_"),
    "weir_close": (Close, "WEIR_"),
    "weir_opening": (Opening, "WEIR_OPENING_"),
    "weir_tls_fault": (TlsFault, "WEIR_TLS_"),
    "weir_action_kind": (ActionKind, "WEIR_ACTION_"),
    "weir_family": (Family, "WEIR_FAMILY_"),
    "weir_event_kind": (EventKind, "WEIR_EVENT_"),
}


class Str(ctypes.Structure):
    """A text with a length. Whoever makes one keeps its bytes alive: see `Texts`."""

    _fields_ = [("data", c_void_p), ("len", c_size_t)]
    data: Any
    len: int

    def bytes(self) -> bytes:
        """A copy."""
        return ctypes.string_at(self.data, self.len) if self.len else b""

    def __str__(self) -> str:
        return self.bytes().decode("utf-8", "replace")


class Address(ctypes.Structure):
    _fields_ = [("family", c_uint16), ("port", c_uint16), ("ip", c_uint8 * 16)]


class Listener(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("name", Str),
        ("address", Address),
        ("backlog", c_uint32),
        ("reuse_port", c_uint32),
    ]


class Diagnostic(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("severity", c_uint32),
        ("line", c_uint32),
        ("column", c_uint32),
        ("file", Str),
        ("field", Str),
        ("message", Str),
        ("help", Str),
    ]


class EngineOptions(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("seed", c_uint64),
        ("now", c_uint64),
        ("wall", c_uint64),
        ("shared_with", c_void_p),
        ("record", c_uint32),
        ("record_bodies", c_uint32),
        ("explain", c_uint32),
    ]


class EngineState(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("clients", c_uint64),
        ("exchanges", c_uint64),
        ("drained", c_uint32),
        ("recorded", c_uint64),
        ("digest", c_uint64),
    ]


class TlsInfo(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("version", Str),
        ("cipher", Str),
        ("alpn", Str),
        ("server_name", Str),
        ("resumed", c_uint32),
    ]


class Action(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("kind", c_uint32),
        ("tls", c_uint32),
        ("conn", c_uint64),
        ("data", c_uint64),
        ("query", c_uint64),
        ("address", Address),
        ("family", c_uint32),
        ("name", Str),
        ("alpn", Str),
        ("certificate_name", Str),
    ]


class Event(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("kind", c_uint32),
        ("number", c_uint32),
        ("ended", c_uint32),
        ("exchange", c_uint64),
        ("at", c_uint64),
        ("text", Str),
    ]


class Header(ctypes.Structure):
    _fields_ = [("name", Str), ("value", Str)]


class Request(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("method", Str),
        ("scheme", Str),
        ("authority", Str),
        ("path", Str),
        ("headers", POINTER(Header)),
        ("header_count", c_size_t),
        ("has_body", c_uint32),
    ]


LogFn = CFUNCTYPE(None, c_void_p, c_uint32, Str)


class ProxyOptions(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("workers", c_uint32),
        ("flags", c_uint32),
        ("drain_time", c_uint64),
        ("log_level", c_uint32),
        ("has_seed", c_uint32),
        ("seed", c_uint64),
        ("log", LogFn),
        ("log_data", c_void_p),
        ("hostname", Str),
        ("record_folder", Str),
        ("record_mib", c_uint32),
        ("record_bodies", c_uint32),
        ("filters", c_void_p),
    ]


class ReplaySummary(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("entries", c_uint64),
        ("time", c_uint64),
        ("digest", c_uint64),
        ("whole", c_uint32),
    ]


#: What the header calls each of these.
STRUCTS: Dict[str, Any] = {
    "weir_str": Str,
    "weir_address": Address,
    "weir_listener": Listener,
    "weir_diagnostic": Diagnostic,
    "weir_engine_options": EngineOptions,
    "weir_engine_state": EngineState,
    "weir_tls_info": TlsInfo,
    "weir_action": Action,
    "weir_event": Event,
    "weir_header": Header,
    "weir_request": Request,
    "weir_proxy_options": ProxyOptions,
    "weir_replay_summary": ReplaySummary,
}


def sized(struct: Any) -> Any:
    """A struct that begins with its size, and zero otherwise."""
    made = struct()
    made.size = ctypes.sizeof(struct)
    return made


class Texts:
    """Makes texts, and keeps their bytes alive as long as it lives."""

    def __init__(self) -> None:
        self._kept: List[Any] = []

    def of(self, text: Union[str, bytes]) -> Str:
        data = text.encode() if isinstance(text, str) else bytes(text)
        at = c_char_p(data)
        self._kept.append((data, at))
        return Str(ctypes.cast(at, c_void_p), len(data))

    def fields(self, fields: List[Tuple[bytes, bytes]]) -> Any:
        """An array of `Header`; None for none."""
        if not fields:
            return None
        array = (Header * len(fields))(*(Header(self.of(name), self.of(value)) for name, value in fields))
        self._kept.append(array)
        return array


_HANDLE = c_void_p
_OUT = POINTER(c_void_p)
_BYTES = c_char_p
_U32 = POINTER(c_uint32)
_U64 = POINTER(c_uint64)
_SIZE = POINTER(c_size_t)

#: Functions: what they answer, and their parameters. Opaque handles are numbers.
FUNCTIONS: Dict[str, Tuple[Any, List[Any]]] = {
    "weir_abi_version": (c_uint32, []),
    "weir_check_abi": (c_int, [c_uint32]),
    "weir_version": (c_char_p, []),
    "weir_result_name": (c_char_p, [c_uint32]),
    "weir_last_error": (c_size_t, [_BYTES, c_size_t]),
    "weir_bytes_get": (c_int, [_HANDLE, _OUT, _SIZE]),
    "weir_bytes_free": (c_int, [_HANDLE]),
    "weir_config_load": (c_int, [Str, Str, c_uint32, _OUT, _OUT]),
    "weir_config_free": (c_int, [_HANDLE]),
    "weir_config_listener": (c_int, [_HANDLE, c_size_t, POINTER(Listener)]),
    "weir_diagnostics_count": (c_size_t, [_HANDLE]),
    "weir_diagnostics_get": (c_int, [_HANDLE, c_size_t, POINTER(Diagnostic)]),
    "weir_diagnostics_free": (c_int, [_HANDLE]),
    "weir_engine_new": (c_int, [_HANDLE, POINTER(EngineOptions), _OUT]),
    "weir_engine_free": (c_int, [_HANDLE]),
    "weir_engine_listener": (c_int, [_HANDLE, Str, _U64]),
    "weir_engine_stat": (c_int, [_HANDLE, Str, _U64]),
    "weir_engine_stats": (c_int, [_HANDLE, _OUT]),
    "weir_engine_get_state": (c_int, [_HANDLE, POINTER(EngineState)]),
    "weir_engine_recorded": (c_int, [_HANDLE, _OUT]),
    "weir_engine_accept": (c_int, [_HANDLE, c_uint64, POINTER(Address), POINTER(Address), c_uint64, _U64]),
    "weir_engine_connected": (
        c_int,
        [_HANDLE, c_uint64, POINTER(Address), POINTER(Address), POINTER(TlsInfo), c_uint64],
    ),
    "weir_engine_connect_failed": (c_int, [_HANDLE, c_uint64, Str, c_uint32, c_uint64]),
    "weir_engine_recv": (c_int, [_HANDLE, c_uint64, _BYTES, c_size_t, _SIZE, c_uint64]),
    "weir_engine_eof": (c_int, [_HANDLE, c_uint64, c_uint64]),
    "weir_engine_closed": (c_int, [_HANDLE, c_uint64, c_uint32, c_uint64]),
    "weir_engine_resolved": (c_int, [_HANDLE, c_uint64, POINTER(Address), c_size_t, c_uint64, c_uint64]),
    "weir_engine_resolve_failed": (c_int, [_HANDLE, c_uint64, Str, c_uint64]),
    "weir_engine_set_config": (c_int, [_HANDLE, _HANDLE, c_uint64]),
    "weir_engine_drain": (c_int, [_HANDLE, c_uint64, c_uint64]),
    "weir_engine_drain_listener": (c_int, [_HANDLE, c_uint64, c_uint64]),
    "weir_engine_timeout": (c_int, [_HANDLE, c_uint64]),
    "weir_engine_set_wall": (c_int, [_HANDLE, c_uint64, c_uint64]),
    "weir_engine_nudge": (c_int, [_HANDLE, c_uint64]),
    "weir_engine_opening": (c_int, [_HANDLE, c_uint64, _U32]),
    "weir_engine_client_hello": (
        c_int,
        [_HANDLE, c_uint64, c_uint32, Str, POINTER(Str), c_size_t, c_uint64, _U32],
    ),
    "weir_engine_secured": (c_int, [_HANDLE, c_uint64, POINTER(TlsInfo), c_uint64]),
    "weir_engine_handshake_failed": (c_int, [_HANDLE, c_uint64, c_uint32, c_uint64]),
    "weir_engine_next_action": (c_int, [_HANDLE, POINTER(Action)]),
    "weir_engine_next_event": (c_int, [_HANDLE, POINTER(Event)]),
    "weir_engine_log_path": (c_int, [_HANDLE, c_uint32, POINTER(Str)]),
    "weir_engine_deadline": (c_int, [_HANDLE, _U64]),
    "weir_engine_deadline_reason": (c_int, [_HANDLE, _BYTES, c_size_t]),
    "weir_engine_transmit_copy": (c_int, [_HANDLE, c_uint64, _BYTES, c_size_t, _SIZE, c_uint64]),
    "weir_replay_open": (c_int, [_BYTES, c_size_t, c_uint32, _OUT]),
    "weir_replay_step": (c_int, [_HANDLE]),
    "weir_replay_next_event": (c_int, [_HANDLE, POINTER(Event)]),
    "weir_replay_get_summary": (c_int, [_HANDLE, POINTER(ReplaySummary)]),
    "weir_replay_free": (c_int, [_HANDLE]),
}

#: Those of tier 2, which a smaller library may lack.
PROXY_FUNCTIONS: Dict[str, Tuple[Any, List[Any]]] = {
    "weir_proxy_start": (c_int, [Str, Str, POINTER(ProxyOptions), _OUT, _OUT]),
    "weir_proxy_start_file": (c_int, [Str, POINTER(ProxyOptions), _OUT, _OUT]),
    "weir_proxy_update": (c_int, [_HANDLE, Str, Str, _OUT]),
    "weir_proxy_listener": (c_int, [_HANDLE, Str, POINTER(Address)]),
    "weir_proxy_admin": (c_int, [_HANDLE, POINTER(Address)]),
    "weir_proxy_stat": (c_int, [_HANDLE, Str, _U64]),
    "weir_proxy_stats": (c_int, [_HANDLE, _OUT]),
    "weir_proxy_config_dump": (c_int, [_HANDLE, _OUT]),
    "weir_proxy_write_input_logs": (c_int, [_HANDLE, _OUT]),
    "weir_proxy_drain": (c_int, [_HANDLE]),
    "weir_proxy_wait": (c_int, [_HANDLE, c_uint64, _U32]),
    "weir_proxy_stop": (c_int, [_HANDLE]),
    "weir_proxy_free": (c_int, [_HANDLE]),
    "weir_proxy_explain": (c_int, [_HANDLE, Str, POINTER(Request), _OUT]),
    "weir_proxy_call": (c_int, [_HANDLE, Str, POINTER(Request), _OUT]),
    "weir_call_send": (c_int, [_HANDLE, _BYTES, c_size_t]),
    "weir_call_finish": (c_int, [_HANDLE, POINTER(Header), c_size_t]),
    "weir_call_response": (c_int, [_HANDLE, c_uint64, _U32, _SIZE]),
    "weir_call_header": (c_int, [_HANDLE, c_size_t, POINTER(Header)]),
    "weir_call_read": (c_int, [_HANDLE, _BYTES, c_size_t, _SIZE, c_uint64]),
    "weir_call_trailer": (c_int, [_HANDLE, c_size_t, POINTER(Header)]),
    "weir_call_cancel": (c_int, [_HANDLE]),
    "weir_call_free": (c_int, [_HANDLE]),
}
