"""A user's own policy: `file.py:function`, a function from `Inputs` to weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from astra.errors import ConfigError
from model.portfolio.policies import POLICIES, from_function
from model.portfolio.records import Policy


def find(name: str) -> Policy:
    """The built-in policy of that name, or the function in the file.

    The file's code runs in this process: it is the user's own, named in the user's own settings,
    never in a request.

    Raises:
        ConfigError: no such policy, file or function, or the file can't be executed.
    """
    if name in POLICIES:
        return POLICIES[name]
    path, _, function = name.partition(".py:")
    file = Path(f"{path}.py")
    if not function or not file.is_file():
        known = ", ".join(POLICIES)
        raise ConfigError(
            f"a policy is one of {known}, or an existing file.py:function; found {name!r}"
        )
    spec = importlib.util.spec_from_file_location(f"policy_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{file} cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return from_function(getattr(module, function), name)
    except AttributeError as error:
        raise ConfigError(f"{file} has no function {function}") from error
    except Exception as error:  # whatever the user's file raises while it loads
        raise ConfigError(f"{file} cannot be loaded: {type(error).__name__}: {error}") from error
