"""`make chaos`. One BLAS thread, set before numpy is loaded: it reads these once."""

import os
import sys

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

from benchmarks.chaos.command import main

if __name__ == "__main__":
    sys.exit(main())
