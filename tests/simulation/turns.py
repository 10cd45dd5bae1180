"""Several consumers at once, of which one goes on at a time: chance says which, and no thread."""

import threading


class Turns:
    """Runs functions in threads of their own. `pass_on` is where another one may go on."""

    def __init__(self, chance):
        self._chance = chance
        self._gates = {}
        self._restlessness = 0.0
        self._failure = None

    def run(self, *functions):
        if len(functions) == 1:
            functions[0]()
            return
        threads = [threading.Thread(target=self._run, args=(one,)) for one in functions]
        self._gates = {thread: threading.Semaphore(0) for thread in threads}
        self._restlessness = self._chance.choice([0.05, 0.2, 0.5])
        for thread in threads:
            thread.start()
        self._open_one()
        for thread in threads:
            thread.join()
        if self._failure is not None:
            raise self._failure

    def pass_on(self):
        mine = self._gates.get(threading.current_thread())
        if len(self._gates) > 1 and self._chance.random() < self._restlessness:
            self._open_one()
            mine.acquire()

    def _open_one(self):
        if self._gates:
            self._chance.choice([*self._gates.values()]).release()

    def _run(self, function):
        gate = self._gates[threading.current_thread()]
        gate.acquire()
        try:
            function()
        except BaseException as failure:  # noqa: BLE001 - raised again by whoever waits
            self._failure = self._failure or failure
        del self._gates[threading.current_thread()]
        self._open_one()
