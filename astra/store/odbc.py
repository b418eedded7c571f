"""Microsoft's ODBC driver: where it is, and what its errors mean to us."""

from __future__ import annotations

import importlib.util
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from astra.errors import AstraError, ConfigError, TemporaryError

_WHEEL = "mssql_python_odbc"
_INSTALLED = "ODBC Driver 18 for SQL Server"
_MACHINES = {"amd64": "x86_64", "aarch64": "arm64"}
_LIBRARIES = "libkrb5-3 libgssapi-krb5-2 libltdl7"
# https://learn.microsoft.com/azure/azure-sql/database/troubleshoot-common-errors-issues: transient;
# with them deadlock victim, lock time-out, snapshot overtaken by a change, broken connections.
_PASSING = frozenset(
    {1205, 1222, 3960, 3961, 4221, 10053, 10054, 10060, 10928, 10929, 40143, 40197, 40501, 40540}
    | {40613, 49918, 49919, 49920}
)
# Login failed, unknown database, firewall, no permission.
_SETTINGS = frozenset({229, 230, 262, 297, 300, 911, 916, 4060, 18452, 18456, 18470, 40532, 40615})
# Of SQLSTATE: no connection, a lost one, a time-out, a deadlock.
_PASSING_STATES = ("08", "HYT", "40")
# Of SQLSTATE: login, catalog, no permission, an unknown driver or one that cannot be loaded.
_SETTINGS_STATES = ("28", "3D", "IM0")


def complete(url: URL) -> URL:
    """The URL with a driver, if it names none, and with what the store needs of any driver.

    Raises:
        ConfigError: another driver than pyodbc, or no ODBC driver for SQL Server on this machine.
    """
    if url.get_dialect().driver != "pyodbc":
        raise ConfigError(
            f"SQL Server is spoken to through pyodbc, found {url.drivername!r} in "
            "ASTRA_DATABASE_URL: use mssql+pyodbc://user:password@host/database"
        )
    if "driver" not in {name.lower() for name in url.query} and "odbc_connect" not in url.query:
        url = url.update_query_dict({"driver": driver()})
    # Else the driver cannot tell the types of a temp table's columns.
    return url.update_query_dict({"UseFMTONLY": "yes"})


def driver() -> str:
    """Path or name of Microsoft's driver: that of the wheel, else the one that is installed.

    Raises:
        ConfigError: there is neither.
    """
    found = _in_wheel() or _installed()
    if found is None:
        raise ConfigError(
            f"SQL Server needs Microsoft's ODBC driver, found neither the package {_WHEEL} nor "
            f"{_INSTALLED!r}: pip install 'astra-portfolio[sqlserver]'"
        )
    return found


def _in_wheel() -> str | None:
    """The wheel has a library for each family of systems; the one for this machine."""
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        return None
    machine = platform.machine().lower()
    built_for = _MACHINES.get(machine, machine)
    paths = sorted(Path(spec.origin).parent.glob("libs/**/libmsodbcsql*"))
    fitting = [path for path in paths if built_for in path.parts]
    system = _system()
    ours = [path for path in fitting if any(name in path.as_posix() for name in system)]
    return str((ours or fitting)[0]) if fitting else None


def _system() -> list[str]:
    """This Linux and those that it is like, as it names them; else the kernel's name."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return [platform.system().lower()]
    return [release["ID"], *release.get("ID_LIKE", "").split()]


def _installed() -> str | None:
    try:
        import pyodbc
    except ImportError:
        return None  # said when the engine is made
    return _INSTALLED if _INSTALLED in pyodbc.drivers() else None


@contextmanager
def our_errors(engine: Engine) -> Iterator[None]:
    """Errors that time or the settings can mend, as ours; others are bugs and stay."""
    try:
        yield
    except DBAPIError as error:
        ours = translated(error.orig, engine.url)
        if ours is None:
            raise
        raise ours from error
    except PoolTimeout as error:
        raise TemporaryError(
            f"a connection to the database {engine.url.database} is required, found all of ours in "
            "use: try again when other requests have ended",
            retry_after=5,
        ) from error


def translated(error: BaseException | None, url: URL) -> AstraError | None:
    """What a pyodbc error asks of us: to try again, to change the settings, or None."""
    arguments: tuple[Any, ...] = () if error is None else error.args
    state, text = (str(arguments[0]), str(arguments[-1])) if arguments else ("", str(error))
    numbers = {int(number) for number in re.findall(r"\((\d+)\)", text)}
    said = _without_password(text, url)
    where = f"{url.database} on {url.host}"
    if "Can't open lib" in text:
        return ConfigError(
            f"the ODBC driver for SQL Server cannot be loaded: {said}; on Debian its libraries are "
            f"apt-get install {_LIBRARIES}"
        )
    if numbers & _SETTINGS or state.startswith(_SETTINGS_STATES) or "certificate" in text:
        return ConfigError(f"the database {where} cannot be used, set ASTRA_DATABASE_URL: {said}")
    if numbers & _PASSING or state.startswith(_PASSING_STATES):
        return TemporaryError(f"the database {where} does not answer now: {said}", retry_after=5)
    return None


def _without_password(text: str, url: URL) -> str:
    """Drivers do not repeat it; should one, it goes no further."""
    password = str(url.password or "")
    return text.replace(password, "***") if password else text
