from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oyez.files.results import Segment, Word, document, main_language, plain_text
from oyez.files.subtitles import MAX_S, Cue, cues, srt, vtt, width
from oyez.turns.word_times import split_words

WORD_S = 0.4


def segment(
    text: str, start_s: float = 0.0, language: str = "en", word_s: float = WORD_S
) -> Segment:
    """Words one after the other without a pause."""
    words = tuple(
        Word(word, start_s + index * word_s, start_s + (index + 1) * word_s, 0.9)
        for index, word in enumerate(split_words(text))
    )
    return Segment(start_s, words[-1].end_s, text, language, "neutral", words)


def texts(*segments: Segment) -> list[str]:
    return ["|".join(cue.lines) for cue in cues(segments)]


def test_a_subtitle_ends_where_a_sentence_does() -> None:
    said = segment("The first sentence is about this long. The second one is shorter. And so on.")
    assert texts(said) == [
        "The first sentence is about this long.",
        "The second one is shorter.",
        "And so on.",
    ]


def test_short_sentences_share_a_subtitle_unless_there_is_a_pause() -> None:
    assert texts(segment("Yes. No. Why not?")) == ["Yes. No. Why not?"]
    assert texts(segment("Yes."), segment("No.", 2.0)) == ["Yes.", "No."]


def test_a_long_sentence_breaks_at_a_clause_and_in_two_even_lines() -> None:
    said = segment(
        "When the winter came down from the mountains early, the people of the valley took their "
        "animals home and waited for the snow to come.",
        word_s=0.25,
    )
    assert texts(said) == [
        "When the winter came down|from the mountains early,",
        "the people of the valley|took their animals",
        "home and waited for the snow to come.",
    ]


def test_sixteen_full_width_characters_are_a_line() -> None:
    said = segment(
        "我们今天在这里学习怎么样把很长的句子分成两行来显示给观众看一看吧",
        language="zh",
        word_s=0.2,
    )
    for cue in cues([said]):
        assert all(len(line) <= 16 for line in cue.lines)
        assert len(cue.lines) <= 2


def test_a_subtitle_stays_long_enough_to_be_read_but_not_over_the_next() -> None:
    first, second = cues([segment("Hello.", word_s=0.2), segment("There you are.", 0.7)])
    assert (first.start_ms, first.end_ms) == (0, 700)
    assert second.end_ms - second.start_ms >= 1000


def test_a_word_that_never_ends_does_not_stay_for_ever() -> None:
    (cue,) = cues([segment("Hmmm.", word_s=60.0)])
    assert cue.end_ms == MAX_S * 1000


def test_a_word_wider_than_a_line_is_cut_between_characters() -> None:
    (cue, *rest) = cues([segment("e\u0301" * 100)])
    shown = [line for each in (cue, *rest) for line in each.lines]
    assert all(not line.startswith("\u0301") for line in shown)
    assert max(map(width, shown)) <= 42
    assert "".join(shown) == "e\u0301" * 100


def test_the_files_are_what_players_read() -> None:
    segments = [segment("Salt & <pepper>."), segment("Ah -->", 3601.5)]
    assert "".join(srt(segments)) == (
        "1\n00:00:00,000 --> 00:00:01,000\nSalt & <pepper>.\n\n"
        "2\n01:00:01,500 --> 01:00:02,500\nAh -->\n\n"
    )
    assert "".join(vtt(segments)) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:01.000\nSalt &amp; &lt;pepper&gt;.\n\n"
        "01:00:01.500 --> 01:00:02.500\nAh --&gt;\n\n"
    )
    assert list(srt([])) == []
    assert list(vtt([])) == ["WEBVTT\n\n"]


scripts = st.sampled_from(
    ["word", "I", "Yes.", "well,", "extraordinarily", "what?", "e\u0301te\u0301", "«", "-", "3.5%",
     "好", "我们，", "ประเทศไทย", "नमस्ते।", "x" * 50, "👩‍👩‍👧", "한국어", "<b>&"]
)  # fmt: skip
utterances = st.lists(
    st.tuples(
        st.lists(scripts, min_size=1, max_size=25),
        st.lists(st.floats(0, 3), min_size=60, max_size=60),
        st.floats(0, 4),
    ),
    max_size=4,
)


def said(utterances: list[tuple[list[str], list[float], float]]) -> list[Segment]:
    found, now_s = [], 0.0
    for chunks, lengths_s, pause_s in utterances:
        text, words = " ".join(chunks), []
        now_s += pause_s
        for index, word in enumerate(split_words(text)):
            length_s = lengths_s[index % len(lengths_s)]
            words.append(Word(word, now_s, now_s + length_s / 2, 0.5))
            now_s += length_s
        found.append(
            Segment(words[0].start_s, words[-1].end_s, text, "en", "neutral", tuple(words))
        )
    return found


def check(found: list[Cue]) -> None:
    for cue in found:
        assert 1 <= len(cue.lines) <= 2
        assert all(line.strip() == line != "" for line in cue.lines)
        assert all(width(line) <= 42 for line in cue.lines)
        assert 0 < cue.end_ms - cue.start_ms <= 7000
    for before, after in pairwise(found):
        assert before.end_ms <= after.start_ms
        lasts_ms = before.end_ms - before.start_ms
        assert lasts_ms >= 1000 or before.end_ms == after.start_ms or lasts_ms == 1


@given(utterances)
def test_whatever_is_said_every_word_is_shown_once_in_order_in_good_time(
    utterances: list[tuple[list[str], list[float], float]],
) -> None:
    segments = said(utterances)
    found = list(cues(segments))
    check(found)
    shown = "".join("".join(cue.lines) for cue in found)
    assert re.sub(r"\s", "", shown) == re.sub(r"\s", "", "".join(each.text for each in segments))


def test_plain_text_has_spaces_where_the_script_has() -> None:
    assert plain_text([segment("One."), segment("Two.")]) == "One. Two."
    assert plain_text([segment("好。"), segment("我们。")]) == "好。我们。"


def test_the_document_says_all_there_is() -> None:
    failed = Segment(2.0, 3.0, "", "en", "neutral", (), "out of luck")
    found = document([segment("Ja gut.", language="de"), failed], 3.50049, ["it ends early"])
    assert found["text"] == "Ja gut."
    assert (found["language"], found["duration_s"], found["notes"]) == (
        "de",
        3.5,
        ["it ends early"],
    )
    assert found["segments"][0]["words"][1] == {
        "text": " gut.", "start_s": 0.4, "end_s": 0.8, "probability": 0.9,
    }  # fmt: skip
    assert found["segments"][1]["failure"] == "out of luck"
    assert "failure" not in found["segments"][0]


@pytest.mark.parametrize("segments", [[], [Segment(0, 1, "", "en", "neutral", (), "no")]])
def test_where_nothing_was_said_there_is_no_language(segments: list[Segment]) -> None:
    assert main_language(segments) is None
