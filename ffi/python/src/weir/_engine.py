"""Tier 1: an engine that the host feeds with its own bytes, threads and time, and the replay of input logs.

Times are whole nanoseconds of the host's monotonic clock, from any origin. The same config, seed and inputs decide the
same, always: that is what makes an engine good for tests.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Iterator, List, Optional, Sequence, Tuple, TypeVar

from . import _abi
from ._abi import ActionKind, Close, EventKind, Family, Opening, TlsFault
from ._config import ConfigLike, to_text
from ._library import Address, Handle, load
from ._proxy import read_stats
from .errors import Diagnostic

_BUFFER = 64 * 1024


@dataclass(frozen=True)
class Listener:
    """A listener of a config: what a host binds a socket for."""

    name: str
    address: Address
    #: How many connections the kernel may queue.
    backlog: int
    #: Whether each of several engines may have a socket of its own (`SO_REUSEPORT`).
    reuse_port: bool


@dataclass(frozen=True)
class TlsInfo:
    """What a TLS handshake came to."""

    version: str = ""
    cipher: str = ""
    #: The protocol that was agreed on. It decides which HTTP is spoken.
    alpn: str = ""
    server_name: str = ""
    resumed: bool = False


@dataclass(frozen=True)
class Action:
    """Something to do. Fields that the kind does not speak of are empty: see weir.h."""

    kind: ActionKind
    conn: int = 0
    query: int = 0
    address: Optional[Address] = None
    tls: bool = False
    name: str = ""
    alpn: Tuple[str, ...] = ()
    #: A name that the upstream's certificate must be for, whatever the config says of names.
    certificate_name: str = ""
    family: Family = Family.AUTO


@dataclass(frozen=True)
class Event:
    """Something to tell. See weir.h for what each kind's fields are."""

    kind: EventKind
    text: bytes = b""
    number: int = 0
    exchange: int = 0
    at: int = 0
    ended: bool = False


@dataclass(frozen=True)
class EngineState:
    """How much is under way."""

    clients: int
    exchanges: int
    drained: bool
    #: Bytes of what was recorded.
    recorded: int
    #: What was decided, as a number: the same for the same inputs.
    digest: int


@dataclass(frozen=True)
class ReplaySummary:
    """What a replay came to so far."""

    entries: int
    #: From the beginning to the last entry, in nanoseconds.
    time: int
    digest: int
    #: Whether that is the whole log, and the digest is the one that was recorded.
    whole: bool


_Self = TypeVar("_Self", bound="_Closing")


class _Closing:
    """What all that is freed has in common."""

    _handle: Handle

    def close(self) -> None:
        """Frees it. Again, it does nothing."""
        self._handle.free()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Config(_Closing):
    """A config that was loaded, for engines. They may outlive it."""

    def __init__(self, config: ConfigLike, *, name: str = "config", allow_unsupported: bool = False) -> None:
        self._library = load()
        texts, out, cdll = _abi.Texts(), ctypes.c_void_p(), self._library.cdll
        text, file, flags = texts.of(to_text(config)), texts.of(name), int(allow_unsupported)
        #: What was found that does not keep it from being run.
        self.warnings: List[Diagnostic] = self._library.configured(
            lambda found: int(cdll.weir_config_load(text, file, flags, ctypes.byref(out), found))
        )
        self._handle = Handle(self._library, "weir_config_free", out.value, "config")

    def listeners(self) -> List[Listener]:
        """Its listeners, in their order."""
        found: List[Listener] = []
        one = _abi.sized(_abi.Listener)
        while self._library.call("weir_config_listener", self._handle.number, len(found), ctypes.byref(one)):
            place = Address.of_c(one.address)
            found.append(Listener(str(one.name), place, one.backlog, bool(one.reuse_port)))
        return found


