"""The ratings of a batch's connectors, worked out once for all that look at the batch."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, TypeVar, cast, overload

from ohmwatch.detector import Ratings

Answer = TypeVar("Answer")


class Rated(Sequence[Ratings]):
    """As a list; what was asked of all of them is kept for the next who asks.

    Detectors ask for the same few ratings of every connector. For a batch with one reading of
    each, asking takes longer than judging.
    """

    def __init__(self, ratings: Sequence[Ratings]) -> None:
        self._ratings = ratings
        self._answers: dict[Hashable, Any] = {}

    @overload
    def __getitem__(self, place: int) -> Ratings: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Ratings]: ...
    def __getitem__(self, place: int | slice) -> Ratings | Sequence[Ratings]:
        return self._ratings[place]

    def __iter__(self) -> Iterator[Ratings]:
        return iter(self._ratings)

    def __len__(self) -> int:
        return len(self._ratings)

    def answer(self, question: Hashable, work: Callable[[], Answer]) -> Answer:
        """What `work` finds, at the first time that the question is asked."""
        if question not in self._answers:
            self._answers[question] = work()
        return cast(Answer, self._answers[question])


def once(ratings: Sequence[Ratings], question: Hashable, work: Callable[[], Answer]) -> Answer:
    """The answer to a question about these ratings; nobody may write to it."""
    return ratings.answer(question, work) if isinstance(ratings, Rated) else work()
