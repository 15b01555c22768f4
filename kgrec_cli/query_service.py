"""A polite client of a SPARQL query service: one request at a time, each answer kept in the cache.

The prepare stage asks Wikidata by it. `download` and it are the only files that
reach for another machine.
"""

import hashlib
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from filelock import FileLock

from kgrec_cli import __version__
from kgrec_cli.download import CACHE_VARIABLE, default_cache_dir
from kgrec_cli.errors import KgrecError, UsageError, reason, shorten
from kgrec_cli.events import Note, OnEvent, Progress
from kgrec_cli.formats.files import parse_json, write_text

CONTACT_VARIABLE = "KGREC_CONTACT"
N_ATTEMPTS = 5
PAUSE_S = 2.0
"""Wait before the second attempt; twice as long before each further one."""
MAX_WAIT_S = 600.0
"""A service that asks for more patience is asked again another day."""
MAX_ANSWER_BYTES = 1 << 28
_TIMEOUT_S = 75.0  # the service itself gives up a query after 60
_TIMED_OUT = ("TimeoutException", "timed out", "Query timeout", "QueryTimeout")

_OFFLINE = "without one: --kg FILE.nt.gz of a dump"

Row = dict[str, str]
"""The values of one solution by variable; a variable without a value is not there."""


class _TooSlowError(Exception):
    """A query takes too long, or its answer is too large: ask for less.

    `is_said` is False where the service said nothing: it may be the network.
    """

    def __init__(self, text: str, *, is_said: bool = True):
        super().__init__(text)
        self.is_said = is_said


