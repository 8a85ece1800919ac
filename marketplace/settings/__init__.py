"""Settings of the product: what Django and its parts need, each switched by the environment through `env`."""

from marketplace.settings.base import *  # noqa: F403

from marketplace.settings.accounts import *  # noqa: F403  isort:skip
from marketplace.settings.security import *  # noqa: F403  isort:skip
from marketplace.settings.operators import *  # noqa: F403  isort:skip
from marketplace.settings.health import *  # noqa: F403  isort:skip
from marketplace.settings.imports import *  # noqa: F403  isort:skip
from marketplace.settings.invoicing import *  # noqa: F403  isort:skip
from marketplace.settings.metering import *  # noqa: F403  isort:skip
from marketplace.settings.playground import *  # noqa: F403  isort:skip
from marketplace.settings.payments import *  # noqa: F403  isort:skip
from marketplace.settings.billing import *  # noqa: F403  isort:skip
from marketplace.settings.payouts import *  # noqa: F403  isort:skip
