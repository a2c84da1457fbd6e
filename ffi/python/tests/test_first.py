"""What everybody does first. Runs with plain `unittest` too: no package is needed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

import weir

from support import Upstream, answering, get


class First(unittest.TestCase):
    def test_a_proxy_forwards_to_an_upstream(self) -> None:
        with Upstream() as upstream, weir.Proxy(weir.forward(upstream.at)) as proxy:
            self.assertEqual(get(proxy.url("/over/a/socket")), b"upstream:/over/a/socket")
            response = proxy.request("GET", "/without/one")
            self.assertEqual((response.status, response.text), (200, "upstream:/without/one"))
            self.assertEqual(proxy.stat("cluster.upstream.upstream_rq_total"), 2)
            self.assertEqual(proxy.drain(), 0)

    def test_a_wrong_config_is_told_with_its_place(self) -> None:
        config = "static_resources:\n  listeners: []\n  clusterz: []\n"
        with self.assertRaises(weir.ConfigError) as raised:
            weir.Proxy(config, name="my.yaml", log=None)
        found = raised.exception.diagnostics[0]
        self.assertEqual((found.file, found.line, found.column), ("my.yaml", 3, 3))
        self.assertEqual((found.field, found.help), ("static_resources.clusterz", "did you mean `clusters`?"))
        self.assertTrue(str(raised.exception).startswith("my.yaml:3:3: error: static_resources.clusterz: "))

    def test_an_engine_answers_without_sockets(self) -> None:
        here, there = weir.Address("127.0.0.1", 80), weir.Address("127.0.0.1", 40000)
        with weir.Config(answering("decided")) as config, weir.Engine(config) as engine:
            conn = engine.accept(engine.listener("main"), here, there, now=1)
            self.assertEqual(engine.opening(conn), weir.Opening.PLAIN)
            request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
            self.assertEqual(engine.recv(conn, request, now=2), len(request))
            kinds = [action.kind for action in engine.actions() if action.conn == conn]
            self.assertIn(weir.ActionKind.TRANSMIT, kinds)
            self.assertTrue(engine.transmit(conn, now=2).endswith(b"\r\n\r\ndecided"))

    def test_the_examples_of_the_readme_run(self) -> None:
        readme = Path(__file__).resolve().parents[1] / "README.md"
        examples = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.S)
        whole = [one for one in examples if "import weir" in one]
        self.assertGreaterEqual(len(whole), 2)
        for example in whole:
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            subprocess.run([sys.executable, "-c", example], check=True, env=environment, timeout=60, stdout=subprocess.DEVNULL)

    def test_a_library_that_is_not_there_is_told(self) -> None:
        for value in ("/nowhere/libweir.so", os.devnull):
            environment = {**os.environ, "WEIR_LIBRARY": value, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            script = "import weir\ntry: weir.Proxy('{}')\nexcept weir.LibraryError as error: print(error)"
            ran = subprocess.run([sys.executable, "-c", script], check=True, env=environment, stdout=subprocess.PIPE)
            self.assertIn(f"{value}: ", ran.stdout.decode())


if __name__ == "__main__":
    unittest.main()
