"""What calls carry: header fields, requests and responses."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Iterable, Iterator, List, Mapping, Optional, Tuple, Union
from urllib.parse import urlsplit

from . import _abi

_Text = Union[str, bytes]
#: Header fields as callers give them; pairs may repeat a name.
HeadersLike = Union[Mapping[str, _Text], Iterable[Tuple[str, _Text]]]
#: A body as callers give it.
Body = Union[bytes, bytearray, memoryview, str, Iterable[bytes]]


class Headers(Mapping[str, str]):
    """Header fields in their order and case. Names are looked up in any case; several of a name are joined by commas."""

    def __init__(self, pairs: Iterable[Tuple[str, str]] = ()) -> None:
        #: All of them, as they came.
        self.pairs: List[Tuple[str, str]] = list(pairs)

    def get_all(self, name: str) -> List[str]:
        """Every value of a name: of `set-cookie`, which cannot be joined."""
        return [value for other, value in self.pairs if other.lower() == name.lower()]

    def __getitem__(self, name: str) -> str:
        found = self.get_all(name)
        if not found:
            raise KeyError(name)
        return ", ".join(found)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self.pairs))

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self.pairs})

    def __repr__(self) -> str:
        return f"Headers({self.pairs!r})"


def fields(headers: Optional[HeadersLike]) -> List[Tuple[bytes, bytes]]:
    """Fields as bytes. Text is Latin-1, which is how HTTP's bytes are read too: nothing is lost either way."""
    pairs = headers.pairs if isinstance(headers, Headers) else headers.items() if isinstance(headers, Mapping) else headers
    encoded = []
    for name, value in pairs or ():
        encoded.append((name.encode("ascii"), value if isinstance(value, bytes) else value.encode("latin-1")))
    return encoded


def read_headers(get: Any) -> Headers:
    """All fields that `get(index, out)` has."""
    pairs: List[Tuple[str, str]] = []
    one = _abi.Header()
    while get(len(pairs), one):
        pairs.append((one.name.bytes().decode("latin-1"), one.value.bytes().decode("latin-1")))
    return Headers(pairs)


@dataclass(frozen=True)
class Response:
    """A whole response."""

    status: int
    headers: Headers
    body: bytes
    trailers: Headers = field(default_factory=Headers)

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Request:
    """A request as C takes it. It keeps alive what the struct points to."""

    def __init__(
        self, method: str, target: str, headers: Optional[HeadersLike], authority: Optional[str], has_body: bool
    ) -> None:
        scheme, host, path = _parts(target)
        listed = fields(headers)
        hosts = [value.decode("latin-1") for name, value in listed if name.lower() == b"host"]
        listed = [pair for pair in listed if pair[0].lower() != b"host"]
        texts = self._texts = _abi.Texts()
        made = _abi.sized(_abi.Request)
        made.method, made.path, made.scheme = texts.of(method), texts.of(path), texts.of(scheme)
        made.authority = texts.of(authority or host or (hosts[0] if hosts else "localhost"))
        array = texts.fields(listed)
        if array is not None:
            made.headers = array
        made.header_count = len(listed)
        made.has_body = int(has_body)
        self.made = made


def _parts(target: str) -> Tuple[str, str, str]:
    """Scheme, host and path of `/path?query` or `http://host/path?query`."""
    if not target.startswith(("http://", "https://")):
        return "", "", target
    url = urlsplit(target)
    return url.scheme, url.netloc, (url.path or "/") + (f"?{url.query}" if url.query else "")
