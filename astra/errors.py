"""The error tree, split by what a person has to do about it.

Every message is one sentence that says what was required, what was found (symbol and time in it)
and what to do. Vendor exceptions never leave their adapter: they arrive as one of these.
"""


class AstraError(Exception):
    """Base of every error this project raises on purpose."""

    status = 500
    exit_code = 1

    @property
    def kind(self) -> str:
        """The remedy's name: that of its class here, also where a vendor's file has a finer one."""
        return next(of.__name__ for of in type(self).__mro__ if of.__module__ == __name__)


class ConfigError(AstraError):
    """Fix the settings: a missing key, a taken port, a store of another market."""

    status = 500
    exit_code = 2


class DataError(AstraError):
    """Fix the data: a malformed file, an unknown table, too few usable tickers."""

    status = 400
    exit_code = 3


class InsufficientDataError(DataError):
    """A decision is refused because too little is known; nothing was dropped or traded."""

    status = 409


class BundleError(DataError):
    """A model bundle is missing, tampered with or of an unknown version."""

    status = 409


class TemporaryError(AstraError):
    """Retry unchanged: a vendor is down, limits us, or another worker holds the lease."""

    status = 503
    exit_code = 4

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OrderError(AstraError):
    """One order was refused by the broker: report it and go on with the others.

    `code` is the broker's own code, or the HTTP status where it gave none.
    """

    status = 422
    exit_code = 5

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
