"""How long a render takes, from past ones whose voices were about as long."""

from bot.estimates import Estimate, estimate
from bot.texts import bar, in_language, left

ENGLISH = in_language("en")


def test_without_past_renders_nothing_is_claimed() -> None:
    assert estimate([], voice_ms=1000) is None


def test_renders_of_voices_about_as_long_tell_most() -> None:
    """Twenty short ones don't make a long one seem short."""
    short, long = [(1_000, 60_000)] * 20, [(60_000, 600_000)] * 15
    assert estimate(short + long, voice_ms=50_000) == Estimate(600_000, 600_000)
    assert estimate(short + long, voice_ms=2_000) == Estimate(60_000, 60_000)


def test_it_is_late_beyond_what_nine_of_ten_took() -> None:
    renders = [(1_000, minutes * 60_000) for minutes in range(1, 11)]
    expected = estimate(renders, voice_ms=1_000)
    assert expected is not None
    assert expected.usual_ms == 330_000
    assert 540_000 <= expected.late_ms <= 600_000


def test_of_few_renders_half_as_long_again_is_late() -> None:
    assert estimate([(1_000, 100_000)], voice_ms=1_000) == Estimate(100_000, 150_000)


def test_the_bar_is_never_full_before_the_video_is_there() -> None:
    assert [bar(ENGLISH, share) for share in (0, 0.31, 0.5, 3)] == [
        "▱▱▱▱▱▱▱▱▱▱ 0%",
        "▰▰▰▱▱▱▱▱▱▱ 30%",
        "▰▰▰▰▰▱▱▱▱▱ 50%",
        "▰▰▰▰▰▰▰▰▰▱ 90%",
    ]


def test_what_is_left_is_told_roughly() -> None:
    usual = Estimate(600_000, 900_000)
    assert [left(ENGLISH, usual, seconds * 1000) for seconds in (0, 540, 570, 600, 960)] == [
        "About 10 minutes left.",
        "Less than a minute left.",
        "Less than a minute left.",
        "It should be done any moment.",
        "It's taking longer than usual.",
    ]
