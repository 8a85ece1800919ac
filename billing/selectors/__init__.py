"""Reading money, one module a subject."""
