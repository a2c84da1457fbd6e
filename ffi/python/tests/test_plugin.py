"""The fixture as its users see it."""

from __future__ import annotations

import pytest


def test_the_log_is_shown_if_a_test_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_fails(weir_proxy):
            proxy = weir_proxy(upstream="127.0.0.1:1")
            assert proxy.request("GET", "/").status == 200

        def test_passes(weir_proxy):
            proxy = weir_proxy(upstream=("127.0.0.1", 1))
            assert proxy.request("GET", "/").status == 503
        """
    )
    # Whether the package is installed or not: its entry point aside, the plugin by its name.
    result = pytester.runpytest_inprocess("-p", "no:weir", "-p", "weir.pytest_plugin")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*- weir log call -*", "proxy 1 INFO: listener main listens on 127.0.0.1:*"])
    result.stdout.fnmatch_lines(["proxy 1 started in * ms: <weir.Proxy at http://127.0.0.1:*>"])
