"""A whole proxy, on real sockets."""

from __future__ import annotations

import gc
import http.client
import logging
import os
import subprocess
import sys
import threading
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import List, Tuple

import pytest

import weir
from weir.pytest_plugin import ProxyFactory

from support import Upstream, answering, get, manager


def test_a_drain_loses_nothing_while_requests_run(weir_proxy: ProxyFactory, upstream: Upstream) -> None:
    proxy = weir_proxy(upstream=upstream.at, workers=2)
    host, port = proxy.listener()
    outcomes: List[Tuple[float, object]] = []
    running = threading.Barrier(9)
    over = threading.Event()

    def client() -> None:
        running.wait()
        while not over.is_set():
            connection = http.client.HTTPConnection(host, port, timeout=20)
            sent = float("inf")
            try:
                connection.request("GET", "/work?sleep=0.02")
                sent = time.monotonic()
                outcomes.append((sent, connection.getresponse().read()))
            except (OSError, http.client.HTTPException) as fault:
                outcomes.append((sent, fault))
                return
            finally:
                connection.close()

    clients = [threading.Thread(target=client) for _ in range(8)]
    for one in clients:
        one.start()
    running.wait()
    time.sleep(0.1)
    drained_from = time.monotonic()
    assert proxy.drain(wait=20) == 0
    over.set()
    for one in clients:
        one.join()
    before = [outcome for sent, outcome in outcomes if sent < drained_from]
    assert len(before) >= 8
    assert set(before) == {b"upstream:/work"}
    assert len(upstream.seen) == len([outcome for _, outcome in outcomes if isinstance(outcome, bytes)])
    with pytest.raises(weir.EndedError):
        proxy.request("GET", "/")


def test_an_update_changes_routes_and_ports(weir_proxy: ProxyFactory, upstream: Upstream) -> None:
    with Upstream("other") as other:
        proxy = weir_proxy(upstream=upstream.at)
        before = proxy.listener("main")
        assert get(proxy.url("/a")) == b"upstream:/a"
        config = weir.forward(other.at, port=before.port)
        assert proxy.update(config) == []
        assert proxy.listener() == before
        assert get(proxy.url("/a")) == b"other:/a"
        with pytest.raises(weir.ConfigError) as raised:
            proxy.update({"static_resources": {"listenerz": []}}, name="next.json")
        assert raised.value.diagnostics[0].file == "next.json"
        assert raised.value.diagnostics[0].line == 3
        assert get(proxy.url("/b")) == b"other:/b"


def test_two_proxies_live_in_one_process(weir_proxy: ProxyFactory) -> None:
    one, other = weir_proxy(answering("one")), weir_proxy(answering("other"))
    assert one.url() != other.url()
    assert (get(one.url()), get(other.url())) == (b"one", b"other")
    one.close()
    one.close()
    assert not one.is_open
    assert get(other.url()) == b"other"
    with pytest.raises(weir.EndedError, match="the proxy is closed"):
        one.url()
    assert repr(one) == "<weir.Proxy: the proxy is closed>"


def test_threads_use_one_proxy_at_once(weir_proxy: ProxyFactory, upstream: Upstream) -> None:
    proxy = weir_proxy(upstream=upstream.at, workers=2)

    def work(number: int) -> str:
        proxy.stats()
        proxy.explain("GET", f"/{number}")
        return proxy.request("GET", f"/{number}").text

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(200))) == [f"upstream:/{number}" for number in range(200)]


def test_closing_races_with_calls_and_nothing_breaks(weir_proxy: ProxyFactory, upstream: Upstream) -> None:
    for _ in range(10):
        proxy = weir_proxy(upstream=upstream.at)

        def work() -> None:
            try:
                while True:
                    proxy.request("GET", "/")
                    proxy.stat("cluster.upstream.upstream_rq_total")
            except weir.Error:
                pass

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.02)
        proxy.close()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()


def test_python_goes_on_while_a_call_waits(weir_proxy: ProxyFactory) -> None:
    proxy = weir_proxy(answering("x"))
    ticks = 0
    waiter = threading.Thread(target=proxy.wait)
    waiter.start()
    while ticks < 1000:
        ticks += 1
    assert waiter.is_alive()
    proxy.stop()
    waiter.join(20)
    assert not waiter.is_alive()


def test_wait_times_out_and_goes_on(weir_proxy: ProxyFactory) -> None:
    proxy = weir_proxy(answering("x"))
    with pytest.raises(weir.TimedOutError) as raised:
        proxy.wait(0.01)
    assert isinstance(raised.value, TimeoutError) and raised.value.result == weir.Result.TIMED_OUT
    assert get(proxy.url()) == b"x"
    assert proxy.drain(wait=False) is None
    assert proxy.wait() == 0


