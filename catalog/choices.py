"""Closed vocabularies of the catalog."""

from django.db import models


class Visibility(models.TextChoices):
    TENANT = "tenant", "One team"
    GROUP = "group", "Chosen teams"
    ORG = "org", "Our organisation"
    PUBLIC = "public", "Everybody"


class Status(models.TextChoices):
    """Where a listing stands here. `listed` is only known from a source: shown, approved by nobody here, never called."""

    LISTED = "listed", "Listed"
    DRAFT = "draft", "Draft"
    SUBMITTED = "submitted", "Submitted"
    APPROVED = "approved", "Approved"
    DEPRECATED = "deprecated", "Deprecated"
    REMOVED = "removed", "Removed"


class Origin(models.TextChoices):
    PUBLISHED = "published", "Published here"
    IMPORTED = "imported", "Read from a source"


class SourceKind(models.TextChoices):
    OFFICIAL = "official", "Official registry"
    HTTP = "http", "HTTP index"
    GITHUB = "github", "GitHub"
    DOCKER = "docker", "Docker"
    LOCAL = "local", "Folder or file"


class SourceTrust(models.TextChoices):
    """How far the operator trusts what a source says."""

    COMMUNITY = "community", "Community"
    VERIFIED = "verified", "Verified"
    ENTERPRISE = "enterprise", "Enterprise"


class UpstreamStatus(models.TextChoices):
    """What the publisher says of an entry, in the words of the registry standard."""

    ACTIVE = "active", "Active"
    DEPRECATED = "deprecated", "Deprecated"
    DELETED = "deleted", "Deleted"


class PackageType(models.TextChoices):
    NPM = "npm", "npm"
    PYPI = "pypi", "PyPI"
    OCI = "oci", "Container image"
    MCPB = "mcpb", "MCP bundle"
    NUGET = "nuget", "NuGet"
    CARGO = "cargo", "Cargo"
    BINARY = "binary", "Binary"


class Seen(models.TextChoices):
    """How a tool became known."""

    DECLARED = "declared", "Declared by a source"
    LIVE = "live", "Read from the server"


class Badge(models.TextChoices):
    """What the operator's approval says to a reader of the card."""

    APPROVED = "approved", "Approved"
    RESTRICTED = "restricted", "Restricted"
    OBSERVE_ONLY = "observe-only", "Observe only"
    EXPERIMENTAL = "experimental", "Experimental"
    DEPRECATED = "deprecated", "Deprecated"


class Category(models.TextChoices):
    DEVELOPMENT = "development", "Development"
    DATA = "data", "Data & Analytics"
    AI_ML = "ai-ml", "AI & Machine Learning"
    SECURITY = "security", "Security"
    PRODUCTIVITY = "productivity", "Productivity"


class Transport(models.TextChoices):
    STREAMABLE_HTTP = "streamable-http", "Streamable HTTP"
    SSE = "sse", "HTTP+SSE"
    STDIO = "stdio", "stdio"


class AuthMode(models.TextChoices):
    NONE = "none", "None"
    HEADER = "header", "Header"
    OAUTH = "oauth", "OAuth"
    MTLS = "mtls", "mTLS"


class UpstreamAuth(models.TextChoices):
    """How the marketplace says to a server who calls. Beside it an organisation may have a credential of its own there."""

    NONE = "none", "Not at all"
    HEADER = "marketplace_jwt", "Token in X-Marketplace-Token"
    BEARER = "marketplace_bearer", "Token in Authorization"


class TrustLevel(models.TextChoices):
    LOW = "low", "Low"
    MEDIUM = "medium", "Medium"
    HIGH = "high", "High"


class SideEffect(models.TextChoices):
    READ = "read", "Reads"
    WRITE = "write", "Writes"
    DESTRUCTIVE = "destructive", "Destructive"


class LabelSetter(models.TextChoices):
    PROVIDER = "provider", "The provider"
    OPERATOR = "operator", "An operator"


class PolicyMode(models.TextChoices):
    ALLOW_LIST = "allow-list", "Allow list"
    OBSERVE = "observe", "Observe"


class Health(models.TextChoices):
    UNKNOWN = "unknown", "Unknown"
    READY = "ready", "Ready"
    DEGRADED = "degraded", "Degraded"
    DOWN = "down", "Down"


class Cause(models.TextChoices):
    """Why a check did not find a server ready."""

    NAME = "name", "Name not found"
    ADDRESS = "address", "Address not allowed"
    UNREACHABLE = "unreachable", "Not reachable"
    TLS = "tls", "TLS"
    TIMEOUT = "timeout", "No answer in time"
    ANSWER = "answer", "Wrong answer"
    SIGN_IN = "sign_in", "Asks for a sign-in"
    CHANGED = "changed", "Tools changed"
    SLOW = "slow", "Slow"
    CERTIFICATE = "certificate", "Certificate ends soon"
    OURS = "ours", "Not known: the check itself failed"


class DriftFinder(models.TextChoices):
    HEALTH = "health", "Health check"
    GATEWAY = "gateway", "Call through the gateway"


class DriftEnd(models.TextChoices):
    APPROVED = "approved", "Approved"
    RETURNED = "returned", "Back as approved"
    REPLACED = "replaced", "Another version was published"


class ImportState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class ClaimState(models.TextChoices):
    """Where an organisation's claim of a listing stands."""

    WAITING = "waiting", "Waiting for proof"
    PROVEN = "proven", "Proven"
    REFUSED = "refused", "Refused"
    ENDED = "ended", "Given up"


class ProofMethod(models.TextChoices):
    """How it is known that an organisation holds a namespace."""

    DNS = "dns", "TXT record"
    FILE = "file", "File on the web server"
    EARLIER = "earlier", "Proven with another listing"
    OPERATOR = "operator", "Confirmed by an operator"
