"""How good the search is: a judged set of queries over the real entries, with recall@10 and the mean reciprocal rank.

Each query was written with the entries at hand: what somebody would type, slips of the finger included, and by which names or
tools a person would recognise what was meant. Recall@10 is the share of what ten places could hold: with three right servers all
three, with thirty any ten of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

PLACES = 10
# Query, and what a right answer's name ("n:") or one of its tools ("t:") matches.
JUDGED: tuple[tuple[str, str], ...] = (
    # Products by name, as they are and mistyped.
    ("github", "n:github"),
    ("gihtub", "n:github"),
    ("gitlab", "n:gitlab"),
    ("slack", "n:slack"),
    ("slakc", "n:slack"),
    ("notion", "n:notion"),
    ("postgres", "n:postgres|pg"),
    ("postgers", "n:postgres|pg"),
    ("postgresql database", "n:postgres|pg"),
    ("mysql", "n:mysql"),
    ("mongodb", "n:mongo"),
    ("mongdb", "n:mongo"),
    ("redis", "n:redis"),
    ("sqlite", "n:sqlite"),
    ("supabase", "n:supabase"),
    ("stripe", "n:stripe"),
    ("strpe", "n:stripe"),
    ("kubernetes", "n:kube|k8s"),
    ("k8s", "n:kube|k8s"),
    ("kuberntes", "n:kube|k8s"),
    ("docker", "n:docker"),
    ("terraform", "n:terraform"),
    ("jira", "n:jira|atlassian|t:jira"),
    ("confluence", "n:confluence|atlassian|t:confluence"),
    ("linear", "n:linear"),
    ("figma", "n:figma"),
    ("playwright", "n:playwright"),
    ("playwrite browser", "n:playwright|browser|t:browser"),
    ("puppeteer", "n:puppeteer"),
    ("todoist", "n:todoist"),
    ("obsidian", "n:obsidian"),
    ("obsidain", "n:obsidian"),
    ("discord", "n:discord"),
    ("telegram", "n:telegram"),
    ("whatsapp", "n:whatsapp"),
    ("spotify", "n:spotify"),
    ("youtube", "n:youtube|yt|t:youtube"),
    ("youtube transcript", "n:youtube|yt|transcript|t:transcript"),
    ("airtable", "n:airtable"),
    ("shopify", "n:shopify"),
    ("salesforce", "n:salesforce"),
    ("hubspot", "n:hubspot"),
    ("elasticsearch", "n:elastic"),
    ("grafana", "n:grafana"),
    ("prometheus", "n:prometheus"),
    ("prometeus", "n:prometheus"),
    ("snowflake", "n:snowflake"),
    ("bigquery", "n:bigquery|big-query|t:bigquery|query"),
    ("neo4j", "n:neo4j"),
    ("google calendar", "n:calendar|google|t:calendar|event"),
    ("calender", "n:calendar|t:calendar"),
    ("gmail", "n:gmail|t:gmail|email"),
    ("perplexity", "n:perplexity|t:perplexity"),
    ("brave search", "n:brave|t:brave"),
    ("arxiv", "n:arxiv|t:arxiv|paper"),
    ("wikipedia", "n:wiki|t:wiki"),
    # What is wanted, in words.
    ("send email", "n:mail|t:send.*mail|mail.*send|email"),
    ("query postgres", "n:postgres|pg|t:query"),
    ("weather forecast", "n:weather|forecast|meteo|t:weather|forecast"),
    ("wether", "n:weather|t:weather"),
    ("web search", "n:search|t:search"),
    ("web scraping", "n:scrap|crawl|fetch|browse|t:scrap|crawl"),
    ("translate text", "n:transl|t:transl"),
    ("image generation", "n:image|img|flux|dall|draw|diffusion|t:image|generate"),
    ("convert pdf", "n:pdf|doc|convert|markdown|t:pdf|convert"),
    ("qr code", "n:qr|t:qr"),
    ("crypto price", "n:crypto|coin|price|bitcoin|t:crypto|coin|price"),
    ("stock market data", "n:stock|market|financ|trad|t:stock|market|quote"),
    ("flight search", "n:flight|travel|trip|t:flight"),
    ("text to speech", "n:speech|tts|voice|audio|eleven|t:speech|tts|voice"),
    ("knowledge graph memory", "n:memory|graph|knowledge|t:entit|memor|graph"),
    ("sequential thinking", "n:think|t:think"),
    # Tools by name.
    ("create_issue", "t:create.*issue|issue"),
    ("list_tables", "t:tables"),
    ("execute_sql", "t:sql|execute|query"),
    ("get_current_time", "n:time|t:time"),
    ("search_nodes", "t:search_?nodes|node"),
    ("take screenshot", "n:screenshot|t:screenshot"),
    ("list invoices", "t:invoice"),
    ("read file", "t:read.*file|file"),
)


@dataclass(frozen=True)
class Candidate:
    """A server as a judge looks at it."""

    key: str
    name: str
    tools: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judgement:
    query: str
    recall: float
    reciprocal_rank: float
    right: int


def judge(query: str, pattern: str, found: list[str], candidates: Iterable[Candidate]) -> Judgement:
    """`found` are the keys of the first places in order."""
    right = {each.key for each in candidates if _is_right(pattern, each)}
    hits = [key in right for key in found[:PLACES]]
    rank = next((place for place, hit in enumerate(hits, 1) if hit), 0)
    return Judgement(query, sum(hits) / min(PLACES, len(right) or 1), 1 / rank if rank else 0.0, len(right))


def _is_right(pattern: str, candidate: Candidate) -> bool:
    names, _, tools = pattern.removeprefix("n:").partition("t:") if pattern.startswith("n:") else ("", "", pattern[2:])
    names = names.rstrip("|")
    if names and re.search(names, candidate.name, re.IGNORECASE):
        return True
    return bool(tools) and any(re.search(tools, tool, re.IGNORECASE) for tool in candidate.tools)


def report(judged: list[Judgement]) -> str:
    recall = sum(each.recall for each in judged) / len(judged)
    rank = sum(each.reciprocal_rank for each in judged) / len(judged)
    worst = sorted(judged, key=lambda each: each.recall)[:8]
    lines = [f"{len(judged)} queries   recall@{PLACES} {recall:.3f}   MRR {rank:.3f}"]
    return "\n".join([*lines, *(f"  {one.recall:.2f}  {one.query} ({one.right} right)" for one in worst)])
