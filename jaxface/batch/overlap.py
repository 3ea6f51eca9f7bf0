"""Host work beside the device's: bounded queues, items in order, stoppable. Host code.

    items -> prepare (threads) -> batches -> compute (one thread) -> finish (threads) -> outcomes

Every arrow is a bounded queue: a step that is ahead waits. An exception fails its item alone,
unless `fatal` says otherwise.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Work = TypeVar("Work")
Done = TypeVar("Done")


class Stopped(Exception):
    """Raised by `check` when the run has been interrupted."""


@dataclass
class Outcome(Generic[Item]):
    """The outcome of an item: the values of its works, or why it failed.

    Attributes:
        item: as given.
        values: returned by `finish` for each of its works, in no order.
        error: the first exception that a work raised, or None.
    """

    item: Item
    values: list[Any] = field(default_factory=list)
    error: Exception | None = None


def overlap(
    items: Sequence[Item],
    prepare: Callable[[Item], Iterable[Work]],
    compute: Callable[[list[Work], Callable[[], None]], Sequence[Done]],
    finish: Callable[[Work, Done], Any],
    *,
    batch: int = 1,
    batch_key: Callable[[Work], Hashable] = lambda work: None,
    readers: int = 2,
    writers: int = 2,
    fatal: Callable[[Exception], bool] = lambda error: False,
) -> Iterator[Outcome[Item]]:
    """Yields the outcome of each item as soon as all its works are finished or have failed.

    If a batch fails, its works are computed again one by one, so that one failure affects no other
    item. Ctrl-C, SIGTERM or closing the iterator stop at the next `check`: results that are being
    written are completed, all others are dropped. After a signal the outcomes completed thereby are
    yielded, then `KeyboardInterrupt` is raised; a second signal ends the process at once.

    Args:
        items: given to `prepare` one by one.
        prepare: returns the works of an item, none if it needs nothing. Runs in threads.
        compute: takes at most `batch` works of equal `batch_key` and `check`, which it calls now
            and then; returns a result for each. Runs in one thread, in the order of the items.
        finish: takes a work and its result. Runs in threads.
        batch: maximum number of works computed at once.
        batch_key: of a work; works of different keys are never in the same batch.
        readers: number of threads for `prepare`.
        writers: number of threads for `finish`.
        fatal: returns whether an exception ends the whole run; the iterator then raises it.

    Example:
        >>> outcomes = overlap(
        ...     [1, 2], lambda x: [x], lambda works, check: [10 * x for x in works], lambda x, y: y
        ... )
        >>> sorted(outcome.values[0] for outcome in outcomes)
        [10, 20]
    """
    work: _Overlap[Item, Work, Done] = _Overlap(
        items, prepare, compute, finish, batch, batch_key, readers, writers
    )
    with _signals(work.interrupt):
        try:
            for outcome in work.outcomes():
                if outcome.error is not None and fatal(outcome.error):
                    raise outcome.error
                yield outcome
        finally:
            work.stop()


@contextmanager
def _signals(interrupt: Callable[[], None]) -> Iterator[None]:
    """Calls `interrupt` at the first SIGINT or SIGTERM; a second ends the process. In the
    main thread only; elsewhere does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    called: list[int] = []

    def handle(number: int, frame: object) -> None:
        if called:  # safe: results and journal survive a kill at any moment
            os._exit(130)
        called.append(number)
        interrupt()

    numbers = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(number, handle) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