class Engine(_Closing):
    """All that a proxy decides, without sockets, threads or a clock. It serves one thread at a time, any thread.

    After everything that was fed, take its `actions()` until there are none.
    """

    def __init__(
        self,
        config: Config,
        *,
        seed: int = 0,
        now: int = 0,
        wall: int = 0,
        shared_with: Optional["Engine"] = None,
        record: bool = False,
        record_bodies: bool = False,
        explain: bool = False,
    ) -> None:
        self._library = load()
        options = _abi.sized(_abi.EngineOptions)
        options.seed, options.now, options.wall = seed, now, wall
        options.shared_with = shared_with._handle.number if shared_with is not None else None
        options.record, options.record_bodies, options.explain = int(record), int(record_bodies), int(explain)
        out = ctypes.c_void_p()
        number = config._handle.number
        self._library.call("weir_engine_new", number, ctypes.byref(options), ctypes.byref(out))
        self._handle = Handle(self._library, "weir_engine_free", out.value, "engine")
        self._buffer: Any = ctypes.create_string_buffer(_BUFFER)

    def _call(self, name: str, *arguments: Any) -> bool:
        return self._library.call(f"weir_engine_{name}", self._handle.number, *arguments)

    # What happened.

    def accept(self, listener: int, local: Address, remote: Address, now: int) -> int:
        """A client has connected: its connection's id. `NotAcceptedError` means: close it."""
        here, there = Address(*local).to_c(), Address(*remote).to_c()
        number, places = self._handle.number, (ctypes.byref(here), ctypes.byref(there))
        return self._library.number("weir_engine_accept", number, listener, *places, now) or 0

    def opening(self, conn: int) -> Opening:
        """What has to be done before the client's bytes can be handed in."""
        out = ctypes.c_uint32()
        self._call("opening", conn, ctypes.byref(out))
        return Opening(out.value)

    def client_hello(self, conn: int, now: int, *, tls: bool, server_name: str = "", alpn: Sequence[str] = ()) -> Opening:
        """The client's first bytes are this. Answers what to do now."""
        texts, out = _abi.Texts(), ctypes.c_uint32()
        protocols = (_abi.Str * len(alpn))(*map(texts.of, alpn))
        name = texts.of(server_name)
        self._call("client_hello", conn, int(tls), name, protocols, len(alpn), now, ctypes.byref(out))
        return Opening(out.value)

    def secured(self, conn: int, tls: TlsInfo, now: int) -> None:
        """The client's TLS handshake is done."""
        texts = _abi.Texts()
        self._call("secured", conn, ctypes.byref(_tls(tls, texts)), now)

    def handshake_failed(self, conn: int, why: TlsFault, now: int) -> None:
        """The client's TLS handshake has failed."""
        self._call("handshake_failed", conn, why, now)

    def connected(self, conn: int, local: Address, remote: Address, now: int, *, tls: Optional[TlsInfo] = None) -> None:
        """A connection that was asked for is there."""
        here, there, texts = Address(*local).to_c(), Address(*remote).to_c(), _abi.Texts()
        info = None if tls is None else ctypes.byref(_tls(tls, texts))
        self._call("connected", conn, ctypes.byref(here), ctypes.byref(there), info, now)

    def connect_failed(self, conn: int, reason: str, now: int, *, tls_fault: Optional[TlsFault] = None) -> None:
        """A connection that was asked for could not be made."""
        texts = _abi.Texts()
        self._call("connect_failed", conn, texts.of(reason), tls_fault or 0, now)

    def recv(self, conn: int, data: bytes, now: int) -> int:
        """Bytes have arrived. Answers how many were taken: the rest is to be offered again after `ActionKind.READ`."""
        taken = ctypes.c_size_t()
        self._call("recv", conn, data, len(data), ctypes.byref(taken), now)
        return taken.value

    def eof(self, conn: int, now: int) -> None:
        """The peer has sent its last byte."""
        self._call("eof", conn, now)

    def closed(self, conn: int, now: int, why: Close = Close.CLOSED) -> None:
        """The connection is gone."""
        self._call("closed", conn, why, now)

    def resolved(self, query: int, hosts: Sequence[str], now: int, *, ttl: int = 0) -> None:
        """The name that was asked for has these IP addresses, for `ttl` nanoseconds; 0 if the answer does not say."""
        found = (_abi.Address * len(hosts))(*(Address(host, 0).to_c() for host in hosts))
        self._call("resolved", query, found, len(hosts), ttl, now)

    def resolve_failed(self, query: int, reason: str, now: int) -> None:
        """The name that was asked for could not be resolved."""
        texts = _abi.Texts()
        self._call("resolve_failed", query, texts.of(reason), now)

    def set_config(self, config: Config, now: int) -> None:
        """There is a new config."""
        self._call("set_config", config._handle.number, now)

    def set_wall(self, wall: int, now: int) -> None:
        """The calendar shows so many nanoseconds since 1970."""
        self._call("set_wall", wall, now)

    def drain(self, deadline: int, now: int) -> None:
        """Everything is to be drained; at `deadline` what is left is cut. Goes on until `EventKind.DRAINED`."""
        self._call("drain", deadline, now)

    def drain_listener(self, listener: int, now: int) -> None:
        """One listener is to be drained."""
        self._call("drain_listener", listener, now)

    def timeout(self, now: int) -> None:
        """Time has passed: see `deadline`. Early and needless calls change nothing."""
        self._call("timeout", now)

    def nudge(self, now: int) -> None:
        """An engine that limits are shared with has asked for it (`ActionKind.NUDGE`)."""
        self._call("nudge", now)

    # What to do.

    def actions(self) -> Iterator[Action]:
        """What there is to do, until there is no more."""
        one = _abi.sized(_abi.Action)
        while self._call("next_action", ctypes.byref(one)):
            kind = ActionKind(one.kind)
            yield Action(
                kind=kind,
                conn=one.conn,
                query=one.query,
                address=Address.of_c(one.address) if kind == ActionKind.CONNECT else None,
                tls=bool(one.tls),
                name=str(one.name),
                alpn=_protocols(one.alpn.bytes()),
                certificate_name=str(one.certificate_name),
                family=Family(one.family),
            )

    def transmit(self, conn: int, now: int) -> bytes:
        """All there is to send on a connection. It counts as sent."""
        pieces: List[bytes] = []
        count = ctypes.c_size_t()
        while self._call("transmit_copy", conn, self._buffer, _BUFFER, ctypes.byref(count), now):
            pieces.append(ctypes.string_at(self._buffer, count.value))
        return b"".join(pieces)

    def deadline(self) -> Optional[int]:
        """When to call `timeout`; None if nothing is due ever."""
        return self._library.number("weir_engine_deadline", self._handle.number)

    def deadline_reason(self) -> Optional[str]:
        """Why the engine has that deadline, for people."""
        buffer = ctypes.create_string_buffer(256)
        return buffer.value.decode() if self._call("deadline_reason", buffer, 256) else None

    def events(self) -> Iterator[Event]:
        """What there is to tell, until there is no more."""
        return _events(lambda out: self._call("next_event", out))

    # Questions.

    def listener(self, name: str) -> int:
        """The id of a listener."""
        texts = _abi.Texts()
        return self._library.number("weir_engine_listener", self._handle.number, texts.of(name)) or 0

    def log_path(self, number: int) -> Optional[str]:
        """Where lines of an access log (`Event.number`) are to go."""
        out = _abi.Str()
        return str(out) if self._call("log_path", number, ctypes.byref(out)) else None

    def stat(self, name: str) -> int:
        """A counter or gauge, by Envoy's name."""
        texts = _abi.Texts()
        return self._library.number("weir_engine_stat", self._handle.number, texts.of(name)) or 0

    def stats(self) -> "dict[str, int]":
        """All counters and gauges, by Envoy's names."""
        return read_stats((self._library.bytes("weir_engine_stats", self._handle.number) or b"").decode())

    def state(self) -> EngineState:
        """How much is under way."""
        one = _abi.sized(_abi.EngineState)
        self._call("get_state", ctypes.byref(one))
        return EngineState(one.clients, one.exchanges, bool(one.drained), one.recorded, one.digest)

    def recorded(self) -> Optional[bytes]:
        """The input log so far, for `Replay`; None if nothing is recorded."""
        return self._library.bytes("weir_engine_recorded", self._handle.number)


