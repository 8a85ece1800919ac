"""Access as files: grants, sessions and policies read and written. Pure; the organisation's rows are another matter."""
