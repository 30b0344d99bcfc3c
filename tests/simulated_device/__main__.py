"""``python -m tests.simulated_device JSON``: each of a list of combinations, one line of JSON each on stdout."""

from __future__ import annotations

import json
import sys
import traceback
import warnings

if __name__ == "__main__":
    from tests.simulated_device.installed import install

    install()
    import torch

    from tests.simulated_device.work import Work, run

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for given in json.loads(sys.argv[1]):
        try:
            outcome = run(Work(**given))
        except Exception as error:
            traceback.print_exc(limit=-8)
            outcome = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
        sys.stdout.write(json.dumps({"work": given, **outcome}) + "\n")
        sys.stdout.flush()