class Replay(_Closing):
    """An input log and an engine that lives through it again."""

    def __init__(self, log: bytes, *, explain: bool = False) -> None:
        self._library = load()
        out = ctypes.c_void_p()
        self._library.call("weir_replay_open", log, len(log), int(explain), ctypes.byref(out))
        self._handle = Handle(self._library, "weir_replay_free", out.value, "replay")

    def step(self) -> bool:
        """Feeds the next entry; False if the log has ended as it was recorded.

        `DivergedError` if the engine decides something else, `BadLogError` if the log is damaged or cut off.
        """
        return self._library.call("weir_replay_step", self._handle.number)

    def events(self) -> Iterator[Event]:
        """What the engine told since."""
        return _events(lambda out: self._library.call("weir_replay_next_event", self._handle.number, out))

    def summary(self) -> ReplaySummary:
        """What it has come to so far."""
        one = _abi.sized(_abi.ReplaySummary)
        self._library.call("weir_replay_get_summary", self._handle.number, ctypes.byref(one))
        return ReplaySummary(one.entries, one.time, one.digest, bool(one.whole))


def replay(log: bytes) -> ReplaySummary:
    """Lives through a whole input log again: `DivergedError` if it comes to something else."""
    with Replay(log) as whole:
        while whole.step():
            pass
        return whole.summary()


def _events(next_event: Any) -> Iterator[Event]:
    one = _abi.sized(_abi.Event)
    while next_event(ctypes.byref(one)):
        kind, text = EventKind(one.kind), one.text.bytes()
        yield Event(kind, text, one.number, one.exchange, one.at, bool(one.ended))


def _tls(tls: TlsInfo, texts: _abi.Texts) -> Any:
    made = _abi.sized(_abi.TlsInfo)
    made.version, made.cipher = texts.of(tls.version), texts.of(tls.cipher)
    made.alpn, made.server_name = texts.of(tls.alpn), texts.of(tls.server_name)
    made.resumed = int(tls.resumed)
    return made


def _protocols(wire: bytes) -> Tuple[str, ...]:
    """Each stands after a byte with its length."""
    found: List[str] = []
    while wire:
        length = wire[0] + 1
        found.append(wire[1:length].decode("latin-1"))
        wire = wire[length:]
    return tuple(found)
