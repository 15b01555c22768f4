"""The routes of the service and its OpenAPI document.

Routes check bodies themselves and answer with bytes: what FastAPI would do for them is a tenth of
the time that a request takes.
"""

import asyncio
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from kgrec_cli import __version__
from kgrec_cli.service import bodies
from kgrec_cli.service.batcher import Overloaded
from kgrec_cli.service.guard import Guard
from kgrec_cli.service.measures import Measures
from kgrec_cli.service.page import PAGE_POLICY, render_page
from kgrec_cli.service.served import Refused
from kgrec_cli.service.service import Service

Body = TypeVar("Body", bound=BaseModel)
JSON = "application/json"
ABOUT = (
    "Lists of items for users and after histories, by GRU4RecKG. Items are named by id or title. "
    "Every mistake is one line in `error`."
)
PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": bodies.Problem, "description": "No API key, or another one."},
    403: {"model": bodies.Problem, "description": "Without a key: a Host other than localhost."},
    404: {"model": bodies.Problem, "description": "No such user or session."},
    409: {"model": bodies.Problem, "description": "No such item, or several."},
    413: {"model": bodies.Problem, "description": "The body is too large."},
    415: {"model": bodies.Problem, "description": "The body is not JSON."},
    422: {"model": bodies.Problem, "description": "Something that was sent is not as expected."},
    503: {"model": bodies.Problem, "description": "Too much to do, or it took too long."},
}
Text = Annotated[str, Query(min_length=1, max_length=300)]
SessionName = Annotated[str, Path(min_length=1, max_length=100)]


def build_app(
    service: Service, measures: Measures, api_key: str | None, *, is_local: bool = False
) -> Guard:
    """The service as an ASGI application; see `Guard`."""
    app = FastAPI(
        title="kgrec",
        version=__version__,
        description=ABOUT,
        redoc_url=None,
        responses=PROBLEMS,
        generate_unique_id_function=lambda route: route.name,
    )
    _add_lists(app, service)
    _add_sessions(app, service)
    _add_others(app, service, measures)
    _answer_mistakes(app)
    if api_key is not None:
        _describe_key(app)
    return Guard(app, measures, api_key, is_local=is_local)


def _add_lists(app: FastAPI, service: Service) -> None:
    @app.post("/recommend", **takes(bodies.Question), response_model=bodies.Answer)
    async def recommend(request: Request) -> Response:
        """Recommend items to a user of the data set, or after any history."""
        return answer(await service.recommend(await read_body(request, bodies.Question)))

    @app.post("/explain", **takes(bodies.Question), response_model=bodies.ExplainedAnswer)
    async def explain(request: Request) -> Response:
        """Recommend items, and say for each which history items carry it and what they share."""
        return answer(await service.explain(await read_body(request, bodies.Question)))

    @app.get("/similar", response_model=bodies.SimilarItems)
    async def similar(item: Text, topk: Annotated[int, Query(ge=1, le=1000)] = 10) -> Response:
        """The items whose vectors are nearest to that of an item, by cosine."""
        return answer(await service.similar(item, topk))

    @app.get("/items", response_model=bodies.FoundItems)
    async def items(search: Text, limit: Annotated[int, Query(ge=1, le=100)] = 10) -> Response:
        """Items by id or title; typos are allowed."""
        return answer(await service.search(search, limit))


def _add_sessions(app: FastAPI, service: Service) -> None:
    parameters = {"parameters": {"name": "$response.body#/session"}}
    names = ("add_events", "show_session", "close_session")
    links = {name: {"operationId": name, **parameters} for name in names}

    @app.post(
        "/sessions",
        **takes(bodies.NewSession),
        response_model=bodies.Session,
        status_code=201,
        responses={201: {"links": links}},
    )
    async def open_session(request: Request) -> Response:
        """Open a session, for someone who may be new to the model."""
        body = await read_body(request, bodies.NewSession)
        return answer(await service.open_session(body.history), 201)

    @app.post("/sessions/{name}/events", **takes(bodies.NewEvents), response_model=bodies.Answer)
    async def add_events(name: SessionName, request: Request) -> Response:
        """Go on with new events, and recommend items after them. An event is one step."""
        return answer(await service.go_on(name, await read_body(request, bodies.NewEvents)))

    @app.get("/sessions/{name}", response_model=bodies.Session)
    async def show_session(name: SessionName) -> Response:
        """What a session has read."""
        return answer(service.show_session(name))

    @app.delete("/sessions/{name}", status_code=204)
    async def close_session(name: SessionName) -> Response:
        """Forget a session."""
        service.close_session(name)
        return Response(status_code=204)


def _add_others(app: FastAPI, service: Service, measures: Measures) -> None:
    @app.get("/health", response_model=bodies.Health)
    async def health() -> Response:
        """Whether the service answers, and by which run."""
        served = service.served
        n_items = len(served.run.items) - 1
        return answer(
            {"status": "ok", "run": served.name, "items": n_items, "items_added": served.n_added}
        )

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Counts and times, in Prometheus' text format."""
        return Response(measures.text(), media_type="text/plain; version=0.0.4")

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        html = render_page(service.served)
        headers = {"content-security-policy": PAGE_POLICY}
        return Response(html, media_type="text/html", headers=headers)


def _answer_mistakes(app: FastAPI) -> None:
    """Every mistake is a `Problem`."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        problem: dict[str, Any] = {"error": error.error}
        if error.matches is not None:
            problem["matches"] = await asyncio.to_thread(error.matches)
        response = answer(problem, error.status)
        if error.status == 413:  # the rest of the body is not read
            response.headers["connection"] = "close"
        return response

    @app.exception_handler(Overloaded)
    async def overloaded(_: Request, __: Overloaded) -> Response:
        response = answer({"error": "more requests wait than can be answered in time"}, 503)
        response.headers["retry-after"] = "1"
        return response

    @app.exception_handler(RequestValidationError)
    async def not_as_expected(_: Request, error: RequestValidationError) -> Response:
        return answer({"error": one_line(error.errors())}, 422)

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        response = answer({"error": str(error.detail).lower()}, error.status_code)
        if error.status_code == 405:  # a route has one method, a path may have several
            routes = [route for route in app.routes if route.matches(request.scope)[0].value]
            methods = sorted(
                {method for route in routes for method in getattr(route, "methods", ())}
            )
            response.headers["allow"] = ", ".join(methods)
        return response


def _describe_key(app: FastAPI) -> None:
    """Says in the OpenAPI document that a key is needed."""
    document = app.openapi()
    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["key"] = {"type": "http", "scheme": "bearer"}
    for path, operations in document["paths"].items():
        if path != "/health":
            for operation in operations.values():
                operation["security"] = [{"key": []}]


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """What tells OpenAPI that a route takes a body of this kind."""
    content = {JSON: {"schema": model.model_json_schema()}}
    return {"openapi_extra": {"requestBody": {"required": True, "content": content}}}


async def read_body(request: Request, model: type[Body]) -> Body:
    """The body of a request.

    Raises:
        Refused: It is not JSON, or not as the model wants it.
    """
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != JSON:
        raise Refused(415, f"the body is '{kind[:60]}', expected content-type: {JSON}")
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        raise Refused(422, one_line(error.errors(include_url=False))) from error


def one_line(errors: Any) -> str:
    """The first thing that is not as expected: where, and what."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"])[:80]
    what = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def answer(content: Any, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(orjson.dumps(content), status, media_type=JSON)
