"""`text`: small honest tools on text. One of them reports its progress, so that streaming can be seen."""

import re
import unicodedata
from typing import Annotated

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from marketplace.demo.servers.serving import main

_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")
# Pauses between reports, so that a person can watch the stream, and their sum for a long text.
_PAUSE_S = 0.1
_ALL_PAUSES_S = 5.0
_TEXT_MAX = 20_000

Text = Annotated[str, Field(description="The text to look at.", max_length=_TEXT_MAX)]
_READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)


class Counts(BaseModel):
    words: int = Field(description="Words; a hyphenated or apostrophised word counts once.")
    distinct_words: int = Field(description="Different words, upper and lower case taken as one.")
    characters: int = Field(description="Characters, spaces included.")
    lines: int = Field(description="Lines.")


class ParagraphLength(BaseModel):
    position: int = Field(description="Place of the paragraph in the text, from 1.")
    words: int = Field(description="Words in the paragraph.")
    starts_with: str = Field(description="The first words, to recognise it by.")


class LengthSummary(BaseModel):
    paragraphs: list[ParagraphLength] = Field(description="Every paragraph, in order.")
    longest_position: int | None = Field(description="Place of the longest paragraph; null for an empty text.")
    average_words: float = Field(description="Average number of words of a paragraph.")


server = MCPServer(
    "text",
    title="Text tools",
    description="Count, slugify and measure text.",
    instructions="All tools only read what they are given; nothing is stored.",
    version="1.0.0",
)


@server.tool(title="Count words", annotations=_READ_ONLY)
def count_words(text: Text) -> Counts:
    """Count the words, different words, characters and lines of a text."""
    words = _WORD.findall(text)
    return Counts(
        words=len(words),
        distinct_words=len({word.casefold() for word in words}),
        characters=len(text),
        lines=len(text.splitlines()),
    )


@server.tool(title="Make a slug", annotations=_READ_ONLY)
def slugify(
    text: Annotated[str, Field(description="A title or a name.", max_length=1_000)],
    max_length: Annotated[int, Field(description="Longest slug; it is cut at a word.", ge=1, le=200)] = 60,
) -> str:
    """Turn a title into lower-case words joined by hyphens, fit for an address; accents are dropped."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    slug = "-".join(re.findall(r"[a-z0-9]+", plain.lower()))
    if len(slug) <= max_length:
        return slug
    cut = slug[: max_length + 1].rpartition("-")[0]
    return cut or slug[:max_length]


@server.tool(title="Summarise paragraph lengths", annotations=_READ_ONLY)
async def summarise_lengths(text: Text, ctx: Context) -> LengthSummary:
    """Measure every paragraph of a text and name the longest. Reports progress after each paragraph."""
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    measured: list[ParagraphLength] = []
    for position, paragraph in enumerate(paragraphs, start=1):
        words = _WORD.findall(paragraph)
        measured.append(ParagraphLength(position=position, words=len(words), starts_with=" ".join(words[:6])))
        await ctx.report_progress(position, len(paragraphs), f"paragraph {position} of {len(paragraphs)}")
        await anyio.sleep(min(_PAUSE_S, _ALL_PAUSES_S / len(paragraphs)))
    longest = max(measured, key=lambda each: each.words, default=None)
    return LengthSummary(
        paragraphs=measured,
        longest_position=longest.position if longest else None,
        average_words=round(sum(each.words for each in measured) / len(measured), 1) if measured else 0.0,
    )


if __name__ == "__main__":
    main(server)
