"""Who finds a source's entries, in the catalog's words."""

from __future__ import annotations

from catalog.choices import Visibility as Seen
from catalog.services.importing import SourceRef
from repositories.choices import Visibility
from repositories.models import Repository

# What another audience is made of: a change of one of these moves the entries, or relabels them.
FIELDS = ("name", "kind", "trust_level", "priority", "visibility", "allowed_teams", "staged")


def source_ref(repository: Repository) -> SourceRef:
    """As the importing service is told of a source.

    What only those who manage a source may see is, in the catalog, for no one: the platform's is the platform's alone, an
    organisation's for a choice of no teams. They find it on the source's own page.
    """
    return SourceRef(
        source_id=repository.pk,
        name=repository.name,
        kind=repository.kind,
        trust=repository.trust_level,
        owner_tenant_id=repository.owner_tenant_id,
        visibility=_visibility(repository),
        allowed_teams=tuple(sorted(repository.allowed_teams)) if _is_for_teams(repository) else (),
        priority=repository.priority,
    )


def _visibility(repository: Repository) -> str:
    is_hidden = repository.staged or repository.visibility == Visibility.ADMIN
    if repository.owner_tenant_id is None:
        return Seen.ORG if is_hidden else Seen.PUBLIC
    return Seen.GROUP if is_hidden or _is_for_teams(repository) else Seen.ORG


def _is_for_teams(repository: Repository) -> bool:
    return repository.visibility == Visibility.GROUP and not repository.staged
