"""One session runs the network at a time, and the others know how many come before them."""

import pytest

from AttentionUNetSegmentationLib.browser.turns import Turns


class Session:
    def __init__(self) -> None:
        self.heard = []

    def send(self, message):
        self.heard.append(message.get("ahead", message["event"]))

    def news(self):
        heard, self.heard = self.heard, []
        return heard


@pytest.fixture
def queue():
    turns, sessions = Turns(), [Session() for _ in range(4)]
    for session in sessions:
        turns.ask(session, 1)
    assert [session.news() for session in sessions] == [["turn"], [1], [2], [3]]
    return turns, sessions


def test_first_come_first_served(queue):
    turns, (first, *others) = queue
    turns.release(first)
    assert [session.news() for session in others] == [["turn"], [1], [2]]
    turns.ask(first, 1)
    assert first.news() == [3]
    turns.release(others[0])
    assert [session.news() for session in (*others, first)] == [[], ["turn"], [1], [2]]


def test_who_gives_up_lets_those_behind_move_up_and_only_those(queue):
    turns, sessions = queue
    turns.release(sessions[2])
    assert [session.news() for session in sessions] == [[], [], [], [2]]


def test_asking_twice_does_not_take_two_places(queue):
    turns, sessions = queue
    turns.ask(sessions[0], 1)
    turns.ask(sessions[1], 1)
    turns.release(sessions[0])
    assert [session.news() for session in sessions] == [[], ["turn"], [1], [2]]


def test_releasing_without_a_turn_changes_nothing(queue):
    turns, sessions = queue
    turns.release(Session())
    assert [session.news() for session in sessions] == [[], [], [], []]


def test_the_last_one_leaves_an_empty_queue():
    turns, one, other = Turns(), Session(), Session()
    turns.ask(one, 1)
    turns.release(one)
    turns.release(one)
    turns.ask(other, 1)
    assert other.news() == ["turn"]


def test_a_turn_has_the_number_that_it_was_asked_for_with():
    class Numbered(Session):
        def send(self, message):
            self.heard.append(message)

    turns, one = Turns(), Numbered()
    for number in (1, 2):
        turns.ask(one, number)
        turns.release(one)
    assert one.heard == [{"event": "turn", "number": 1}, {"event": "turn", "number": 2}]
