"""The flow rule of an organisation: its rule and labels as rows, and the shared state of its sessions."""
