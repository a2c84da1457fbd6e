"""Configs: text, mappings, and the simple ones that tests want."""

from __future__ import annotations

import ipaddress
import json
from typing import Any, Dict, List, Mapping, Sequence, Tuple, Union

#: Envoy's v3 bootstrap: YAML or JSON as text, or what `json.dumps` makes JSON of.
ConfigLike = Union[str, Mapping[str, Any]]
#: One `host:port`, or several that share the load.
Upstream = Union[str, Tuple[str, int], Sequence[Union[str, Tuple[str, int]]]]

_TYPES = "type.googleapis.com/envoy.extensions"


def to_text(config: ConfigLike) -> str:
    """The text of a config. A mapping's has a line for each field, so that findings have a place."""
    return config if isinstance(config, str) else json.dumps(config, indent=1)


def _split(address: Union[str, Tuple[str, int]]) -> Tuple[str, int]:
    if not isinstance(address, str):
        host, port = address
        return host, int(port)
    rest = address[len("http://") :].rstrip("/") if address.startswith("http://") else address
    host, colon, port_text = rest.rpartition(":")
    if "/" in rest or not colon or not host or not port_text.isdigit():
        raise ValueError(f"an upstream is `host:port` or `http://host:port`, and not {address!r}")
    return host.strip("[]"), int(port_text)


def _addresses(upstream: Upstream) -> List[Tuple[str, int]]:
    if isinstance(upstream, str):
        return [_split(upstream)]
    if len(upstream) == 2 and isinstance(upstream[0], str) and isinstance(upstream[1], int):
        return [(upstream[0], upstream[1])]
    return [_split(one) for one in upstream if not isinstance(one, int)]


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _cluster(name: str, upstream: Upstream) -> Dict[str, Any]:
    addresses = _addresses(upstream)
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}} for host, port in addresses
    ]
    return {
        "name": name,
        "type": "STATIC" if all(_is_ip(host) for host, _ in addresses) else "STRICT_DNS",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def forward(
    upstream: Union[Upstream, Mapping[str, Upstream]], *, host: str = "127.0.0.1", port: int = 0, name: str = "main"
) -> Dict[str, Any]:
    """A bootstrap that forwards what comes to one listener.

    `upstream` is `"127.0.0.1:8080"`, a list of those, or a mapping of path prefixes to those: the longest prefix wins.
    Clusters are called `upstream`, or `upstream-0`, `upstream-1`, ... in the order of the mapping. What is returned is a
    plain dict: change what you like before you give it to a `Proxy`.
    """
    if isinstance(upstream, Mapping):
        routed = [(prefix, f"upstream-{index}", to) for index, (prefix, to) in enumerate(upstream.items())]
    else:
        routed = [("/", "upstream", upstream)]
    by_length = sorted(routed, key=lambda route: -len(route[0]))
    routes = [{"match": {"prefix": prefix}, "route": {"cluster": cluster}} for prefix, cluster, _ in by_length]
    manager = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"}}],
    }
    listener = {
        "name": name,
        "address": {"socket_address": {"address": host, "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {
        "static_resources": {
            "listeners": [listener],
            "clusters": [_cluster(cluster, to) for _, cluster, to in routed],
        }
    }