def test_questions(weir_proxy: ProxyFactory, upstream: Upstream) -> None:
    config = weir.forward({"/": upstream.at, "/api": [upstream.at, upstream.at]}, name="front")
    config["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}
    proxy = weir_proxy(config, seed=7, hostname="here")
    admin = proxy.admin()
    assert admin is not None and b"LIVE" in get(f"http://{admin.host}:{admin.port}/ready")
    assert proxy.listener("front") == proxy.listener()
    assert proxy.url("/a?b=c").endswith(f":{proxy.listener().port}/a?b=c")
    steps = proxy.explain("GET", "http://shop.example/api/users?page=2", headers={"x-debug": "1"})
    assert steps[0].startswith("GET shop.example/api/users?page=2 from")
    assert any("forwards to cluster upstream-1" in step for step in steps), steps
    assert proxy.stat("cluster.upstream-1.upstream_rq_total") == 0
    proxy.request("GET", "/api")
    stats = proxy.stats()
    assert stats["cluster.upstream-1.upstream_rq_total"] == 1
    assert stats["cluster.upstream-0.upstream_rq_total"] == 0
    assert "cluster.upstream-1.upstream_rq_time: P0(" in proxy.stats_text()
    assert [one["@type"].rsplit(".", 1)[-1] for one in proxy.config_dump()["configs"]][0] == "BootstrapConfigDump"
    with pytest.raises(weir.NoStatError):
        proxy.stat("nonsense")
    with pytest.raises(weir.NoListenerError):
        proxy.listener("nonsense")
    with pytest.raises(weir.NoListenerError):
        proxy.request("GET", "/", listener="nonsense")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "envoy.yaml"
    path.write_text("static_resources: { listenerz: [] }", encoding="utf-8")
    with pytest.raises(weir.ConfigError, match="envoy.yaml:1:21: error: static_resources.listenerz"):
        weir.Proxy.from_file(path, log=None)
    path.write_text("static_resources: {}", encoding="utf-8")
    with weir.Proxy.from_file(str(path)) as proxy:
        assert proxy.admin() is None
    with pytest.raises(weir.FileError) as raised:
        weir.Proxy.from_file(tmp_path / "nothing.yaml")
    assert isinstance(raised.value, OSError)


def test_what_the_system_refuses(weir_proxy: ProxyFactory) -> None:
    taken = weir_proxy(answering("x")).listener()
    config = weir.forward("127.0.0.1:1", port=taken.port)
    config["static_resources"]["listeners"][0]["enable_reuse_port"] = False
    with pytest.raises(weir.ListenError, match=str(taken.port)):
        weir_proxy(config)
    with pytest.raises(weir.UsageError, match="workers"):
        weir_proxy(answering("x"), workers=5000)
    with pytest.raises(TypeError):
        weir_proxy()
    with pytest.raises(ValueError, match="host:port"):
        weir_proxy(upstream="https://127.0.0.1:1")


def test_unsupported_fields_are_warnings_if_that_is_wished(weir_proxy: ProxyFactory) -> None:
    config = answering("x")
    manager(config)["proxy_status_config"] = {}
    with pytest.raises(weir.ConfigError) as raised:
        weir_proxy(config)
    assert [found.severity for found in raised.value.diagnostics] == [weir.Severity.UNSUPPORTED]
    proxy = weir_proxy(config, allow_unsupported=True)
    assert [found.field.rsplit(".", 1)[-1] for found in proxy.warnings] == ["proxy_status_config"]


def test_the_log_goes_to_the_logger(upstream: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="weir"):
        with weir.Proxy(weir.forward(upstream.at), log_level="debug") as proxy:
            address = proxy.listener()
    said = [(one.name, one.levelno, one.getMessage()) for one in caplog.records]
    assert ("weir", logging.INFO, f"listener main listens on {address.host}:{address.port}") in said
    caplog.clear()
    lines: List[Tuple[weir.Level, str]] = []
    with weir.Proxy(weir.forward(upstream.at), log=lambda level, line: lines.append((level, line))):
        pass
    assert lines and lines[0][0] == weir.Level.INFO
    with weir.Proxy(weir.forward(upstream.at), log=None):
        pass
    assert not caplog.records


def test_a_log_function_that_raises_harms_nobody(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: List[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: raised.append(what.exc_value))

    def log(level: weir.Level, line: str) -> None:
        raise RuntimeError(line)

    with weir.Proxy(weir.forward(upstream.at), log=log) as proxy:
        assert get(proxy.url("/a")) == b"upstream:/a"
    assert raised


def test_what_is_forgotten_is_freed(upstream: Upstream) -> None:
    proxy = weir.Proxy(weir.forward(upstream.at))
    url = proxy.url("/a")
    assert get(url) == b"upstream:/a"
    del proxy
    gc.collect()
    with pytest.raises(urllib.error.URLError):
        get(url)


def test_an_interpreter_may_end_with_a_proxy_and_a_call_under_way(upstream: Upstream) -> None:
    script = f"""
import logging, sys, weir
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
proxy = weir.Proxy(weir.forward("{upstream.at}"), log_level="debug")
call = proxy.stream("GET", "/slow?sleep=5")
assert proxy.request("GET", "/").status == 200
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", script]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, env=environment)
    assert ran.returncode == 0, ran.stdout.decode()


def test_input_logs_replay(weir_proxy: ProxyFactory, upstream: Upstream, tmp_path: Path) -> None:
    proxy = weir_proxy(upstream=upstream.at, record=tmp_path)
    proxy.request("GET", "/recorded")
    written = proxy.write_input_logs()
    assert written
    for path in written:
        summary = weir.replay(path.read_bytes())
        assert summary.whole
    with pytest.raises(weir.BadLogError):
        weir.replay(b"nonsense")
