"""What the child process runs: handlers, with nothing on the path but what Lambda has.

    python -I -S lambda_process.py FUNCTION_DIRECTORY RUNTIME_DIRECTORY MODULE.HANDLER

Reads an event a line, writes `reply ` or `error ` and JSON for each; the log goes through as it
is. The time that the import took is told first, in milliseconds.
"""

import json
import sys
import time

sys.path[0:0] = sys.argv[1:3]
MODULE, _, NAME = sys.argv[3].rpartition(".")

began = time.perf_counter()
handler = getattr(__import__(MODULE, fromlist=[NAME]), NAME)
print("import", round((time.perf_counter() - began) * 1000), flush=True)

for line in sys.stdin:
    try:
        print("reply", json.dumps(handler(json.loads(line), None)), flush=True)
    except Exception as error:  # noqa: BLE001 - told to the parent
        print("error", json.dumps(f"{type(error).__name__}: {error}"), flush=True)
