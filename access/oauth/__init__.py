"""We as an OAuth client of other people's authorization servers. Everything they say is treated as hostile until checked."""
