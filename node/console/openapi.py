"""The OpenAPI document of the operator's view, made from the very models that it answers with."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from node.console.queries import RoundsQuery
from node.console.schema import Change, Fault, Health, MemberList, RoundPage, Status

ANSWERS: dict[str, tuple[str, type[BaseModel]]] = {
    "/api/status": ("How the node stands: everything but the rounds that are over.", Status),
    "/api/rounds": ("Rounds that are over, by number; the last 500 are kept.", RoundPage),
    "/api/members": ("All who ever joined, with the way to each.", MemberList),
    "/healthz": (
        "Whether rounds go by; 503 when the round in progress is overdue by a whole window.",
        Health,
    ),
}
TEXTS: dict[str, tuple[str, str]] = {
    "/api/events": (
        "Server-sent events: `status` (Status) once, `rounds` (RoundPage), then `change` (Change) and `rounds`.",
        "text/event-stream",
    ),
    "/metrics": ("Metrics in Prometheus' text format.", "text/plain"),
    "/": ("The dashboard.", "text/html"),
}
MODELS: tuple[type[BaseModel], ...] = (Status, RoundPage, MemberList, Health, Change, Fault)


def document(version: str) -> dict[str, Any]:
    """The document, OpenAPI 3.1."""
    _, schemas = models_json_schema(
        [(model, "serialization") for model in MODELS], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, Any] = {}
    for path, (text, model) in ANSWERS.items():
        paths[path] = _get(text, "application/json", {"$ref": f"#/components/schemas/{model.__name__}"})
    for path, (text, media) in TEXTS.items():
        paths[path] = _get(text, media, {"type": "string"})
    paths["/api/openapi.json"] = _get("This document.", "application/json", {"type": "object"})
    paths["/api/rounds"]["get"]["parameters"] = _parameters(RoundsQuery)
    paths["/healthz"]["get"]["responses"]["503"] = paths["/healthz"]["get"]["responses"]["200"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Roundabout: the operator's view",
            "version": version,
            "description": "Read only. Times are milliseconds since 1970, money is tinybar, scores are ppm.",
        },
        "paths": paths,
        "components": {"schemas": schemas["$defs"]},
    }


def _get(text: str, media: str, schema: dict[str, Any]) -> dict[str, Any]:
    fault = {"application/json": {"schema": {"$ref": "#/components/schemas/Fault"}}}
    return {
        "get": {
            "summary": text,
            "responses": {
                "200": {"description": text, "content": {media: {"schema": schema}}},
                "default": {"description": "Why there is no other answer.", "content": fault},
            },
        }
    }


def _parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    properties = query.model_json_schema(by_alias=True)["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema.pop("description"),
            "schema": {key: value for key, value in schema.items() if key != "title"},
        }
        for name, schema in properties.items()
    ]
