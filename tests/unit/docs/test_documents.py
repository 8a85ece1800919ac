"""Documents name what exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
FOLDERS = "|".join(path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "var")))
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
PATH = re.compile(rf"`((?:{FOLDERS})/[\w./-]+?)/?`")
# Written by the browser tests, and by scripts/up.
MADE_LATER = {"docs/images/home.png"}


@pytest.mark.parametrize("name", NAMES)
def test_every_link_and_path_leads_somewhere(name: str) -> None:
    document = ROOT / name
    text = document.read_text(encoding="utf-8")
    linked = {(document.parent / target).resolve() for target in LINK.findall(text)}
    named = {(ROOT / target).resolve() for target in PATH.findall(text)}
    missing = {str(path.relative_to(ROOT)) for path in linked | named if not path.exists()}
    assert missing - MADE_LATER == set()


def test_the_architecture_stays_short_enough_to_be_read() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()) < 300


def test_every_decision_is_in_the_index_under_its_own_number() -> None:
    folder = ROOT / "docs" / "adr"
    pages = sorted(path.name for path in folder.glob("[0-9]*.md"))
    index = re.findall(r"^(\d+)\. \[.+\]\((.+)\)$", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [page for _, page in index] == pages
    assert [int(number) for number, _ in index] == [int(page[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        assert (folder / page).read_text(encoding="utf-8").startswith(f"# {int(page[:4])}. "), page
