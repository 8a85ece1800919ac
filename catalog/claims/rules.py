"""Which domain proves a namespace. Pure.

Names in registries are reverse domains (`com.example/mail`), and whoever holds the domain holds the namespace. Namespaces of code
hosts stand for accounts there, which no record of ours can prove.
"""

from __future__ import annotations

from core import domains

# Their users' names come after them. Signing in there would be the proof; until then an operator looks.
_HOSTS = {
    ("io", "github"),
    ("com", "github"),
    ("io", "gitlab"),
    ("com", "gitlab"),
    ("org", "bitbucket"),
    ("io", "gitee"),
}


def namespace_of(registry_name: str) -> str:
    """`com.example` of `com.example/mail`; blank when the name has none."""
    namespace, slash, _ = registry_name.lower().partition("/")
    return namespace if slash else ""


def is_of_code_host(namespace: str) -> bool:
    return tuple(namespace.split(".")[:2]) in _HOSTS


def domain_of(namespace: str) -> str:
    """`example.com` of `com.example`; blank when no domain of its own stands behind the namespace."""
    if not namespace or is_of_code_host(namespace):
        return ""
    return domains.normalised(".".join(reversed(namespace.split("."))))


def why_no_domain(namespace: str) -> str:
    """What to tell somebody whose namespace nothing can prove by itself."""
    if is_of_code_host(namespace):
        return f"{namespace} is an account at a code host, which only a sign-in there could prove. An operator decides."
    if namespace:
        return f"{namespace} stands for no domain. An operator decides."
    return "The listing has no name in registries, so there is no namespace to prove. An operator decides."
