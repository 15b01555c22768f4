"""What requests and answers hold: pydantic checks the first, OpenAPI shows both."""

from typing import Annotated, Any, NotRequired, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

MAX_ITEMS = 1000
"""Items of a list in a request, and of an answer."""

Text = Annotated[str, Field(min_length=1, max_length=300)]
TopK = Annotated[
    int,
    Field(ge=1, le=MAX_ITEMS, description="Items of the list."),
    BeforeValidator(lambda n: int(n) if isinstance(n, float) and n.is_integer() else n),  # 10.0
]
ItemList = Annotated[list[Text], Field(max_length=MAX_ITEMS)]
Filled = Annotated[list[Text], Field(min_length=1, max_length=MAX_ITEMS)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Wishes(_Body):
    """What is asked of a list. Items are ids or titles."""

    topk: TopK = 10
    hide_seen: Annotated[bool, Field(description="Leave out the items of the history.")] = True
    exclude: Annotated[ItemList, Field(description="Items to leave out.")] = []
    candidates: Annotated[
        Filled | None, Field(description="Rank these items only; null for all.")
    ] = None


def _one_of_both(schema: dict[str, Any]) -> None:
    schema["oneOf"] = [{"required": ["user"]}, {"required": ["history"]}]
    for name in ("user", "history"):
        del schema["properties"][name]["default"]


class Question(Wishes):
    """A list for a user of the data set, or after a history: one of the two."""

    model_config = ConfigDict(json_schema_extra=_one_of_both)

    user: Annotated[Text, Field(description="A user of the data set.")] = ""
    history: Annotated[Filled, Field(description="Items, oldest first.")] = []

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len({"user", "history"} & self.model_fields_set) != 1:
            raise ValueError("give one of user and history")
        return self


class NewSession(_Body):
    """A session, and what was read before it."""

    history: Annotated[ItemList, Field(description="Items, oldest first.")] = []


class NewEvents(Wishes):
    """Items that a session goes on with, and what is asked of the list after them."""

    items: Annotated[Filled, Field(description="New items of the session, oldest first.")]


class Item(TypedDict):
    """An item; its title is null where the data set has none."""

    item: str
    title: str | None


class ListedItem(Item):
    """An item of a list, from rank 1. The score is the model's."""

    rank: int
    score: float


class Shared(TypedDict):
    """A path of the graph: what the item and a history item have in common."""

    item: str
    label: str
    relation: str
    history_relation: str
    is_borne_out: bool


class Reason(TypedDict):
    """Why an item is in the list; `words` are the lines of `kgrec recommend --explain`."""

    words: list[str]
    entity: str | None
    parts: dict[str, float]
    drops: dict[str, float]
    carriers: list[str]
    paths: list[Shared]


class ExplainedItem(ListedItem):
    """An item of a list, and why it is there."""

    explanation: Reason


class Answer(TypedDict):
    """A list. The history is what it was made from, oldest first; items are best first."""

    run: str
    user: str | None
    session: NotRequired[str]
    history: list[Item]
    items: list[ListedItem]


class ExplainedAnswer(TypedDict):
    """A list with a reason for each item."""

    run: str
    user: str | None
    history: list[Item]
    items: list[ExplainedItem]


class SimilarItems(TypedDict):
    """Items by the cosine of their vectors with that of one item."""

    run: str
    item: Item
    items: list[ListedItem]


class FoundItems(TypedDict):
    """Items of a search, the best match first."""

    items: list[Item]


class Session(TypedDict):
    """A session, the items that it has read and the seconds after which it is forgotten."""

    session: str
    history: list[Item]
    expires_in_s: int


class Health(TypedDict):
    """What answers."""

    status: str
    run: str
    items: int
    items_added: int


class Problem(TypedDict):
    """What was wrong, in one line; `matches` are the items that may have been meant."""

    error: str
    matches: NotRequired[list[Item]]
