"""A pipeline of threads that overlaps host work with the device's. Host code.

    items -> prepare (threads) -> batches -> compute (one thread) -> finish (threads) -> outcomes

A step that is ahead waits: at most `readers + batch` items are prepared in advance (a deque of
futures), and at most `writers + batch` jobs wait to be finished (a semaphore). Only `events`, from
which outcomes are made, is an unbounded queue. An exception fails its item alone, unless `fatal`
returns true for it.
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
Job = TypeVar("Job")
Done = TypeVar("Done")


class Stopped(Exception):
    """Raised by `check` when the run has been interrupted."""


@dataclass
class Outcome(Generic[Item]):
    """The outcome of an item: the values of its jobs, or why it failed.

    Attributes:
        item: as given.
        values: returned by `finish` for each of its jobs, in no order.
        error: the first exception that a job raised, or None.
    """

    item: Item
    values: list[Any] = field(default_factory=list)
    error: Exception | None = None


def run_pipeline(
    items: Sequence[Item],
    prepare: Callable[[Item], Iterable[Job]],
    compute: Callable[[list[Job], Callable[[], None]], Sequence[Done]],
    finish: Callable[[Job, Done], Any],
    *,
    batch: int = 1,
    batch_key: Callable[[Job], Hashable] = lambda job: None,
    readers: int = 2,
    writers: int = 2,
    fatal: Callable[[Exception], bool] = lambda error: False,
) -> Iterator[Outcome[Item]]:
    """Yields the outcome of each item as soon as all its jobs are finished or have failed.

    If a batch fails, its jobs are computed again one by one, so that one failure affects no other
    item. Ctrl-C, SIGTERM or closing the iterator stop at the next `check`: results that are being
    written are completed, all others are dropped. After a signal the outcomes completed thereby are
    yielded, then `KeyboardInterrupt` is raised; a second signal ends the process at once.

    Args:
        items: given to `prepare` one by one.
        prepare: returns the jobs of an item, none if it needs nothing. Runs in threads.
        compute: takes at most `batch` jobs of equal `batch_key` and `check`, which it must call
            regularly (it raises if the run is interrupted); returns a result for each. Runs in one
            thread, in the order of the items.
        finish: takes a job and its result. Runs in threads.
        batch: maximum number of jobs computed at once.
        batch_key: of a job; jobs of different keys are never in the same batch.
        readers: number of threads for `prepare`.
        writers: number of threads for `finish`.
        fatal: returns whether an exception ends the whole run; the iterator then raises it.

    Example:
        >>> outcomes = run_pipeline(
        ...     [1, 2], lambda x: [x], lambda jobs, check: [10 * x for x in jobs], lambda x, y: y
        ... )
        >>> sorted(outcome.values[0] for outcome in outcomes)
        [10, 20]
    """
    job: _Pipeline[Item, Job, Done] = _Pipeline(
        items, prepare, compute, finish, batch, batch_key, readers, writers
    )
    with _signals(job.interrupt):
        try:
            for outcome in job.outcomes():
                if outcome.error is not None and fatal(outcome.error):
                    raise outcome.error
                yield outcome
        finally:
            job.stop()


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


class _Pipeline(Generic[Item, Job, Done]):
    """The threads of `run_pipeline`, and the events by which they report to its caller.

    `events` are (item's index, kind, value): `jobs` (their number), `value`, `error`, `interrupt`,
    `internal_error`.
    """

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
        self.max_ahead = readers + batch
        self.writing_slots = threading.BoundedSemaphore(writers + batch)
        self.reading = ThreadPoolExecutor(readers, "jaxface-read")
        self.writing = ThreadPoolExecutor(writers, "jaxface-write")
        self.device = threading.Thread(target=self._run_device, name="jaxface-device", daemon=True)

    def outcomes(self) -> Iterator[Outcome[Item]]:
        """Yields outcomes, counting the unfinished jobs of each item."""
        self.device.start()
        outcomes = {index: Outcome(item) for index, item in enumerate(self.items)}
        unfinished = dict.fromkeys(outcomes, 0)
        interrupted = False
        while outcomes:
            if interrupted and self.events.empty():
                raise KeyboardInterrupt
            index, event, value = self.events.get()
            if event == "interrupt":
                interrupted = True
                self.stop()
                continue
            if event == "internal_error":  # a bug of this module, not of an item
                raise value
            if event == "jobs":
                unfinished[index] += value
            else:
                unfinished[index] -= 1
                if event == "error":
                    outcomes[index].error = outcomes[index].error or value
                else:
                    outcomes[index].values.append(value)
            if unfinished[index] == 0:
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

    def _run_device(self) -> None:
        """Groups jobs into batches of equal key and computes them; the thread's main function."""
        try:
            waiting: dict[Hashable, list[tuple[int, Job]]] = {}
            for index, jobs in self._prepared():
                for job in jobs:
                    group = waiting.setdefault(self.batch_key(job), [])
                    group.append((index, job))
                    if len(group) == self.batch:
                        self._compute_batch(group)
                        group.clear()
            for group in waiting.values():
                if group:
                    self._compute_batch(group)
        except Stopped:
            pass
        except BaseException as error:
            self.events.put((-1, "internal_error", error))

    def _prepared(self) -> Iterator[tuple[int, list[Job]]]:
        """Yields indices of items with their jobs, in order; prepares `max_ahead` in advance."""
        pending: deque[tuple[int, Future]] = deque()
        indices = iter(range(len(self.items)))
        while True:
            self.check()
            while len(pending) < self.max_ahead and (index := next(indices, None)) is not None:
                try:
                    future = self.reading.submit(self._prepare_item, self.items[index])
                except RuntimeError:  # shut down
                    raise Stopped from None
                pending.append((index, future))
            if not pending:
                return
            index, future = pending.popleft()
            try:
                jobs, error = future.result()
            except CancelledError:
                raise Stopped from None
            self.check()
            if error is not None:
                self.events.put((index, "jobs", 1))
                self.events.put((index, "error", error))
                continue
            self.events.put((index, "jobs", len(jobs)))
            yield index, jobs

    def _prepare_item(self, item: Item) -> tuple[list[Job], Exception | None]:
        """Returns an item's jobs and None, or no job and the exception."""
        try:
            self.check()
            return list(self.prepare(item)), None
        except Exception as error:
            return [], error

    def _compute_batch(self, group: list[tuple[int, Job]]) -> None:
        """Computes a batch and hands its results to the writers; one by one if it fails."""
        self.check()
        try:
            results = self.compute([job for _, job in group], self.check)
        except Stopped:
            raise
        except Exception as error:
            if len(group) == 1:
                self.events.put((group[0][0], "error", error))
                return
            for member in list(group):
                self._compute_batch([member])
            return
        for (index, job), result in zip(group, results, strict=True):
            while not self.writing_slots.acquire(timeout=0.2):
                self.check()
            try:
                self.writing.submit(self._finish_job, index, job, result)
            except RuntimeError:  # shut down
                raise Stopped from None

    def _finish_job(self, index: int, job: Job, result: Done) -> None:
        """Finishes a job and reports its value or error."""
        try:
            self.events.put((index, "value", self.finish(job, result)))
        except Exception as error:
            self.events.put((index, "error", error))
        finally:
            self.writing_slots.release()
