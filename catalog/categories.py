"""Our five categories for the many words of sources. Pure.

A word that says nothing of ours leaves the category blank: no category is better than a wrong one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from catalog.choices import Category

# What sources call things, by the category of ours.
_WORDS: dict[str, str] = {
    Category.DEVELOPMENT: (
        "development devops developer developers dev devtools coding code programming software git github gitlab ci cicd"
        " kubernetes docker containers terraform infrastructure cloud aws azure gcp cloudflare serverless deployment api apis"
        " testing debugging browser refactoring sdk cli observability monitoring logging logs sre hosting ide terminal"
        " documentation docs"
    ),
    Category.DATA: (
        "data database databases sql nosql postgres postgresql mysql sqlite mongodb redis snowflake bigquery analytics bi"
        " warehouse etl dataset datasets statistics visualization dataviz graphql scraping crawling extraction search"
        " intelligence"
    ),
    Category.AI_ML: (
        "ai ml llm llms rag embedding embeddings inference agents agent model models memory machine-learning vector"
        " huggingface openai"
    ),
    Category.SECURITY: (
        "security authentication auth identity vulnerability vulnerabilities compliance secrets threat pentest sast"
        " forensics malware osint encryption authorization"
    ),
    Category.PRODUCTIVITY: (
        "productivity communication messaging email mail calendar notes note-taking tasks task project-management management"
        " collaboration crm documents document office workflow automation knowledge knowledge-base wiki chat slack meetings"
        " scheduling cms support sales marketing"
    ),
}
_CATEGORY_OF = {word: category for category, words in _WORDS.items() for word in words.split()}
_EXACT = {
    "ai-ml": Category.AI_ML,
    "ai-services": Category.AI_ML,
    "ai-systems": Category.AI_ML,
    "ai-evaluation": Category.AI_ML,
    "artificial-intelligence": Category.AI_ML,
    "rag-as-a-service": Category.AI_ML,
    "data-analytics": Category.DATA,
    "data-and-analytics": Category.DATA,
    "market-intelligence": Category.DATA,
    "web-data-extraction": Category.DATA,
    "customer-support": Category.PRODUCTIVITY,
    "asset-management": Category.PRODUCTIVITY,
    "document-management": Category.PRODUCTIVITY,
    "project-management": Category.PRODUCTIVITY,
    "knowledge-base": Category.PRODUCTIVITY,
    "cost-management": Category.DEVELOPMENT,
    "dev-tools": Category.DEVELOPMENT,
    "developer-tools": Category.DEVELOPMENT,
    "software-development": Category.DEVELOPMENT,
}
_SEPARATORS = re.compile(r"[\s_/&,+.-]+")


def category_of(said: str, tags: Iterable[str] = ()) -> str:
    """Our category for what a source says, else for the first tag that names one, else blank."""
    for text in (said, *tags):
        if found := _named(text):
            return found
    return ""


def _named(text: str) -> str:
    words = [word for word in _SEPARATORS.split(text.strip().lower()) if word]
    whole = "-".join(words)
    if whole in _EXACT:
        return _EXACT[whole]
    # The last word is the thing, those before it say of what kind.
    return next((_CATEGORY_OF[word] for word in reversed(words) if word in _CATEGORY_OF), "")
