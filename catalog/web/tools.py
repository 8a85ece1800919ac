"""The directory of tools across all servers that the viewer may know of."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.urls import reverse

from catalog import facets
from catalog.facets import Query
from catalog.selectors import tool_directory
from catalog.selectors.tool_directory import ToolRow
from catalog.web import faceting
from catalog.web.viewers import scene_of
from tenants.requests import MarketRequest

PAGE_SIZE = 30


def build(request: MarketRequest) -> dict[str, Any]:
    personal = request.organisation is not None
    query = facets.parse(
        dict(request.GET.lists()), personal=personal, known=facets.TOOL_FACETS, sorts=facets.TOOL_SORTS
    )
    found = tool_directory.tools(scene_of(request), query)
    page = Paginator(found, PAGE_SIZE).get_page(query.page)
    wanted = [facet for facet in facets.TOOL_FACETS if personal or not facet.personal]
    return {
        "query": query,
        "page": page,
        "rows": [_row(row) for row in page.object_list],
        "facets": faceting.groups(found, query, wanted),
        "active": faceting.active(query, wanted),
        "clear_url": Query(text=query.text, sort=query.sort, known=facets.TOOL_FACETS).url,
        "sorts": faceting.sorts(query, facets.TOOL_SORTS),
        **faceting.neighbours(query, page),
    }


def _row(row: ToolRow) -> dict[str, Any]:
    url = reverse("catalog:server", args=[row.server.slug])
    return {
        "tool": row.tool,
        "server": row.server,
        "seen": row.seen,
        "price": row.price,
        "usable": row.usable,
        "server_url": url,
        "url": f"{url}?tab=tools&find={row.tool.name}",
        "input_schema": row.tool.definition.get("inputSchema"),
    }
