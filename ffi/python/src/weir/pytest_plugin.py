"""The fixture `weir_proxy`: proxies for a test, closed at its end; their log is shown when the test fails.

    def test_retries(weir_proxy, upstream):
        proxy = weir_proxy(upstream=f"127.0.0.1:{upstream.port}")
        assert urlopen(proxy.url("/")).status == 200
"""

from __future__ import annotations

import time
from typing import Any, Generator, Iterator, List, Mapping, Optional, Protocol, Union

import pytest

from ._abi import Level
from ._config import ConfigLike, Upstream, forward
from ._proxy import Proxy

_LINES = pytest.StashKey[List[str]]()


class ProxyFactory(Protocol):
    """What the fixture `weir_proxy` is."""

    def __call__(
        self,
        config: Optional[ConfigLike] = None,
        *,
        upstream: Union[Upstream, Mapping[str, Upstream], None] = None,
        **options: Any,
    ) -> Proxy:
        """Starts a proxy: with a whole config, or with `upstream` as `weir.forward` takes it. Options as for `Proxy`."""


@pytest.fixture
def weir_proxy(request: pytest.FixtureRequest) -> Iterator[ProxyFactory]:
    """Starts proxies on free ports of 127.0.0.1: `weir_proxy(upstream="127.0.0.1:8080")`, or with a whole config."""
    started: List[Proxy] = []
    lines = request.node.stash.setdefault(_LINES, [])

    def start(
        config: Optional[ConfigLike] = None,
        *,
        upstream: Union[Upstream, Mapping[str, Upstream], None] = None,
        **options: Any,
    ) -> Proxy:
        if (config is None) == (upstream is None):
            raise TypeError("weir_proxy takes a config or an upstream, one of them")
        number = len(started) + 1

        def log(level: Level, line: str) -> None:
            lines.append(f"proxy {number} {level.name}: {line}")

        begun = time.perf_counter()
        proxy = Proxy(config if config is not None else forward(upstream or ""), **{"log": log, **options})
        took = (time.perf_counter() - begun) * 1000
        started.append(proxy)
        lines.append(f"proxy {number} started in {took:.1f} ms: {proxy!r}")
        return proxy

    yield start
    for proxy in reversed(started):
        proxy.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Adds the proxies' log to the report, which shows it if the test failed."""
    outcome = yield
    lines = item.stash.get(_LINES, [])
    if lines:
        report = outcome.get_result()
        report.sections.append((f"weir log {report.when}", "\n".join(lines)))
        lines.clear()
