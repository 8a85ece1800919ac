"""What happened in an organisation as files: its audit log and its decisions, for people and for programs that watch."""
