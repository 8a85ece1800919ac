"""Switches of the product, as opposed to settings of the installation (which are environment variables).

Each app declares its flags in `<app>/flags.py`; they are found when the apps are ready. A flag has a default, a type and a
scope: of the platform (an operator sets it), of an organisation (its owners and admins do), or of both, where the
organisation's value beats the platform's. Values are stored and read by `tenants.services.settings`.

`awaits` names what a flag needs before it has an effect; pages and documents show it, so that no switch pretends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from core.errors import InvalidError, NotFoundError

type_value = bool | int | str | list[str]

TEXT_MAX = 500
INT_MAX = 2_147_483_647
_TRUE, _FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}


class Kind(StrEnum):
    BOOL = "bool"
    INT = "int"
    TEXT = "text"
    CHOICE = "choice"
    LIST = "list"


class Scope(StrEnum):
    PLATFORM = "platform"
    ORGANISATION = "organisation"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Flag:
    """One switch. `choices` are what a CHOICE is one of and a LIST is made of; `unit` is what an INT counts."""

    name: str
    kind: Kind
    default: type_value
    meaning: str
    scope: Scope = Scope.PLATFORM
    choices: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = INT_MAX
    unit: str = ""
    awaits: str = ""

    @property
    def of_platform(self) -> bool:
        return self.scope != Scope.ORGANISATION

    @property
    def of_organisation(self) -> bool:
        return self.scope != Scope.PLATFORM

    def parse(self, raw: object) -> type_value:
        """The value that a form, a program or the database gave. Raises InvalidError that names the flag and what it takes."""
        match self.kind:
            case Kind.BOOL:
                return self._bool(raw)
            case Kind.INT:
                return self._int(raw)
            case Kind.LIST:
                return self._list(raw)
            case _:
                return self._text(raw)

    def show(self, value: type_value) -> str:
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, list):
            return ", ".join(value) or "(none)"
        if isinstance(value, int):
            return f"{value} {self.unit}".strip()
        return value or "(empty)"

    def _bool(self, raw: object) -> bool:
        word = str(raw).strip().lower()
        if word not in _TRUE | _FALSE:
            raise self._refusal("is on or off")
        return word in _TRUE

    def _int(self, raw: object) -> int:
        word = str(raw).strip()
        if isinstance(raw, bool) or not (word.isascii() and word.isdigit() and len(word) <= 10):
            raise self._refusal(f"is a whole number from {self.minimum} to {self.maximum}")
        if not self.minimum <= int(word) <= self.maximum:
            raise self._refusal(f"is a whole number from {self.minimum} to {self.maximum}")
        return int(word)

    def _text(self, raw: object) -> str:
        word = str(raw).strip()
        if self.kind == Kind.CHOICE and word not in self.choices:
            raise self._refusal(f"is one of {', '.join(self.choices)}")
        if len(word) > TEXT_MAX or any(ord(character) < 32 for character in word):
            raise self._refusal(f"is one line of at most {TEXT_MAX} characters")
        return word

    def _list(self, raw: object) -> list[str]:
        parts = raw.split(",") if isinstance(raw, str) else raw if isinstance(raw, Sequence) else [raw]
        words = {str(part).strip() for part in parts} - {""}
        unknown = sorted(words - set(self.choices)) if self.choices else []
        if unknown:
            raise self._refusal(f"takes {', '.join(self.choices)}; {unknown[0]!r} is none of them")
        if any(len(word) > TEXT_MAX for word in words):
            raise self._refusal(f"takes words of at most {TEXT_MAX} characters")
        return [word for word in self.choices if word in words] if self.choices else sorted(words)

    def _refusal(self, rule: str) -> InvalidError:
        return InvalidError(f"The setting {self.name} {rule}.", code="tenants.setting_invalid", field=self.name)


@dataclass(slots=True)
class Group:
    """The flags of one app."""

    app: str
    title: str
    flags: list[Flag] = field(default_factory=list)


_groups: dict[str, Group] = {}
_flags: dict[str, Flag] = {}


def declare(app: str, title: str, *flags: Flag) -> None:
    """Register an app's flags. A name is declared once, and a default is a value that the flag itself would take."""
    for flag in flags:
        if flag.name in _flags:
            raise ValueError(f"the flag {flag.name} is declared twice")
        if flag.parse(flag.default) != flag.default:
            raise ValueError(f"the flag {flag.name} has a default that it would not store as such")
    group = _groups.setdefault(app, Group(app, title))
    for flag in flags:
        _flags[flag.name] = flag
        group.flags.append(flag)


def groups() -> list[Group]:
    """Every app's flags, by title."""
    return sorted(_groups.values(), key=lambda group: group.title)


def get_flag(name: str) -> Flag:
    flag = _flags.get(name)
    if flag is None:
        raise NotFoundError(f"There is no setting named {name}.", code="tenants.setting_unknown")
    return flag


declare(
    "tenants",
    "Organisations",
    Flag(
        "organisation_creation",
        Kind.CHOICE,
        "everybody",
        "Who may create an organisation: everybody with an account, or only operators.",
        choices=("everybody", "operators"),
    ),
    Flag(
        "max_organisations_per_person",
        Kind.INT,
        10,
        "How many organisations one person may own.",
        minimum=1,
        maximum=10_000,
    ),
    Flag(
        "invitation_lifetime_days",
        Kind.INT,
        7,
        "How long an invitation can be accepted.",
        Scope.BOTH,
        minimum=1,
        maximum=90,
        unit="days",
    ),
    Flag(
        "audit_logging_enabled",
        Kind.BOOL,
        True,
        "Also records who looked at audited data. Changes of rights, money and data are recorded whatever this says.",
        Scope.BOTH,
        awaits="recording of reads",
    ),
)
