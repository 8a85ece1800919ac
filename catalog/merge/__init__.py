"""Which entries of which sources are one server, and whose words it shows. Pure: `catalog.services.importing` applies it."""
