"""`docs/ledger.md` is true: its examples are recomputed and its table is the code's."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest

from billing.core import postings
from billing.core.postings import RULES, Kind

PAGE = (Path(__file__).parents[3] / "docs/ledger.md").read_text()
OWNERS = {name: UUID(int=number) for number, name in enumerate(("acme", "initech", "hooli"), 1)}
AMOUNT = re.compile(r"-?\d+\.\d\d\b")
EXAMPLE = re.compile(r"^(\w+)\((.*)\)\n((?:  \S+ +-?[\d.]+\n)+)", re.MULTILINE)
SIDE = re.compile(r"^  (\S+) +(\S+)$", re.MULTILINE)


def minor(text: str) -> int:
    return int(text.replace(".", ""))


def computed(name: str, arguments: str) -> list[tuple[str, int]]:
    """What the code books for a line of the page, with names in place of ids."""
    call = f"{name}({AMOUNT.sub(lambda found: str(minor(found[0])), arguments)})"
    entries = eval(call, vars(postings) | OWNERS)
    postings.check(Kind(name), entries)
    names = {str(owner): known for known, owner in OWNERS.items()}
    return [(re.sub(r"[0-9a-f-]{36}$", lambda found: names[found[0]], account), amount) for account, amount in entries]


def written(sides: str) -> list[tuple[str, int]]:
    return [(account, minor(amount)) for account, amount in SIDE.findall(sides)]


EXAMPLES = EXAMPLE.findall(PAGE)


@pytest.mark.parametrize(("name", "arguments", "sides"), EXAMPLES, ids=[f"{n}-{a[:20]}" for n, a, _ in EXAMPLES])
def test_each_example_is_what_the_code_books(name, arguments, sides):
    assert sorted(written(sides)) == sorted(computed(name, arguments))
    assert sum(amount for _, amount in written(sides)) == 0


def test_the_balances_of_the_month_are_the_sums_of_its_bookings():
    month = PAGE.partition("## A month")[2].partition("After all of it")[0]
    sums: Counter[str] = Counter()
    for name, arguments, _ in EXAMPLE.findall(month):
        for account, amount in computed(name, arguments):
            sums[account] += amount
    stated = written(PAGE.partition("\nbalances\n")[2].partition("```")[0])

    assert dict(stated) == {account: amount for account, amount in sums.items() if amount}
    assert sum(amount for _, amount in stated) == 0


def test_no_line_of_numbers_is_left_unread():
    read = sum(len(SIDE.findall(sides)) for _, _, sides in EXAMPLES)
    stated = len(SIDE.findall(PAGE.partition("\nbalances\n")[2].partition("```")[0]))

    assert len(SIDE.findall(PAGE)) == read + stated > 50


def test_the_table_of_kinds_is_the_code_s():
    rows = re.findall(r"^\| `(\w+)` \| `[^|]+` \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)

    assert {kind: (set(debit.split(", ")), set(credit.split(", "))) for kind, debit, credit in rows} == {
        kind.value: (set(rule.debit), set(rule.credit)) for kind, rule in RULES.items()
    }


def test_every_family_of_accounts_is_explained():
    explained = set(re.findall(r"`([ALRE]:\w+)", PAGE.partition("## Accounts")[2].partition("##")[0]))

    assert explained == postings.SINGLE | postings.TENANTS | postings.PROVIDERS | postings.JURISDICTIONS
