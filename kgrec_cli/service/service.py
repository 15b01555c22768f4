"""What the routes do: questions and sessions in, answers out, by the run that is served now."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np

from kgrec_cli.service import bodies
from kgrec_cli.service.batcher import Batcher
from kgrec_cli.service.scorer import Items
from kgrec_cli.service.served import Refused, Served
from kgrec_cli.service.sessions import EXPIRY_S, MAX_EVENTS, Session, Sessions

P = ParamSpec("P")
Result = TypeVar("Result")


class Service:
    """What routes share. `served` is replaced when the run is; a question keeps the one it met."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.sessions = Sessions()
        self._batcher = Batcher()
        self._thread = asyncio.Semaphore(1)

    async def in_thread(
        self, function: Callable[P, Result], *arguments: P.args, **named: P.kwargs
    ) -> Result:
        """The result of a function for which the event loop must not wait; one at a time."""
        await self._thread.acquire()
        work = asyncio.ensure_future(asyncio.to_thread(function, *arguments, **named))
        work.add_done_callback(lambda _: self._thread.release())
        return await asyncio.shield(work)  # a thread goes on when its request has timed out

    async def recommend(self, question: bodies.Question) -> bodies.Answer:
        """The list after a history or for a user."""
        return (await self._answer(question))[2]

    async def explain(self, question: bodies.Question) -> dict[str, Any]:
        """The list, with a reason for each item."""
        served, history, answer = await self._answer(question)
        items = await self.in_thread(served.explain, history, answer["items"])
        return {**answer, "items": items}

    async def _answer(self, question: bodies.Question) -> tuple[Served, Items, bodies.Answer]:
        served = self.served
        if question.history:
            history = served.ids_of(question.history)
        elif served.knows_users:
            history = served.history_of(question.user)
        else:
            history = await self.in_thread(served.history_of, question.user)
        read = history[-served.scorer.max_length :]
        _, scores = await self._batcher.read(served.scorer, read)
        answer: bodies.Answer = {
            "run": served.name,
            "user": question.user or None,
            "history": [served.item_of(number) for number in read.tolist()],
            "items": served.choose(scores, history, question),
        }
        return served, history, answer

    async def similar(self, text: str, topk: int) -> bodies.SimilarItems:
        """The items whose vectors are nearest to that of one item."""
        served = self.served
        item = served.id_of(text)
        cosines = await self.in_thread(served.scorer.similar, item)
        items = served.listed(cosines, topk)
        return {"run": served.name, "item": served.item_of(item), "items": items}

    async def search(self, text: str, limit: int) -> bodies.FoundItems:
        """The items whose id or title is like a text."""
        served = self.served
        found = await asyncio.to_thread(served.search.suggest, text, limit)
        return {"items": served.items_of(found)}

    async def open_session(self, history: Sequence[str]) -> bodies.Session:
        """A new session, which has read a history."""
        items = self.served.ids_of(history)
        name, session = self.sessions.open(self.served)
        if len(items):
            await self._read_events(session, items[-session.served.scorer.max_length :])
            session.tokens = [self.served.run.items.tokens[number] for number in items]
        return self._shown(name, session)

    async def go_on(self, name: str, events: bodies.NewEvents) -> bodies.Answer:
        """The list of a session after new events, each of which is one step of its state."""
        session = self._session(name)
        async with session.lock:
            items = self.served.ids_of(events.items)
            for texts in (events.exclude, events.candidates or ()):
                self.served.ids_of(texts)  # refused before the session goes on, not after
            served, scores = await self._read_events(session, items)
            history = served.ids_of(session.tokens)
            return {
                "run": served.name,
                "user": None,
                "session": name,
                "history": served.items_of(session.tokens[-served.scorer.max_length :]),
                "items": served.choose(scores, history, events),
            }

    def show_session(self, name: str) -> bodies.Session:
        """What a session has read."""
        return self._shown(name, self._session(name))

    def close_session(self, name: str) -> None:
        """Forgets a session.

        Raises:
            Refused: There is none of this name.
        """
        self._session(name)
        self.sessions.close(name)

    async def _read_events(self, session: Session, items: Items) -> tuple[Served, Any]:
        """The run that read the events, and the scores of all items after them."""
        served, state, tokens = self.served, session.state, session.tokens
        reads = items
        if session.served is not served:  # replaced: its state is made anew
            tokens = [token for token in tokens if served.run.items.get(token) is not None]
            past = served.ids_of(tokens)[-served.scorer.max_length :]
            reads, state = np.concatenate([past, items]), None
        state, scores = await self._batcher.read(served.scorer, reads, state)
        new = [served.run.items.tokens[number] for number in items.tolist()]
        session.served, session.state = served, state.copy()
        session.tokens = [*tokens, *new][-MAX_EVENTS:]
        return served, scores

    def _session(self, name: str) -> Session:
        session = self.sessions.get(name)
        if session is None:
            raise Refused(404, "no such session; it may have expired")
        return session

    def _shown(self, name: str, session: Session) -> bodies.Session:
        history = session.served.items_of(session.tokens)
        return {"session": name, "history": history, "expires_in_s": EXPIRY_S}
