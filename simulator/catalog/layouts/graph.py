"""A fabric drawn as a graph: YAML, or what networkx writes as node-link JSON or GraphML.

GraphML is XML from a stranger: document types, and with them entities, are refused.
"""

from __future__ import annotations

from typing import Any

from simulator.catalog.json_text import read_json
from simulator.catalog.layouts.layout import Layout
from simulator.catalog.mistakes import validate
from simulator.catalog.yaml_text import Document, KeyPath, read_yaml
from simulator.spec.errors import InputError
from simulator.spec.fabric_graph import FabricGraph

_FIELDS = ("bandwidth_bytes_per_s", "latency_s")


def read_fabric_graph(text: str, name: str) -> Layout:
    """Return the layout of a fabric's graph. Raises InputError."""
    start = text.lstrip()[:1]
    if start == "<":
        document = _from_graphml(text, name)
    elif start == "{":
        document = _from_node_link(text, name)
    else:
        document = read_yaml(text, name)
    graph = validate(FabricGraph, document, document.value)
    if graph.host_kind == "node":
        return Layout(graph=graph, nodes=graph.n_hosts)
    return Layout(graph=graph)


def _from_node_link(text: str, name: str) -> Document:
    value = read_json(text, name)
    links = value.get("links", value.get("edges"))
    if not isinstance(links, list):
        raise InputError(
            "holds no list of links",
            where=name,
            fix="write it with networkx.node_link_data, or as YAML",
        )
    if value.get("directed"):
        raise InputError("is a directed graph", where=name, fix="links go both ways: use a Graph")
    return _document([_of_edge(link, name) for link in links], name)


def _of_edge(link: Any, name: str) -> tuple[str, str, dict[str, Any]]:
    if not isinstance(link, dict) or not {"source", "target"} <= link.keys():
        raise InputError("a link without source and target", where=name)
    return str(link["source"]), str(link["target"]), link


def _from_graphml(text: str, name: str) -> Document:
    import networkx as nx

    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError("holds a document type", where=name, fix="take it out")
    try:
        graph = nx.parse_graphml(text)
    except Exception as error:  # whatever networkx and the XML parser raise on a stranger's text
        raise InputError(
            f"not valid GraphML: {error!s:.80}", where=name, fix="write it with networkx"
        ) from None
    if graph.is_directed():
        raise InputError("is a directed graph", where=name, fix="links go both ways: use a Graph")
    return _document([(str(a), str(b), data) for a, b, data in graph.edges(data=True)], name)


def _document(edges: list[tuple[str, str, dict[str, Any]]], name: str) -> Document:
    """Return the links as the YAML form has them; each has its names for a place."""
    links = [
        {"ends": [one, other]} | {field: data[field] for field in _FIELDS if field in data}
        for one, other, data in edges
    ]
    places: dict[KeyPath, str] = {
        ("links", number): f"{name}: link {one} -- {other}"
        for number, (one, other, _) in enumerate(edges)
    }
    return Document({"links": links}, places, name)
