"""The upstream, and the package's own plugin if the package is not installed."""

from __future__ import annotations

from typing import Iterator

import pytest

from support import Upstream

pytest_plugins = ["pytester"]


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.has_plugin("weir"):
        import weir.pytest_plugin

        config.pluginmanager.register(weir.pytest_plugin, "weir")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as one:
        yield one
