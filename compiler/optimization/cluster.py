"""A cluster of Dask that tries candidates: those of a worker that dies are tried by another, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from math import inf, isinf
from typing import Any

from ...errors import ToolError, UsageError
from ..recipes.recipe import Recipe
from .attempt import Outcome, Study, attempt
from .clock import TimeIsUpError
from .crew import ATTEMPTS, Crew

SCHEME = "dask://"
_SECONDS = 30  # in which the scheduler and a first worker have to be there


class Cluster:
    """The workers of a cluster, one candidate each at a time, as many as there are at the moment."""

    def __init__(self, client: Any, study: Study) -> None:
        """Sends the study there."""
        self._client, self._study = client, study
        self._sent = client.scatter(study, broadcast=True, hash=False)

    @property
    def width(self) -> int:
        """How many candidates at a time."""
        return max(1, len(self._client.nthreads()))

    def outcomes(self, recipes: Sequence[Recipe | None], seconds: float = inf) -> Iterator[tuple[int, Outcome]]:
        """As `Crew` says."""
        from distributed import KilledWorker, as_completed
        from distributed import TimeoutError as OverError

        waiting = {self._submitted(recipe): (place, 1) for place, recipe in enumerate(recipes)}
        done = as_completed(waiting, timeout=None if isinf(seconds) else seconds)
        while waiting:
            try:
                future = next(done)
            except OverError:  # what a worker is at it finishes, for nobody
                self._client.cancel([*waiting])
                raise TimeIsUpError from None
            place, tries = waiting.pop(future)
            try:
                yield place, future.result()
            except KilledWorker:  # of several that tried it, each
                yield place, Outcome({}, failed="its process died")
            except Exception as error:  # a worker took along what others need
                if tries == ATTEMPTS:
                    raise ToolError(
                        "the cluster does not answer any more",
                        where="--cluster",
                        details=[f"{type(error).__name__}: {error}"],
                        hint="nothing is lost: the same command goes on",
                    ) from error
                self._sent = self._client.scatter(self._study, broadcast=True, hash=False)
                again = self._submitted(recipes[place])
                waiting[again] = place, tries + 1
                done.add(again)

    def _submitted(self, recipe: Recipe | None) -> Any:
        return self._client.submit(attempt, self._sent, recipe, pure=False)


def check_cluster(address: str) -> None:
    """What can be told before there is anything to try.

    Raises:
        UsageError: it is no address, ``dask://HOST:PORT``.
        ToolError: Dask is not installed.
    """
    if not address.startswith(SCHEME) or ":" not in address.removeprefix(SCHEME):
        raise UsageError("it is no address of a cluster", where=f"--cluster {address}", hint="dask://HOST:PORT")
    if find_spec("distributed") is None:
        raise ToolError("distributed is needed for this and is not installed", hint="pip install tilewright[cluster]")


@contextmanager
def cluster_crew(study: Study, address: str, seconds: float | None = None) -> Iterator[Crew]:
    """The cluster at an address, ``dask://HOST:PORT`` of its scheduler, for as long as the block lasts.

    Args:
        seconds: of the whole search: more is not waited for the scheduler and a first worker, either.

    Raises:
        UsageError: it is no such address.
        ToolError: Dask is not installed, or there is no scheduler with a worker.
    """
    check_cluster(address)
    from distributed import Client

    end = time.monotonic() + min(_SECONDS, seconds or _SECONDS)
    try:
        client = Client(f"tcp://{address.removeprefix(SCHEME)}", timeout=end - time.monotonic())
        client.wait_for_workers(1, timeout=max(0.0, end - time.monotonic()))
    except (OSError, TimeoutError) as error:
        raise ToolError(
            "there is no scheduler with a worker",
            where=f"--cluster {address}",
            details=[str(error)[:200]],
            hint="`dask scheduler` here, and `dask worker HOST:PORT --nthreads 1` on machines that have tilewright",
        ) from error
    with client:
        yield Cluster(client, study)
