"""What can keep the product from starting.

StartError
└── ExitedError     a process ended before it was ready
"""


class StartError(Exception):
    """The start cannot go on. The message is one sentence that says what to do next."""


class ExitedError(StartError):
    """A process ended before it was ready; the message carries the end of its log."""
