"""The same with darts, run by `cold.py` as `first_darts.py MODEL LOOK-BACKS.npy`.

It loads a model that darts saved and predicts series of look-backs. Prints one JSON line.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.models import NBEATSModel

paths = np.load(sys.argv[2])
times = pd.RangeIndex(paths.shape[1])
series = [TimeSeries(times=times, values=one[:, None], copy=False) for one in paths]
model = NBEATSModel.load(sys.argv[1], trusted=True)  # our own file of a minute ago
found = model.predict(
    model.output_chunk_length, series, batch_size=len(paths),
    predict_likelihood_parameters=True, verbose=False, show_warnings=False,
)  # fmt: skip
status = Path("/proc/self/status").read_text()  # getrusage would count the process it came from
megabytes = int(status.partition("VmHWM:")[2].split()[0]) / 1024
print(json.dumps({"tickers": len(found), "megabytes": megabytes}))
