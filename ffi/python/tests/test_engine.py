"""Tier 1: the engine alone, on a clock of the test's."""

from __future__ import annotations

from typing import List

import pytest

import weir

from support import answering, manager

HERE, THERE, FAR = weir.Address("127.0.0.1", 80), weir.Address("192.0.2.7", 40000), weir.Address("192.0.2.1", 8080)
SECOND = 1_000_000_000
REQUEST = b"GET /users HTTP/1.1\r\nhost: shop.example\r\n\r\n"


def forwarding(upstream: str = "192.0.2.1:8080") -> weir.Config:
    config = weir.forward(upstream)
    log = {"@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": "/var/log/a"}
    log["log_format"] = {"text_format_source": {"inline_string": "%REQ(:PATH)% %RESPONSE_CODE%\n"}}  # type: ignore[assignment]
    manager(config)["access_log"] = [{"name": "file", "typed_config": log}]
    return weir.Config(config)


def exchange(engine: weir.Engine) -> bytes:
    """A request from a client, over an upstream, back to the client."""
    client = engine.accept(engine.listener("main"), HERE, THERE, now=1)
    assert engine.opening(client) is weir.Opening.PLAIN
    assert engine.recv(client, REQUEST, now=2) == len(REQUEST)
    connect = [action for action in engine.actions() if action.kind is weir.ActionKind.CONNECT]
    assert [(action.address, action.tls) for action in connect] == [(FAR, False)]
    upstream = connect[0].conn
    engine.connected(upstream, HERE, FAR, now=3)
    assert (weir.ActionKind.TRANSMIT, upstream) in [(action.kind, action.conn) for action in engine.actions()]
    assert engine.transmit(upstream, now=3).startswith(b"GET /users HTTP/1.1\r\n")
    engine.recv(upstream, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", now=4)
    list(engine.actions())
    return engine.transmit(client, now=4)


def test_an_exchange_is_decided_recorded_and_replayed() -> None:
    digests: List[int] = []
    for _ in range(2):
        with forwarding() as config:
            engine = weir.Engine(config, seed=3, record=True, explain=True, wall=10**18)
        with engine:
            answer = exchange(engine)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"\r\n\r\nhello")
            events = list(engine.events())
            lines = [event for event in events if event.kind is weir.EventKind.ACCESS_LOG]
            assert [line.text for line in lines] == [b"/users 200\n"]
            assert engine.log_path(lines[0].number) == "/var/log/a"
            assert engine.log_path(9) is None
            assert any(b"forwards to cluster upstream" in event.text for event in events)
            assert events[-1].ended or any(event.ended for event in events)
            assert engine.stat("cluster.upstream.upstream_rq_total") == 1
            assert engine.stats()["cluster.upstream.upstream_rq_total"] == 1
            state = engine.state()
            assert (state.clients, state.exchanges, state.drained) == (1, 0, False)
            log = engine.recorded()
            assert log is not None
        digests.append(state.digest)
        with weir.Replay(log, explain=True) as replay:
            told = []
            while replay.step():
                told += list(replay.events())
            assert any(event.ended and event.number == 200 for event in told)
            assert replay.summary().digest == state.digest
        assert weir.replay(log).whole
        with pytest.raises(weir.ReplayError):
            weir.replay(log[:-1] + bytes([log[-1] ^ 1]))
    assert digests[0] == digests[1]


def test_deadlines_and_failures() -> None:
    with forwarding() as config, weir.Engine(config) as engine:
        client = engine.accept(engine.listener("main"), HERE, THERE, now=1)
        deadline = engine.deadline()
        assert deadline is not None and engine.deadline_reason()
        engine.recv(client, REQUEST, now=2)
        (connect,) = [action for action in engine.actions() if action.kind is weir.ActionKind.CONNECT]
        engine.connect_failed(connect.conn, "nobody there", now=3)
        list(engine.actions())
        assert engine.transmit(client, now=3).startswith(b"HTTP/1.1 503 ")
        with pytest.raises(weir.UnknownIdError):
            engine.connected(connect.conn, HERE, FAR, now=4)
        with pytest.raises(weir.UsageError, match="monotonic"):
            engine.timeout(1)
        engine.drain(10 * SECOND, now=5)
        now = 5
        while not engine.state().drained:
            for action in engine.actions():
                if action.kind in (weir.ActionKind.CLOSE, weir.ActionKind.CLOSE_IF_IDLE):
                    engine.closed(action.conn, now)
            now = max(now, engine.deadline() or now)
            engine.timeout(now)
        assert now < 10 * SECOND
        assert [event.number for event in engine.events() if event.kind is weir.EventKind.DRAINED] == [0]


def test_names_are_resolved_by_the_host() -> None:
    with forwarding("upstream.example:8080") as config, weir.Engine(config) as engine:
        (resolve,) = [action for action in engine.actions() if action.kind is weir.ActionKind.RESOLVE]
        assert resolve.name == "upstream.example"
        engine.resolved(resolve.query, ["192.0.2.1"], now=1)
        assert exchange(engine).endswith(b"hello")


def test_configs_have_listeners_and_findings() -> None:
    with weir.Config(answering("x")) as config:
        (listener,) = config.listeners()
        assert (listener.name, listener.address) == ("main", weir.Address("127.0.0.1", 0))
        assert config.warnings == []
    with pytest.raises(weir.EndedError, match="the config is closed"):
        config.listeners()
    with pytest.raises(weir.ConfigError) as raised:
        weir.Config("static_resources: { listenerz: [] }")
    assert raised.value.diagnostics[0].help == "did you mean `listeners`?"


def test_tls_is_the_hosts() -> None:
    config = answering("secret")
    chain = config["static_resources"]["listeners"][0]["filter_chains"][0]
    files = {"certificate_chain": {"filename": "/c.pem"}, "private_key": {"filename": "/k.pem"}}
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    chain["transport_socket"] = {
        "name": "tls",
        "typed_config": {"@type": kind, "common_tls_context": {"tls_certificates": [files]}},
    }
    with weir.Config(config) as loaded, weir.Engine(loaded) as engine:
        conn = engine.accept(engine.listener("main"), HERE, THERE, now=1)
        assert engine.opening(conn) is weir.Opening.TLS
        engine.secured(conn, weir.TlsInfo("TLSv1.3", "TLS_AES_128_GCM_SHA256", "http/1.1", "shop.example"), now=2)
        engine.recv(conn, REQUEST, now=3)
        list(engine.actions())
        assert engine.transmit(conn, now=3).endswith(b"secret")
        failed = engine.accept(engine.listener("main"), HERE, THERE, now=4)
        engine.handshake_failed(failed, weir.TlsFault.PROTOCOL, now=5)
        with pytest.raises(weir.UnknownIdError):
            engine.eof(failed, now=6)
