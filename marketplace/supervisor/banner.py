"""What a person needs to know once everything runs."""

from pathlib import Path

from marketplace.supervisor.datafolder import read_env_file


def banner(*, url: str, data: Path, pid: int, test_payments: bool = False) -> str:
    """The banner; its last line is `READY <url>`, for programs that wait for it."""
    demo_file = data / "demo.env"
    demo = read_env_file(demo_file) if demo_file.exists() else {}
    lines = ["", f"  MCP Marketplace   {url}", *_logins(demo)]
    if demo:
        lines.append(f"  API key           in {demo_file}")
    if test_payments:
        lines.append("  Payments          test payments; no money moves (card 4242 4242 4242 4242)")
    lines += [f"  Logs              {data / 'logs'}", f"  Stop              Ctrl-C, or kill {pid}", "", f"READY {url}"]
    return "\n".join(lines)


def _logins(demo: dict[str, str]) -> list[str]:
    logins = [login for login in demo.get("MARKETPLACE_DEMO_LOGINS", "").split(",") if login]
    password = demo.get("MARKETPLACE_DEMO_PASSWORD")
    if not logins or not password:
        return []
    labels = ["  Demo logins       ", *[" " * 20] * (len(logins) - 1)]
    return [*(label + login for label, login in zip(labels, logins, strict=True)), f"  Password          {password}"]
