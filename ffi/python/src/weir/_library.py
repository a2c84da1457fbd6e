"""Finds libweir, checks that it is one for this package, and turns its results into exceptions.

It is loaded when something first needs it, so that importing `weir` costs nothing and never fails. `ctypes.CDLL` gives the
interpreter's lock up during each call: other Python threads go on while one waits for the proxy.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Tuple

from . import _abi
from ._abi import Result
from .errors import Diagnostic, Error, LibraryError, of_result


class Address(NamedTuple):
    """An IP address and a port, as sockets take them."""

    host: str
    port: int

    def to_c(self) -> _abi.Address:
        ip = ipaddress.ip_address(self.host)
        made = _abi.Address(family=ip.version, port=self.port)
        for index, byte in enumerate(ip.packed):
            made.ip[index] = byte
        return made

    @staticmethod
    def of_c(made: _abi.Address) -> "Address":
        packed = bytes(made.ip)
        return Address(str(ipaddress.ip_address(packed[:4] if made.family == 4 else packed)), made.port)


def _names() -> Tuple[str, ...]:
    return ("libweir.0.dylib", "libweir.dylib") if sys.platform == "darwin" else ("libweir.so.0", "libweir.so")


def _pkg_config_folder() -> Optional[str]:
    command = ["pkg-config", "--variable=libdir", "weir"]
    try:
        found = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.decode().strip() or None


def _places() -> Iterator[str]:
    """Where the library may be, the likeliest first: what costs time comes last."""
    beside = Path(__file__).parent
    for name in _names():
        if (beside / name).exists():
            yield str(beside / name)
    # Without a folder the system's own loader looks: LD_LIBRARY_PATH, the cache of ldconfig, /usr/lib.
    yield from _names()
    folder = _pkg_config_folder()
    if folder:
        yield from (os.path.join(folder, name) for name in _names())


def _open() -> ctypes.CDLL:
    chosen = os.environ.get("WEIR_LIBRARY")
    tried: List[str] = []
    for place in [chosen] if chosen else _places():
        try:
            return ctypes.CDLL(place)
        except OSError as error:
            tried.append(f"  {place}: {error}")
    advice = "set WEIR_LIBRARY to the file, or install it: ffi/install.sh --prefix /usr/local && ldconfig"
    raise LibraryError("libweir cannot be loaded; " + advice + "\n" + "\n".join(tried))


class Library:
    """The functions of libweir. Use `load`."""

    def __init__(self) -> None:
        self.cdll = _open()
        self.path = self.cdll._name
        try:
            self._declare(_abi.FUNCTIONS)
        except AttributeError as error:
            raise LibraryError(f"{self.path} is no libweir, or another version: {error}") from None
        try:
            self._declare(_abi.PROXY_FUNCTIONS)
            self.has_proxy = True
        except AttributeError:
            self.has_proxy = False
        self.check(self.cdll.weir_check_abi(_abi.ABI_VERSION))

    def _declare(self, functions: Any) -> None:
        for name, (answers, takes) in functions.items():
            function = getattr(self.cdll, name)
            function.restype = answers
            function.argtypes = takes

    def last_error(self) -> str:
        """The words of this thread's last failure."""
        size = 512
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = int(self.cdll.weir_last_error(buffer, size))
            if length < size:
                return buffer.value.decode("utf-8", "replace")
            size = length + 1

    def check(self, result: int) -> bool:
        """Whether there was something; raises what a failure says."""
        if result == Result.OK:
            return True
        if result == Result.NONE:
            return False
        raise of_result(result, self.last_error())

    def call(self, name: str, *arguments: Any) -> bool:
        """Calls a function that answers a result."""
        return self.check(getattr(self.cdll, name)(*arguments))

    def number(self, name: str, *arguments: Any) -> Optional[int]:
        """Calls a function whose last parameter is a 64-bit number to write."""
        out = ctypes.c_uint64()
        return out.value if self.call(name, *arguments, ctypes.byref(out)) else None

    def bytes(self, name: str, *arguments: Any) -> Optional[bytes]:
        """Calls a function whose last parameter gets bytes, and frees those."""
        handle = ctypes.c_void_p()
        if not self.call(name, *arguments, ctypes.byref(handle)):
            return None
        try:
            data, length = ctypes.c_void_p(), ctypes.c_size_t()
            self.call("weir_bytes_get", handle, ctypes.byref(data), ctypes.byref(length))
            return ctypes.string_at(data, length.value) if length.value else b""
        finally:
            self.call("weir_bytes_free", handle)

    def configured(self, call: Callable[[Any], int]) -> List[Diagnostic]:
        """Does something with a config: `call` is given the place for diagnostics. Answers warnings."""
        handle = ctypes.c_void_p()
        result = call(ctypes.byref(handle))
        message = self.last_error() if result != Result.OK else ""
        found = self._diagnostics(handle)
        if result != Result.OK:
            raise of_result(result, message, found)
        return found

    def _diagnostics(self, handle: ctypes.c_void_p) -> List[Diagnostic]:
        found: List[Diagnostic] = []
        try:
            one = _abi.sized(_abi.Diagnostic)
            while handle and self.call("weir_diagnostics_get", handle, len(found), ctypes.byref(one)):
                place = (_abi.Severity(one.severity), str(one.file), one.line, one.column)
                found.append(Diagnostic(*place, str(one.field), str(one.message), str(one.help)))
        finally:
            self.call("weir_diagnostics_free", handle)
        return found


_lock = threading.Lock()
_loaded: Optional[Library] = None


def load() -> Library:
    """The library, loaded once."""
    global _loaded
    with _lock:
        if _loaded is None:
            _loaded = Library()
        return _loaded


def load_proxy() -> Library:
    """The library, if it has tier 2."""
    library = load()
    if not library.has_proxy:
        raise LibraryError(f"{library.path} has the engine only; build it without --tier1 for a whole proxy")
    return library


class Handle:
    """Something of Weir's that is to be freed: once, and only in the process that made it."""

    def __init__(self, library: Library, free: str, number: Optional[int], of: str, keeps: Any = None) -> None:
        self._library, self._free, self._of, self._number = library, free, of, number
        # What C calls or reads until then. It is here, and not beside the handle, so that it outlives the freeing when
        # the interpreter takes all of it away at once.
        self._keeps = keeps
        self._process = os.getpid()
        self._lock = threading.Lock()

    @property
    def number(self) -> int:
        """For a call; raises if it was freed."""
        number = self._number
        if number is None:
            raise self._closed()
        return number

    def _closed(self) -> Error:
        return of_result(Result.ENDED, f"the {self._of} is closed")

    @property
    def is_open(self) -> bool:
        return self._number is not None

    def free(self) -> None:
        """Frees it; a second time does nothing. A child of a fork leaves alone what its parent has."""
        with self._lock:
            number, self._number = self._number, None
        if number is not None and self._process == os.getpid():
            self._library.call(self._free, number)

    def __del__(self) -> None:
        # Only a safety net: whoever uses it closes it.
        try:
            self.free()
        except Exception:
            pass
