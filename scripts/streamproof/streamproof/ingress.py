"""Where an Ingress leads: from host and path to a Service, its port and its pods. Pure.

https://kubernetes.io/docs/concepts/services-networking/ingress/ has the rules; regular expressions and rewrites are
ingress-nginx': https://kubernetes.github.io/ingress-nginx/user-guide/ingress-path-matching/
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

_NGINX = "nginx.ingress.kubernetes.io/"
# An expression is a tenant's, and matched by whoever diagnoses.
_MAX_REGEX = 1000


@dataclass(frozen=True)
class Route:
    """What a request meets.

    Attributes:
        host: to ask for; empty for any.
        backend: name and port of a Service, as the Ingress has them.
        path: with the query, as the edge asks the backend for it.
        tls: whether the edge serves the host by TLS.
    """

    host: str
    backend: dict[str, Any]
    path: str
    tls: bool


def route(ingress: dict[str, Any], path: str, host: str | None = None, *, nginx: bool = True) -> Route:
    """Find the rule for a request: of the most specific host the longest path that fits, Exact before Prefix.

    Args:
        ingress: the object.
        path: that is asked for, with or without a query.
        host: that is asked for; None for the first host that has the path.
        nginx: whether annotations of ingress-nginx are obeyed.

    Raises:
        ValueError: there is none, or several hosts lead to different backends; the message says what to do.
    """
    name, spec = ingress["metadata"]["name"], ingress["spec"]
    annotations = ingress["metadata"].get("annotations", {}) if nginx else {}
    asked, _, query = path.partition("?")
    rules = spec.get("rules", [])
    if host is not None:
        host = host.partition(":")[0].lower()
        fitting = [rule for rule in rules if _covers(rule.get("host", ""), host)]
        most = max((_precision(rule.get("host", "")) for rule in fitting), default=0)
        rules = [rule for rule in fitting if _precision(rule.get("host", "")) == most]
    found: dict[str, tuple[tuple[int, bool], dict[str, Any]]] = {}
    for rule in rules:
        for one in rule.get("http", {}).get("paths", []):
            key = (len(one.get("path", "/")), one.get("pathType") == "Exact")
            of_host = rule.get("host", "")
            if _fits(one, asked, annotations) and (of_host not in found or key > found[of_host][0]):
                found[of_host] = (key, one)
    if len({str(one["backend"]) for _, one in found.values()}) > 1:
        raise ValueError(
            f"the Ingress {name} leads {asked} of {', '.join(one or 'any host' for one in found)} to different "
            "backends: say which with --host"
        )
    of_host, rewritten, backend = "", asked, spec.get("defaultBackend")
    if found:
        of_host, (_, one) = next(iter(found.items()))
        rewritten, backend = _rewritten(one, asked, annotations), one["backend"]
    if backend is None:
        offered = [one.get("path", "/") for rule in rules for one in rule.get("http", {}).get("paths", [])]
        of = "" if host is None else f" for {host}"
        raise ValueError(
            f"the Ingress {name} routes {', '.join(offered) or 'no path'}{of}, not {asked}: "
            "give another --path or --host"
        )
    if "service" not in backend:
        raise ValueError(f"the Ingress {name} routes {asked} to no Service")
    to_ask = host or of_host.replace("*", "streamproof", 1)
    if query:
        rewritten += f"{'&' if '?' in rewritten else '?'}{query}"
    return Route(to_ask, backend["service"], rewritten, _by_tls(spec.get("tls", []), to_ask))


def service_port(service: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return a Service's port by number or name.

    Raises:
        ValueError: it has none, or nothing of the cluster behind it; the message says so.
    """
    name, spec = service["metadata"]["name"], service["spec"]
    if spec.get("type") == "ExternalName":
        raise ValueError(
            f"the Service {name} is an ExternalName, {spec.get('externalName')}: no pod of this cluster is behind it; "
            "ask that host with `streamproof verify`, and the edge with --baseline of it"
        )
    ports = spec.get("ports", [])
    for one in ports:
        if one["port"] == wanted.get("number") or (wanted.get("name") and one.get("name") == wanted["name"]):
            return dict(one)
    raise ValueError(
        f"a port is named that the Service {name} does not have: {wanted.get('name', wanted.get('number'))}"
    )