class _PassingError(Exception):
    """Something that may go well the next time, and how long to wait for it (None: as usual)."""

    def __init__(self, text: str, wait_s: float | None = None):
        super().__init__(text)
        self.wait_s = wait_s


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves redirects to the caller: urllib would ask the new place without the query."""

    def redirect_request(self, *_: Any) -> None:
        """No request."""


_OPENER = urllib.request.build_opener(_NoRedirect)


@dataclass
class QueryService:
    """A service that answers SPARQL queries in SPARQL's JSON.

    Each answer is kept in a file below the cache folder, also that a query was too slow. So a
    stopped run goes on where it was, and a second one asks nothing.

    Attributes:
        endpoint: Its address.
        on_event: Is told how far it is, and why it waits.
        cache_dir: Folder of downloads; None is the usual one.
    """

    endpoint: str
    on_event: OnEvent
    cache_dir: Path | None = None
    _n_asked: Counter[str] = field(default_factory=Counter)
    _n_cached: Counter[str] = field(default_factory=Counter)
    _examples: dict[str, str] = field(default_factory=dict)
    _times: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if urlsplit(self.endpoint).scheme not in ("http", "https"):
            raise UsageError(f"--endpoint {self.endpoint}: expected http://... or https://...")

    def ask_all(
        self,
        task: str,
        values: Sequence[str],
        make_query: Callable[[Sequence[str]], str],
        batch: int,
    ) -> Iterator[Row]:
        """The rows for all values: a query for each batch of them, halved where it takes too long.

        Args:
            task: What is asked, for the progress and the report.
            values: What goes into a VALUES clause.
            make_query: The query for some of them.
            batch: How many at once.

        Raises:
            KgrecError: No network, or a service that does not answer as one; what it answered so
                far stays in the cache.
        """
        waiting = [values[start : start + batch] for start in range(0, len(values), batch)][::-1]
        n_done = 0
        while waiting:
            chunk = waiting.pop()
            try:
                rows = self._ask(task, make_query(chunk), may_halve=len(chunk) > 1)
            except _TooSlowError:
                half = (len(chunk) + 1) // 2
                waiting += [chunk[half:], chunk[:half]]
                continue
            yield from rows
            n_done += len(chunk)
            self.on_event(Progress(task, n_done, len(values), "values"))

    def _ask(self, task: str, query: str, *, may_halve: bool) -> list[Row]:
        """The rows of one query, out of the cache where they are there."""
        digest = hashlib.sha256(f"{self.endpoint}\n{query}".encode()).hexdigest()
        folder = (default_cache_dir() if self.cache_dir is None else self.cache_dir) / "queries"
        path = folder / digest[:2] / f"{digest}.json"
        self._examples.setdefault(task, query)
        answer = _read_answer(path)
        if answer is None:
            with _one_at_a_time(folder):  # also of several commands
                answer = _read_answer(path)  # another one may have asked meanwhile
                if answer is None:
                    self._n_asked[task] += 1
                    answer = self._ask_and_keep(query, path, may_halve)
                else:
                    self._n_cached[task] += 1
        else:
            self._n_cached[task] += 1
        self._times.append(answer["time"])
        if isinstance(answer["answer"], str):
            raise _TooSlowError(answer["answer"])
        rows: list[Row] = answer["answer"]
        return rows

    def _ask_and_keep(self, query: str, path: Path, may_halve: bool) -> dict[str, Any]:
        try:
            found: Any = self._ask_patiently(query, may_halve)
        except _TooSlowError as error:
            if not error.is_said:
                raise
            found = str(error)
        answer = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "answer": found}
        asked = {"endpoint": self.endpoint, "query": query}
        write_text(path, json.dumps(asked | answer, ensure_ascii=False))
        return answer

    def summary(self) -> str:
        """One line: how many queries were asked, and from when the other answers are."""
        n_asked, n_cached = self._n_asked.total(), self._n_cached.total()
        day = min(self._times, default="")[:10]
        old = f", {n_cached:,} answers are in the cache (the oldest of {day})" if n_cached else ""
        return f"{self.endpoint}: {n_asked:,} queries asked{old}"

    def report(self) -> dict[str, Any]:
        """What was asked, for `prepare.json`: endpoint, times, and a query of each kind."""
        return {
            "endpoint": self.endpoint,
            "first_answer": min(self._times, default=None),
            "last_answer": max(self._times, default=None),
            "queries": [
                {
                    "task": task,
                    "asked": self._n_asked[task],
                    "from_cache": self._n_cached[task],
                    "first": query,
                }
                for task, query in self._examples.items()
            ],
        }

    def _ask_patiently(self, query: str, may_halve: bool) -> list[Row]:
        for attempt in range(1, N_ATTEMPTS + 1):
            try:
                return self._ask_once(query)
            except (_PassingError, _TooSlowError) as error:
                if isinstance(error, _TooSlowError) and may_halve:
                    raise
                wait_s = getattr(error, "wait_s", None)
                wait_s = PAUSE_S * 2 ** (attempt - 1) if wait_s is None else wait_s
                if attempt == N_ATTEMPTS or wait_s > MAX_WAIT_S:
                    again = f" and asks to wait {wait_s:,.0f} s" if wait_s > MAX_WAIT_S else ""
                    raise KgrecError(
                        f"{self.endpoint}: {error}{again}; what it answered so far is kept, run "
                        "the same command again to go on from there"
                    ) from error
                self.on_event(Note(f"{self.endpoint}: {error}; waiting {wait_s:,.0f} s"))
                time.sleep(wait_s)
        raise AssertionError

    def _ask_once(self, query: str) -> list[Row]:
        contact = os.environ.get(CONTACT_VARIABLE, "a command-line program")
        python = f"Python-urllib/{sys.version_info.major}.{sys.version_info.minor}"
        headers = {
            "User-Agent": f"kgrec/{__version__} ({contact}) {python}",
            "Accept": "application/sparql-results+json",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        body = urlencode({"query": query}).encode()
        request = urllib.request.Request(self.endpoint, body, headers)
        try:
            with _OPENER.open(request, timeout=_TIMEOUT_S) as response:
                text = response.read(MAX_ANSWER_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error) from error
        except TimeoutError as error:
            raise _TooSlowError("no answer in time", is_said=False) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise _TooSlowError("no answer in time", is_said=False) from error
            why = getattr(error.reason, "strerror", None) or str(error.reason)
            text = f"cannot be reached ({why})"
            if not self._times:
                raise KgrecError(
                    f"{self.endpoint}: {text}; is there a network? {_OFFLINE}"
                ) from error
            raise _PassingError(text) from error
        except http.client.IncompleteRead as error:
            text = error.partial
        except http.client.InvalidURL as error:
            raise UsageError(f"--endpoint {self.endpoint}: {reason(error)}") from error
        except (http.client.HTTPException, OSError) as error:
            raise _PassingError(f"the connection was cut ({reason(error)})") from error
        except ValueError as error:
            raise UsageError(f"--endpoint {self.endpoint}: {reason(error)}") from error
        if len(text) > MAX_ANSWER_BYTES:
            raise _TooSlowError("too large an answer")
        return _rows(text.decode("utf-8", errors="replace"))

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        """What a status other than 200 means."""
        body = b""
        with suppress(OSError, http.client.HTTPException):
            body = error.read(1 << 16)
        text = body.decode("utf-8", errors="replace")
        said = shorten(text.strip().partition("\n")[0], 100)
        if error.code in (408, 504) or (error.code >= 500 and _is_timeout(text)):
            return _TooSlowError(f"the query takes too long (HTTP {error.code})")
        if error.code == http.HTTPStatus.TOO_MANY_REQUESTS or error.code >= 500:
            return _PassingError(
                f"HTTP {error.code}", _retry_after(error.headers.get("Retry-After"))
            )
        if error.code in (301, 302, 303, 307, 308):
            to = error.headers.get("Location", "elsewhere")
            return KgrecError(f"{self.endpoint}: moved to {shorten(to, 100)}; give --endpoint URL")
        if error.code == http.HTTPStatus.FORBIDDEN:
            return KgrecError(
                f"{self.endpoint}: refuses to answer (HTTP 403: {said}); it may want to know who "
                f"asks: set {CONTACT_VARIABLE} to your mail address, and wait a day"
            )
        return KgrecError(
            f"{self.endpoint}: HTTP {error.code} ({said}); expected a SPARQL query service, such "
            "as https://query.wikidata.org/sparql"
        )


def _rows(text: str) -> list[Row]:
    """The solutions in SPARQL's JSON, with the plain value of each variable."""
    if _is_timeout(text[-20_000:]) and not text.rstrip().endswith("}"):
        raise _TooSlowError("the query takes too long (it stopped within the answer)")
    try:
        bindings = parse_json(text)["results"]["bindings"]
        return [
            {name: str(value["value"]) for name, value in binding.items()} for binding in bindings
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        found = "a web page" if text.lstrip()[:1] == "<" else "a cut or wrong answer"
        found = found if text.strip() else "nothing"
        raise _PassingError(f"found {found}, expected SPARQL's JSON") from error


def _is_timeout(text: str) -> bool:
    return any(mark in text for mark in _TIMED_OUT)


def _retry_after(text: str | None) -> float | None:
    """The seconds to wait that a server asks for, by a number or a date; None if it does not."""
    if not text:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _read_answer(path: Path) -> dict[str, Any] | None:
    """An answer in the cache; None where there is none, or a damaged one."""
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
        answer = value["answer"]
        is_of_rows = isinstance(answer, list) and all(isinstance(row, dict) for row in answer)
        if isinstance(value["time"], str) and (is_of_rows or isinstance(answer, str)):
            return {"time": value["time"], "answer": answer}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Held while a request is under way."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire()
    except OSError as error:
        raise KgrecError(
            f"{folder}: cannot keep the answers ({reason(error)}); set {CACHE_VARIABLE}"
        ) from error
    try:
        yield
    finally:
        lock.release()
