"""An organisation's access as files: what there is, what files would change, and changing it. Runs in its schema."""