class _Overlap(Generic[Item, Work, Done]):
    def __init__(
        self,
        items: Sequence[Item],
        prepare: Callable,
        compute: Callable,
        finish: Callable,
        batch: int,
        batch_key: Callable,
        readers: int,
        writers: int,
    ) -> None:
        self.items, self.batch, self.batch_key = items, batch, batch_key
        self.prepare, self.compute, self.finish = prepare, compute, finish
        self.events: queue.SimpleQueue[tuple[int, str, Any]] = queue.SimpleQueue()
        self.stopping = threading.Event()
        self.ahead = readers + batch
        self.slots = threading.BoundedSemaphore(writers + batch)
        self.reading = ThreadPoolExecutor(readers, "jaxface-read")
        self.writing = ThreadPoolExecutor(writers, "jaxface-write")
        self.device = threading.Thread(target=self._device, name="jaxface-device", daemon=True)

    def outcomes(self) -> Iterator[Outcome[Item]]:
        """Yields outcomes, counting the unfinished works of each item."""
        self.device.start()
        outcomes = {index: Outcome(item) for index, item in enumerate(self.items)}
        missing = dict.fromkeys(outcomes, 0)
        interrupted = False
        while outcomes:
            if interrupted and self.events.empty():
                raise KeyboardInterrupt
            index, event, value = self.events.get()
            if event == "interrupt":
                interrupted = True
                self.stop()
                continue
            if event == "broken":  # a bug of this module, not of an item
                raise value
            if event == "works":
                missing[index] += value
            else:
                missing[index] -= 1
                if event == "error":
                    outcomes[index].error = outcomes[index].error or value
                else:
                    outcomes[index].values.append(value)
            if missing[index] == 0:
                yield outcomes.pop(index)

    def interrupt(self) -> None:
        """Interrupts the run; may be called by a signal handler. `outcomes` raises."""
        self.stopping.set()
        self.events.put((-1, "interrupt", None))

    def check(self) -> None:
        """Raises `Stopped` if the run was interrupted."""
        if self.stopping.is_set():
            raise Stopped

    def stop(self) -> None:
        """Ends all threads; results that are being written are completed."""
        self.stopping.set()
        self.reading.shutdown(wait=False, cancel_futures=True)
        self.writing.shutdown(wait=True, cancel_futures=True)
        if self.device.ident is not None:
            self.device.join()
        self.reading.shutdown(wait=True)

    def _device(self) -> None:
        try:
            waiting: dict[Hashable, list[tuple[int, Work]]] = {}
            for index, works in self._prepared():
                for work in works:
                    group = waiting.setdefault(self.batch_key(work), [])
                    group.append((index, work))
                    if len(group) == self.batch:
                        self._batch(group)
                        group.clear()
            for group in waiting.values():
                if group:
                    self._batch(group)
        except Stopped:
            pass
        except BaseException as error:
            self.events.put((-1, "broken", error))

    def _prepared(self) -> Iterator[tuple[int, list[Work]]]:
        """Yields items with their works in order; prepares at most `ahead` items in advance."""
        pending: deque[tuple[int, Future]] = deque()
        indices = iter(range(len(self.items)))
        while True:
            self.check()
            while len(pending) < self.ahead and (index := next(indices, None)) is not None:
                try:
                    future = self.reading.submit(self._prepare, self.items[index])
                except RuntimeError:  # shut down
                    raise Stopped from None
                pending.append((index, future))
            if not pending:
                return
            index, future = pending.popleft()
            try:
                works, error = future.result()
            except CancelledError:
                raise Stopped from None
            self.check()
            if error is not None:
                self.events.put((index, "works", 1))
                self.events.put((index, "error", error))
                continue
            self.events.put((index, "works", len(works)))
            yield index, works

    def _prepare(self, item: Item) -> tuple[list[Work], Exception | None]:
        try:
            self.check()
            return list(self.prepare(item)), None
        except Exception as error:
            return [], error

    def _batch(self, group: list[tuple[int, Work]]) -> None:
        self.check()
        try:
            results = self.compute([work for _, work in group], self.check)
        except Stopped:
            raise
        except Exception as error:
            if len(group) == 1:
                self.events.put((group[0][0], "error", error))
                return
            for member in list(group):
                self._batch([member])
            return
        for (index, work), result in zip(group, results, strict=True):
            while not self.slots.acquire(timeout=0.2):
                self.check()
            try:
                self.writing.submit(self._finish, index, work, result)
            except RuntimeError:  # shut down
                raise Stopped from None

    def _finish(self, index: int, work: Work, result: Done) -> None:
        try:
            self.events.put((index, "value", self.finish(work, result)))
        except Exception as error:
            self.events.put((index, "error", error))
        finally:
            self.slots.release()
