"""What changes money, one module a subject."""
