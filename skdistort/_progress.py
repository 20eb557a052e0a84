"""A bar that grows with what is done, in threads also.

What is counted is the matter of who counts.
"""

import time
from threading import Lock

# Characters of the bar, and seconds from one drawing to the next.
_BAR, _PAUSE = 30, 0.1


class Progress:
    """Count what is done, and draw a bar.

    Parameters
    ----------
    n : int
        How much there is to do.
    what : str
        What to call it, such as "photos".
    shown : bool or int
        Whether a bar is drawn.
    """

    def __init__(self, n, what, shown):
        self.n, self.what, self.shown = n, what, shown
        self.n_done, self._lock = 0, Lock()
        self._begun = self._drawn = time.monotonic()

    def step(self, n=1):
        """Count what was done, and draw the bar if it is time.

        Parameters
        ----------
        n : int, default=1
            How much it was.
        """
        with self._lock:
            self.n_done += n
            now, last = time.monotonic(), self.n_done == self.n
            if not self.shown or (now - self._drawn < _PAUSE and not last):
                return
            self._drawn = now
            left = (now - self._begun) * (self.n / self.n_done - 1)
            bar = "=" * (_BAR * self.n_done // self.n)
            # A shorter line leaves nothing of the one before.
            line = f"{self.n_done}/{self.n} {self.what} [{bar:.<{_BAR}}] {left:.0f} s left"
            print(f"\r{line:<{_BAR + 40}}", end="\n" if last else "", flush=True)
