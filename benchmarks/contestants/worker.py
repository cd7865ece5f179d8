"""A contestant's process: builds it, then steps as often as it is told.

    python benchmarks/contestants/worker.py '{"module": ..., "cell": {...}}'

Each line of stdin is a number of steps; each of stdout a JSON object: first
what was built, or `reason` why it can't be, then the seconds and the losses of
these steps. Between lines it waits for the next, and takes no processor.
"""

import dataclasses
import importlib
import json
import os
import pathlib
import sys
import time

# The benchmarks, the configs, and `sngan_tf` where it isn't installed.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import contestants

_WARM_UP = 2


def main():
    request = json.loads(sys.argv[1])
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # What libraries print is no reply.

    def reply(**values):
        print(json.dumps(values), file=replies, flush=True)

    try:
        module = importlib.import_module(request["module"])
        built = module.build(
            contestants.Cell(**request["cell"]),
            request["threads"],
            **request["options"],
        )
        for _ in range(_WARM_UP):
            built.run(1)
    except Exception as error:
        # Whatever it is, the others go on without this one.
        first = (str(error) or "no message").splitlines()[0]
        reply(reason=f"{type(error).__name__}: {first}")
        raise
    ready = dataclasses.asdict(dataclasses.replace(built, run=None))
    reply(**ready)
    for line in sys.stdin:
        began = time.perf_counter()
        losses = built.run(int(line))
        reply(seconds=time.perf_counter() - began, losses=losses)


if __name__ == "__main__":
    main()
