"""A server on this machine that answers as a SPARQL query service does, with invented data.

It understands the queries that kgrec sends, no others, and fails as a test says.
"""

import json
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

WD, WDT = "http://www.wikidata.org/entity/", "http://www.wikidata.org/prop/direct/"
Failure = tuple[int, dict[str, str], bytes]


@dataclass
class Graph:
    """Invented entities: `ids` by property and value, `facts` by head, `names` by language."""

    ids: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    facts: list[tuple[str, str, str]] = field(default_factory=list)
    names: dict[str, dict[str, str]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    dates: dict[str, str] = field(default_factory=dict)
    works: dict[str, str] = field(default_factory=dict)


@dataclass
class Service:
    """How the service behaves, and what it was asked.

    `failures` are taken one by one, None for an answer; a query of more than `max_values` values is
    answered by `too_many`; after `n_alive` requests nobody answers any more.
    """

    graph: Graph
    failures: deque[Failure | None] = field(default_factory=deque)
    max_values: int = 10**9
    too_many: Failure = (500, {}, b"java.util.concurrent.TimeoutException\n\tat com.bigdata")
    n_alive: int = 10**9
    queries: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    n_at_once: int = 0
    most_at_once: int = 0
    endpoint: str = ""


def answer(graph: Graph, query: str) -> list[dict[str, dict[str, str]]]:
    """The bindings for one of kgrec's queries."""

    def iri(text: str) -> dict[str, str]:
        return {"type": "uri", "value": text}

    def literal(text: str) -> dict[str, str]:
        return {"type": "literal", "value": text}

    def things(variable: str, prefix: str = "wd") -> list[str]:
        values = re.search(rf"VALUES \?{variable} {{([^}}]*)}}", query)
        return re.findall(rf"{prefix}:(\w+)", values[1]) if values else []

    def texts(variable: str) -> list[str]:
        values = re.search(rf"VALUES \?{variable} {{((?:[^}}\"]|\"(?:[^\"\\]|\\.)*\")*)}}", query)
        assert values is not None
        found = re.findall(r'"((?:[^"\\]|\\.)*)"', values[1])
        return [re.sub(r"\\(.)", r"\1", text) for text in found]

    if "wikibase:propertyType ?type" in query:
        ontology = "http://wikiba.se/ontology#"
        return [
            {"property": iri(WD + name), "type": iri(ontology + graph.types[name])}
            for name in things("property")
            if name in graph.types
        ]
    if "?id ?item" in query:
        paths = re.findall(r"wdt:(P\d+)", query.partition("?item wdt")[2].join(["wdt", ""]))
        rows = []
        for name in paths:
            for text in texts("id"):
                for item in graph.ids.get(name, {}).get(text, []):
                    row = {"id": literal(text), "item": iri(WD + item)}
                    if "P629" in query and item in graph.works:
                        row["work"] = iri(WD + graph.works[item])
                    rows.append(row)
        return rows
    if "?title ?date" in query:
        of_type = re.search(r"wdt:P279\* wd:(Q\d+)", query)
        kinds = {head: tail for head, relation, tail in graph.facts if relation == "P31"}
        wanted = set(texts("title"))
        return [
            {
                "item": iri(WD + entity),
                "title": {"type": "literal", "value": name, "xml:lang": code},
                **({"date": literal(graph.dates[entity])} if entity in graph.dates else {}),
                **({"type": iri(WD + kinds[entity])} if entity in kinds else {}),
            }
            for entity, by_code in graph.names.items()
            for code, name in by_code.items()
            if name in wanted and (of_type is None or kinds.get(entity) == of_type[1])
        ]
    if "?head ?relation ?tail WHERE" in query:
        heads = set(things("head"))
        wanted = set(things("relation", "wdt"))
        return [
            {
                "head": iri(WD + head),
                "relation": iri(WDT + relation),
                "tail": iri(WD + tail) if tail[0] == "Q" else {"type": "bnode", "value": tail},
            }
            for head, relation, tail in graph.facts
            if head in heads
            and (relation in wanted if wanted else graph.types.get(relation) == "WikibaseItem")
        ]
    if "?entity ?label" in query:
        codes = re.findall(r'"(\w+)"', query.partition("IN (")[2].partition(")")[0])
        found = []
        for entity in things("entity"):
            if entity in graph.redirects:
                found.append(
                    {"entity": iri(WD + entity), "target": iri(WD + graph.redirects[entity])}
                )
            for code, name in graph.names.get(entity, {}).items():
                if code in codes:
                    label = {"type": "literal", "value": name, "xml:lang": code}
                    found.append(
                        {"entity": iri(WD + entity), "label": label, "language": literal(code)}
                    )
        return found
    raise AssertionError(query)


def as_json(rows: list[dict[str, dict[str, str]]]) -> bytes:
    return json.dumps({"head": {"vars": []}, "results": {"bindings": rows}}).encode()


class Handler(BaseHTTPRequestHandler):
    service: Service

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.send_error(400)

    def do_POST(self) -> None:
        service = self.service
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        query = parse_qs(body)["query"][0]
        service.queries.append(query)
        service.agents.append(self.headers["User-Agent"])
        if len(service.queries) > service.n_alive:
            self.close_connection = True
            return
        service.n_at_once += 1
        service.most_at_once = max(service.most_at_once, service.n_at_once)
        try:
            status, headers, content = self.reply(query)
        finally:
            service.n_at_once -= 1
        self.send_response(status)
        length = headers.get("Content-Length", str(len(content)))
        for name, value in {**headers, "Content-Length": length}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def reply(self, query: str) -> Failure:
        service = self.service
        if service.failures:
            failure = service.failures.popleft()
            if failure is None:
                pass
            elif failure[0] == 0:  # no answer at all for a while
                time.sleep(float(failure[2]))
            else:
                return failure
        values = re.search(r"VALUES \?\w+ {([^}]*)}", query)
        if values and len(values[1].split()) > service.max_values:
            return service.too_many
        return 200, {}, as_json(answer(service.graph, query))


@contextmanager
def serving(graph: Graph) -> Iterator[Service]:
    service = Service(graph)
    handler = type("TestHandler", (Handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    service.endpoint = f"http://127.0.0.1:{server.server_port}/sparql"
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
