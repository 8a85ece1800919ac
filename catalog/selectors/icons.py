"""The picture of a server, out of the entry whose words it shows."""

from __future__ import annotations

from catalog import icons
from catalog.models import Server, SourceEntry


def icon_of(server: Server, digest: str) -> icons.Picture | None:
    """The picture with this digest, if the server shows it now. That the server may be seen is known to the caller."""
    if not digest or server.icon_digest != digest:
        return None
    shown = SourceEntry.objects.filter(server=server, wins=True, is_latest=True)
    for given in shown.values_list("manifest__icons", flat=True):
        for each in given or ():
            address = each.get("src", "")
            if not icons.is_inside(address):
                continue
            picture = icons.from_address(address)
            if picture.digest == digest:
                return picture
    return None
