"""What can go wrong while a stack is made or run, told so that a person can mend it."""


class StackError(Exception):
    """Stops the command.

    message: what happened and what to do, in plain lines.
    service: the service whose last log lines explain it, where one is to blame.
    """

    def __init__(self, message: str, *, service: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.service = service
