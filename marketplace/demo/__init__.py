"""Demo data and demo servers: what a first start shows."""
