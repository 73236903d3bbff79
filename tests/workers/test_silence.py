"""Silence is counted in the listener's own time."""

from trunkline.workers.silence import Silence


def test_silence_adds_up_until_a_word_is_heard() -> None:
    silence = Silence(1.0)
    for _ in range(3):
        silence.passed(1.25)
    assert silence.seconds == 3.75
    silence.heard()
    assert silence.seconds == 0
    silence.passed(0.5)
    assert silence.seconds == 0.5


def test_a_pause_of_the_listener_counts_two_ticks() -> None:
    silence = Silence(1.0)
    silence.passed(1.0)
    silence.passed(14.0)
    assert silence.seconds == 3
