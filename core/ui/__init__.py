"""What pages are drawn with: icons, charts, numbers and times as text. Plain values in, text out; no Django models."""
