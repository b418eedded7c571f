"""What the notebooks call beside the model's own functions, so that they hold no logic themselves.

Pictures need the IPython that runs a notebook, and matplotlib of the training packages.
"""

from __future__ import annotations

import datetime as dt
import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from astra.bars import COLUMNS, from_arrow
from astra.cli import evaluating
from astra.cli.panels import from_file
from astra.services import Services
from astra.settings import Settings, load
from model.forecast.bundle import Bundle, pack
from model.panel import Panel, build, daily_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from model.evaluation import Evaluation
    from model.forecast.registry import Registry
    from model.forecast.spec import Spec

SECRETS = ("ASTRA_TOKEN", "ASTRA_BUNDLE_KEY")
_COLAB = "google.colab"
_SHOWN = 900  # pixels
_DPI = 160
_COLUMNS = 110


def settings_here(**named: str) -> Settings:
    """The settings: those `named` and not empty, Colab's secrets of `SECRETS`, the environment.

    Raises:
        ConfigError: one line for each setting that cannot be used.
    """
    return load(**(_secrets_of_colab() | {name: value for name, value in named.items() if value}))


def read_bars(settings: Settings, bars: str, frequency: str) -> tuple[Panel, str]:
    """The panel of a Parquet file, or of all bars of the ETL service where `bars` is empty.

    Returns: the panel, and the identity of its market: its word before the colon says whether it is
        real, a replay or simulated.

    Raises:
        ConfigError, DataError: as `panels.from_file`; the service wants another token.
        TemporaryError: the service is down.
    """
    if bars:
        return from_file(Path(bars), frequency)
    dump = Services(settings).dump("price_history", columns=",".join(COLUMNS))
    panel = build(from_arrow(dump.table))
    return daily_of(panel) if frequency == "1d" else panel, dump.market


def about(panel: Panel, market: str) -> str:
    """What the bars are, in a line."""
    days = f"{panel.sessions[0].date} to {panel.sessions[-1].date}"
    return f"{len(panel.tickers)} tickers, {len(panel.sessions)} sessions of {market}, {days}"


@contextmanager
def progress() -> Iterator[Callable[[int, int, float], None]]:
    """A bar under the cell, and what a training calls to move it."""
    from tqdm import tqdm  # type: ignore[import-untyped]  # comes with the training packages

    with tqdm(unit=" steps", mininterval=0.5) as bar:

        def told(step: int, steps: int, loss: float) -> None:
            bar.total = steps
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            bar.update(step - bar.n)

        yield told


def bundle_of(spec: Spec, onnx: bytes, weights: bytes) -> Bundle:
    """What was trained under the name that a registry will give it; nothing is written."""
    return Bundle(pack(spec, onnx, weights)[0], spec, onnx, weights)


def show(evaluation: Evaluation, bundle: Bundle, panel: Panel, market: str) -> None:
    """The tables of `astra evaluate` and its charts; those are left in the folder `charts` too."""
    from model.evaluation.charts import write

    training = bundle.spec.training
    trained = f"trained on {training.market} until {training.end:%Y-%m-%d}"
    found = evaluating.Found(evaluation, market, None, trained, len(panel.tickers), ())
    evaluating.show(found, console())
    for path in write(evaluation, Path("charts")):
        display_png(path.read_bytes())


def draw(figure: Figure) -> None:
    """The figure under the cell, as a PNG."""
    png = BytesIO()
    figure.savefig(png, dpi=_DPI)
    display_png(png.getvalue())


def push(registry: Registry, bundle: Bundle, work: Path) -> str:
    """Register a bundle, as champion where there is none of its frequency; what became of it.

    Args:
        work: the folder of its training's checkpoints, which are of no use any more and deleted.

    Raises:
        ConfigError, BundleError, TemporaryError: as `Registry.register`.
    """
    registry.register(bundle.spec, bundle.onnx, bundle.weights)
    shutil.rmtree(work, ignore_errors=True)
    if registry.promote_if_first(bundle.id, dt.datetime.now(dt.UTC)):
        return f"{bundle.id} is registered and in use, the first of its frequency"
    return f"{bundle.id} is registered as a challenger: astra models promote {bundle.id}"


def _secrets_of_colab() -> dict[str, str]:
    """The secrets that this notebook may see, by setting; none elsewhere."""
    if _COLAB not in sys.modules:
        return {}
    userdata = importlib.import_module(f"{_COLAB}.userdata")
    found = {}
    for name in SECRETS:
        with suppress(userdata.SecretNotFoundError, userdata.NotebookAccessError):
            found[name.removeprefix("ASTRA_").lower()] = str(userdata.get(name))
    return found


def console() -> Console:
    """Prints under the cell, as text with colours."""
    # Rich's own output for notebooks is one block of HTML for each line.
    return Console(force_jupyter=False, force_terminal=True, width=_COLUMNS, highlight=False)


def display_png(png: bytes) -> None:
    """The picture under the cell."""
    from IPython.display import Image, display

    display(Image(png, width=_SHOWN))  # type: ignore[no-untyped-call]