def ready_pods(slices: Sequence[dict[str, Any]], port_name: str) -> list[tuple[str, str, int]]:
    """Return name, address and port of each ready pod in EndpointSlices, once each, by IPv4 where it has both."""
    found: dict[str, tuple[str, str, int]] = {}
    for part in sorted(slices, key=lambda one: one.get("addressType") == "IPv6"):
        ports = [one["port"] for one in part.get("ports") or [] if (one.get("name") or "") == port_name]
        for endpoint in part.get("endpoints") or []:
            target = endpoint.get("targetRef") or {}
            # No word about it means ready: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
            ready = (endpoint.get("conditions") or {}).get("ready") is not False
            if ports and ready and target.get("kind") == "Pod":
                found.setdefault(target["name"], (target["name"], endpoint["addresses"][0], ports[0]))
    return sorted(found.values())


def _covers(pattern: str, host: str) -> bool:
    """Tell whether a host of a rule or a certificate covers one: a wildcard stands for one label."""
    pattern = pattern.lower()
    return pattern in ("", host) or (pattern.startswith("*.") and host.partition(".")[2] == pattern[2:])


def _precision(pattern: str) -> int:
    return 2 if pattern and not pattern.startswith("*") else int(bool(pattern))


def _by_tls(entries: Sequence[dict[str, Any]], host: str) -> bool:
    """Tell whether TLS is on for a host; an entry without hosts is for all of them."""
    return any(not one.get("hosts") or any(_covers(each, host) for each in one["hosts"]) for one in entries)


def _is_regex(annotations: dict[str, str]) -> bool:
    return annotations.get(f"{_NGINX}use-regex") == "true" or f"{_NGINX}rewrite-target" in annotations


def _fits(one: dict[str, Any], path: str, annotations: dict[str, str]) -> bool:
    pattern, kind, decoded = one.get("path", "/"), one.get("pathType"), unquote(path)
    if _is_regex(annotations):
        return _compiled(pattern).match(decoded) is not None
    if kind == "Exact":
        return bool(decoded == pattern)
    if kind == "Prefix":
        stem = pattern.rstrip("/")
        return bool(decoded == stem or decoded.startswith(f"{stem}/"))
    return decoded.startswith(pattern)  # ImplementationSpecific, by nginx and Traefik


def _rewritten(one: dict[str, Any], path: str, annotations: dict[str, str]) -> str:
    """Return what the edge makes of a path, as nginx' `rewrite` does."""
    target = annotations.get(f"{_NGINX}rewrite-target")
    match = _compiled(one.get("path", "/")).match(unquote(path)) if target else None
    if match is None or target is None:
        return path
    groups = match.groups("")
    rewritten = re.sub(r"\$(\d)", lambda ref: groups[int(ref[1]) - 1] if 0 < int(ref[1]) <= len(groups) else "", target)
    if not rewritten.startswith("/"):
        raise ValueError(f"the edge rewrites the path to {rewritten}, which is no path: name another with --path")
    return rewritten


def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile a path, which nginx matches without regard to case.

    Raises:
        ValueError: it is none, or one that could take for ever.
    """
    if len(pattern) > _MAX_REGEX or _may_explode(pattern):
        raise ValueError(f"the path {pattern} is an expression that could take for ever to match: it is not tried")
    try:
        return re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"the path {pattern} is not a regular expression: {error}") from error


def _may_explode(pattern: str) -> bool:
    """Tell whether a group that itself repeats or chooses is repeated, by which matching may take exponential time."""
    text = re.sub(r"\\.|\[\^?\]?[^\]]*\]", "x", pattern)
    while groups := re.search(r"\(([^()]*)\)([+*{]?)", text):
        varies = re.search(r"[+*{|]", groups[1]) is not None
        if varies and groups[2]:
            return True
        text = text[: groups.start()] + ("x+" if varies else "x") + text[groups.end() - len(groups[2]) :]
    return False
