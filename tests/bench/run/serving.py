"""What stands for a process that measures, so that it starts at once: it does what the name of a cell says."""

import os
import signal


def serve(connection):
    """Answer as `bench.run.process` does."""
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        name = task.cell.name
        if name == "dies":
            os._exit(3)
        if name == "hangs":
            signal.pause()
        kind, state = {
            "fails": ("failure", "ends"),
            "lacks": ("failure", "goes on"),
            "no graph": ("measures", "ends"),
        }.get(name, ("measures", "goes on"))
        text = (
            '{"kind": "error", "reason": "%d"}' if kind == "failure" else '{"printed": {"pid": %d}}'
        )
        connection.send_bytes(f"{kind} {state}\n{text % os.getpid()}".encode())
        if state == "ends":
            return
        if name == "dies later":
            os._exit(0)
