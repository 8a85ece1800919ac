"""What operators may import into the catalog by the page."""

from marketplace.settings import env

IMPORT_FOLDERS = env.items(
    "MARKETPLACE_IMPORT_FOLDERS",
    "Folders, separated by commas, that operators may import listings from by the page.",
)
IMPORT_UPLOAD_MIB = env.integer(
    "MARKETPLACE_IMPORT_UPLOAD_MIB",
    "The largest file, in MiB, that operators may upload for an import.",
    default=16,
    minimum=1,
)
