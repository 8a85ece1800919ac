"""What tells people and programs. One file per channel."""

from notifications.models.messages import Notification
from notifications.models.webhooks import WebhookAttempt, WebhookDelivery, WebhookEndpoint

__all__ = ["Notification", "WebhookAttempt", "WebhookDelivery", "WebhookEndpoint"]
