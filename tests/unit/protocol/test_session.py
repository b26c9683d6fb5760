from __future__ import annotations

import base64
import itertools
from collections.abc import Callable

import numpy as np
import pytest

from oyez.engines.base import Hypothesis, Purpose, Request
from oyez.protocol.client_events import AudioAppend
from oyez.protocol.dialect import SessionLimits
from oyez.protocol.errors import ClientError, Overload
from oyez.protocol.session import State
from support.driver import Driver, loudness_probabilities, silence, speech, spell, to_pcm
from support.order import COMMITTED, COMPLETED, CREATED, STARTED, STOPPED, TEXT, check_events

FINISHED = "session.finished"


def types_without_text(driver: Driver) -> list[str]:
    return [name for name in driver.types() if name != TEXT]


def said(seconds: float = 1.5) -> np.ndarray:
    return np.concatenate([silence(0.5), speech(seconds), silence(1.2)])


def manual(**options: object) -> Driver:
    driver = Driver(**options)  # type: ignore[arg-type]
    driver.update(turn_detection=None)
    return driver


def test_created_comes_first_and_shows_the_defaults_in_force() -> None:
    driver = Driver()
    assert driver.types() == ["session.created"]
    session = driver.events[0]["session"]
    assert session["id"].startswith("sess_")
    assert session["object"] == "realtime.session"
    assert session["model"] == "qwen3-asr-flash-realtime"
    assert session["modalities"] == ["text"]
    assert session["input_audio_format"] == "pcm"
    assert session["sample_rate"] == 16000
    assert session["input_audio_transcription"] is None
    assert session["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.2,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 800,
    }


def test_a_turn_goes_through_its_events_in_the_documented_order() -> None:
    driver = Driver()
    driver.stream(said())
    assert types_without_text(driver) == [
        "session.created",
        STARTED,
        STOPPED,
        COMMITTED,
        CREATED,
        COMPLETED,
    ]
    assert driver.types().index(TEXT) < driver.types().index(STOPPED)
    assert driver.finals[0].startswith("w30")
    driver.finish()
    check_events(driver.events)


def test_edges_tell_the_padding_before_and_the_silence_behind() -> None:
    driver = Driver()
    driver.stream(said())
    start = driver.of("speech_started")[0]["audio_start_ms"]
    end = driver.of("speech_stopped")[0]["audio_end_ms"]
    assert 500 - 300 - 64 <= start <= 500 - 300 + 32
    assert 2000 + 800 - 64 <= end <= 2000 + 800 + 64


def test_finish_with_open_speech_answers_it_before_session_finished() -> None:
    driver = Driver(answer_at_once=False)
    driver.stream(np.concatenate([silence(0.5), speech(1.0)]))
    driver.finish()
    assert driver.types()[-3:] == [STOPPED, COMMITTED, CREATED]
    driver.answer()
    assert driver.types()[-1] == FINISHED
    assert driver.finals[0]
    assert driver.events[-1]["transcript"] == driver.finals[0]
    check_events(driver.events)


def test_a_word_that_begins_where_the_audio_ends_is_answered() -> None:
    driver = Driver()
    driver.stream(np.concatenate([silence(0.512), speech(0.07)]))
    assert driver.types() == ["session.created"]
    driver.finish()
    assert types_without_text(driver)[1:-1] == [STARTED, STOPPED, COMMITTED, CREATED, COMPLETED]
    assert driver.of("speech_started")[0]["audio_start_ms"] == 512 - 300
    assert driver.of("speech_stopped")[0]["audio_end_ms"] == 582
    check_events(driver.events)


def test_clear_forgets_a_word_that_was_just_beginning() -> None:
    driver = Driver()
    driver.stream(np.concatenate([silence(0.512), speech(0.07)]))
    driver.send({"type": "input_audio_buffer.clear"})
    driver.finish()
    assert driver.types()[1:] == ["input_audio_buffer.cleared", FINISHED]


def test_finish_with_nothing_said_finishes_straight_away() -> None:
    for audio in (None, silence(2.0)):
        driver = Driver()
        if audio is not None:
            driver.stream(audio)
        driver.finish()
        assert driver.types() == ["session.created", FINISHED]
        assert driver.events[-1]["transcript"] == ""


def test_everything_after_finish_is_ignored() -> None:
    driver = Driver()
    driver.finish()
    assert driver.append(speech(0.5)) == []
    assert driver.finish() == []
    assert driver.raw("not json") == []


def test_the_server_closes_only_when_the_client_does_not() -> None:
    driver = Driver()
    driver.finish()
    driver.wait(4000)
    assert driver.closed is None
    driver.wait(1100)
    assert driver.closed is not None and driver.closed.code == 1000


def test_idle_sessions_are_finished_and_closed() -> None:
    driver = Driver(limits=SessionLimits(idle_timeout_ms=10_000))
    driver.stream(np.concatenate([silence(0.5), speech(1.0)]))
    driver.wait(9_000)
    assert FINISHED not in driver.types()
    driver.wait(1_000)
    assert driver.types()[-2:] == [COMPLETED, FINISHED]
    driver.wait(1_000)
    assert driver.closed is not None and driver.closed.code == 1000


def test_a_session_that_lasts_too_long_is_finished_and_closed() -> None:
    driver = Driver(limits=SessionLimits(max_session_ms=10_000))
    driver.stream(np.concatenate([silence(0.5), speech(1.0)]))
    for _ in range(9):
        driver.wait(1_000)
        driver.stream(speech(0.1))
    assert FINISHED not in driver.types()
    driver.wait(1_000)
    assert driver.types()[-2:] == [COMPLETED, FINISHED]
    assert driver.counts == ["session_timeouts"]
    driver.wait(1_000)
    assert driver.closed is not None and driver.closed.code == 1000


def test_without_a_limit_a_session_lasts() -> None:
    driver = Driver(limits=SessionLimits(idle_timeout_ms=10**9))
    driver.wait(10**8)
    assert FINISHED not in driver.types()


def test_manual_mode_has_no_speech_events_and_interim_text_before_the_commit() -> None:
    driver = manual()
    driver.stream(said())
    assert set(driver.types()) == {"session.created", "session.updated", TEXT}
    driver.commit()
    assert types_without_text(driver)[2:] == [COMMITTED, CREATED, COMPLETED]
    driver.finish()
    check_events(driver.events)


def test_manual_interim_events_can_be_switched_off() -> None:
    driver = manual(limits=SessionLimits(manual_interim=False))
    driver.stream(said())
    driver.commit()
    assert TEXT not in driver.types()
    assert driver.finals[0]


def test_commit_and_finish_without_waiting_are_answered_in_order() -> None:
    driver = manual(answer_at_once=False)
    driver.stream(said())
    driver.commit()
    driver.finish()
    assert FINISHED not in driver.types()
    driver.answer()
    assert driver.types()[-2:] == [COMPLETED, FINISHED]


def test_finish_commits_what_nobody_committed() -> None:
    driver = manual()
    driver.stream(speech(1.0))
    driver.finish()
    assert types_without_text(driver)[2:] == [COMMITTED, CREATED, COMPLETED, FINISHED]
    assert driver.finals[0]


def test_commit_on_an_empty_buffer_is_the_clients_error() -> None:
    driver = manual()
    (error,) = driver.commit()
    assert error["error"]["type"] == "invalid_request_error"
    assert error["error"]["event_id"] == "c"
    driver.stream(speech(1.0))
    driver.commit()
    (error,) = driver.commit()
    assert error["type"] == "error"


def test_manual_silence_completes_without_words_and_without_asking_the_engine() -> None:
    driver = manual()
    driver.stream(silence(1.0))
    driver.commit()
    assert driver.finals == [""]
    assert driver.requests == []


def test_manual_mode_commits_by_itself_after_sixty_seconds() -> None:
    driver = manual()
    driver.stream(np.concatenate([speech(69.0), silence(1.0)]))
    assert driver.types().count(COMMITTED) == 1
    assert "automatic_commits" in driver.counts
    driver.commit()
    driver.finish()
    assert len(driver.finals) == 2
    words = " ".join(driver.finals).replace(".", "").split()
    assert abs(len(words) - 69 / 0.3) <= 8
    check_events(driver.events)


def test_a_commit_right_behind_an_automatic_one_is_no_error() -> None:
    driver = manual()
    driver.append(speech(60.0))
    assert driver.types().count(COMMITTED) == 1
    assert driver.commit() == []
    assert driver.commit()[0]["type"] == "error"


def test_commit_in_vad_mode_keeps_the_audio_and_says_nothing() -> None:
    driver = Driver()
    driver.stream(np.concatenate([silence(0.5), speech(1.0)]))
    seen = len(driver.events)
    assert driver.commit() == []
    assert driver.counts == ["commits_in_vad_mode"]
    driver.finish()
    assert len(driver.events) > seen and driver.finals[0]


def test_clear_in_manual_mode_forgets_the_audio() -> None:
    driver = manual()
    driver.stream(speech(1.0))
    assert driver.send({"type": "input_audio_buffer.clear"})[-1]["type"].endswith("cleared")
    assert driver.commit()[0]["type"] == "error"
    driver.stream(speech(0.9, level=0.5))
    driver.commit()
    assert set(driver.finals[0].rstrip(".").split()) == {"w50"}


def test_clear_in_vad_mode_completes_the_open_item_without_words() -> None:
    driver = Driver()
    driver.stream(np.concatenate([silence(0.5), speech(1.0)]))
    driver.send({"type": "input_audio_buffer.clear"})
    assert driver.types()[-1].endswith("cleared")
    assert driver.finals == [""]
    driver.stream(said())
    driver.finish()
    assert driver.finals[1].startswith("w30")
    check_events(driver.events)


def test_updates_before_audio_change_only_what_they_name() -> None:
    driver = Driver()
    driver.update(turn_detection={"type": "server_vad", "threshold": 0.0})
    (updated,) = driver.update(input_audio_transcription={"language": "zh"})
    assert updated["type"] == "session.updated"
    assert updated["session"]["turn_detection"]["threshold"] == 0.0
    assert updated["session"]["turn_detection"]["silence_duration_ms"] == 800
    assert updated["session"]["input_audio_transcription"] == {"language": "zh"}


@pytest.mark.parametrize(
    "update",
    [
        {"input_audio_transcription": {"corpus": {"text": "Lorry"}}},
        {"input_audio_transcription": {"corpus_text": "Lorry"}},
        {"corpus": {"text": "Lorry"}},
        {"corpus_text": "Lorry"},
    ],
)
def test_every_form_of_context_reaches_partials_and_finals(update: dict[str, object]) -> None:
    heard: list[tuple[Purpose, str]] = []

    def recognise(request: Request) -> Hypothesis:
        heard.append((request.purpose, request.context))
        return spell(request)

    driver = Driver(recognise=recognise)
    (updated,) = driver.update(**update)
    assert updated["session"]["input_audio_transcription"]["corpus"] == {"text": "Lorry"}
    driver.stream(said())
    assert set(heard) == {(purpose, "Lorry") for purpose in Purpose}


def test_an_update_after_audio_is_refused_and_the_session_goes_on() -> None:
    driver = Driver()
    driver.stream(silence(0.1))
    (error,) = driver.update(turn_detection=None)
    assert error["error"]["code"] == "invalid_value"
    assert error["error"]["message"] == (
        "Session update error: session already started or finished or failed."
    )
    driver.stream(said())
    assert driver.finals


def test_a_rejected_update_changes_nothing() -> None:
    driver = Driver()
    driver.update(input_audio_transcription={"language": "de"}, turn_detection={"threshold": 3})
    assert driver.events[-1]["error"]["param"] == "session.turn_detection.threshold"
    (updated,) = driver.update()
    assert updated["session"]["input_audio_transcription"] is None


@pytest.mark.parametrize("name", ["response.create", "response.cancel", "conversation.item.create"])
def test_events_of_sibling_services_are_ignored(name: str) -> None:
    driver = Driver()
    assert driver.send({"type": name}) == []
    assert driver.counts == ["foreign_events"]


def test_eight_kilohertz_audio_has_the_right_times() -> None:
    driver = Driver()
    driver.update(sample_rate=8000)
    tone = np.sin(np.arange(8000 * 2) / 8000 * 2 * np.pi * 300).astype(np.float32) * 0.3
    quiet = np.zeros(8000, np.float32)
    driver.append_bytes(to_pcm(np.concatenate([quiet, tone, quiet, quiet])))
    driver.finish()
    start = driver.of("speech_started")[0]["audio_start_ms"]
    assert 600 <= start <= 800
    assert driver.finals[0]


def test_an_odd_byte_is_kept_for_the_next_packet() -> None:
    driver = Driver()
    data = to_pcm(said())
    driver.append_bytes(data[:1001])
    driver.append_bytes(data[1001:])
    driver.finish()
    assert driver.finals == [final_of_one_packet(said())]


def final_of_one_packet(samples: np.ndarray) -> str:
    driver = Driver()
    driver.append(samples)
    driver.finish()
    return driver.finals[0]


def test_undecodable_opus_is_an_error_and_the_session_goes_on() -> None:
    driver = Driver()
    driver.update(input_audio_format="opus")
    garbage = base64.b64encode(b"OggS" + b"\x00" * 3 + b"\xff" * 400).decode()
    driver.send({"event_id": "a", "type": "input_audio_buffer.append", "audio": garbage})
    driver.finish()
    assert driver.types()[-1] == FINISHED


def failing(finals: int) -> Callable[[Request], Hypothesis]:
    """An engine whose first `finals` finals fail."""
    calls = itertools.count()

    def recognise(request: Request) -> Hypothesis:
        if request.purpose is Purpose.FINAL and next(calls) < finals:
            raise Overload()
        return spell(request)

    return recognise


def test_a_final_that_failed_before_its_turn_ended_is_asked_for_again() -> None:
    driver = Driver(recognise=failing(1))
    driver.stream(said())
    assert len(driver.finals) == 1
    assert [request.speculative for request in driver.requests[-2:]] == [True, False]


def test_a_failed_final_fails_only_its_item() -> None:
    driver = Driver(recognise=failing(2))
    driver.stream(said())
    driver.stream(said())
    driver.finish()
    (failed,) = driver.of("transcription.failed")
    assert failed["error"]["code"] == "ServerOverloaded"
    assert len(driver.finals) == 1
    check_events(driver.events)


def test_the_final_is_decoded_while_the_silence_is_still_counted() -> None:
    driver = Driver(answer_at_once=False)
    driver.stream(np.concatenate([silence(0.5), speech(1.5), silence(0.4)]))
    final = driver.requests[-1]
    assert final.request.purpose.value == "final" and final.speculative
    driver.answer()
    driver.stream(silence(0.8))
    assert driver.types()[-1] == COMPLETED, "published without waiting for the engine"


def test_a_pause_shorter_than_the_silence_keeps_the_turn_whole() -> None:
    driver = Driver()
    driver.stream(np.concatenate([silence(0.5), speech(1), silence(0.5), speech(1), silence(1.2)]))
    driver.finish()
    assert driver.types().count(STARTED) == 1
    words = driver.finals[0].rstrip(".").split()
    assert len(words) >= 6


def test_finals_come_in_the_order_of_their_turns() -> None:
    driver = Driver(answer_at_once=False)
    driver.stream(np.concatenate([said(), speech(1.0, 0.5), silence(1.2)]))
    while driver.jobs:
        driver._answer(driver.jobs.pop())
    driver.finish()
    assert [final[:3] for final in driver.finals] == ["w30", "w50"]


def test_a_long_monologue_is_recognised_in_bounded_windows() -> None:
    driver = Driver()
    driver.stream(np.concatenate([silence(0.5), speech(100.0), silence(1.2)]))
    driver.finish()
    longest = max(len(effect.request.samples) for effect in driver.requests)
    assert longest <= 21 * 16000
    words = driver.finals[0].rstrip(".").split()
    assert abs(len(words) - 100 / 0.3) <= 12
    assert driver.types().count(STARTED) == 1
    check_events(driver.events)


def test_memory_of_a_long_session_stays_flat() -> None:
    driver = Driver()
    for _ in range(40):
        driver.append(said(3.0))
    audio = driver.session._input
    assert audio is not None
    held = audio._buffer.end - audio._buffer.start
    assert held < 4 * 16000
    assert not driver.session._conversation._jobs
    assert driver.session.backlog_samples == 0


def test_the_backlog_counts_audio_that_waits_for_its_final() -> None:
    driver = Driver(answer_at_once=False)
    driver.append(np.concatenate([said(), said()]))
    assert driver.session.backlog_samples >= 2 * 1.5 * 16000
    driver.answer()
    assert driver.session.backlog_samples == 0


def test_interim_events_come_at_least_once_a_second_of_speech() -> None:
    driver = Driver()
    driver.stream(np.concatenate([silence(0.5), speech(10.0)]))
    assert len(driver.of("transcription.text")) >= 10


def test_text_is_shown_after_three_seconds_at_the_latest() -> None:
    driver = Driver()
    driver.stream(np.concatenate([silence(0.5), speech(3.0)]))
    assert driver.of("transcription.text")[-1]["text"]


def test_a_request_has_its_audio_and_its_deadline() -> None:
    driver = Driver()
    driver.stream(np.concatenate([silence(0.5), speech(1.5), silence(0.4)]))
    *partials, final = driver.requests
    assert [partial.due_s for partial in partials] == [0.25, *[0.5] * (len(partials) - 1)]
    assert final.speculative and final.due_s == pytest.approx(0.8 - 10 * 0.032)
    start_ms = driver.of("speech_started")[0]["audio_start_ms"]
    assert {request.segment for request in driver.requests} == {start_ms * 16}


def test_an_awaited_final_is_due_at_once() -> None:
    driver = Driver()
    driver.stream(np.concatenate([silence(0.5), speech(1.5)]))
    driver.finish()
    assert not driver.requests[-1].speculative and driver.requests[-1].due_s == 0


def test_manual_mode_expects_the_commit_soon_after_the_last_speech() -> None:
    driver = manual()
    driver.stream(said())
    assert driver.requests[-1].speculative and driver.requests[-1].due_s == 0.5


REVOKED = ClientError("This API key was revoked.", code="InvalidApiKey")


def test_a_session_that_may_not_go_on_gets_an_error_and_its_finals() -> None:
    driver = Driver()
    driver.stream(np.concatenate([silence(0.5), speech(1.0)]))
    seen = len(driver.events)
    driver.end(REVOKED)
    driver.wait(0)
    sent = driver.events[seen:]
    assert sent[0]["type"] == "error"
    assert sent[0]["error"]["code"] == "InvalidApiKey"
    assert driver.finals and sent[-1]["type"] == "session.finished"
    assert not driver.append(speech(1.0)), "what comes afterwards is ignored"


def test_a_session_that_may_not_go_on_gets_the_final_of_a_turn_that_has_begun() -> None:
    def score(samples: np.ndarray) -> np.ndarray:
        if not driver.of("error"):
            driver.end(REVOKED)
        return loudness_probabilities(samples)

    driver = Driver(score=score)
    driver.append(np.concatenate([said()] * 20))
    check_events(driver.events)
    assert len(driver.finals) == 1 and driver.types()[-1] == FINISHED


def test_a_session_that_is_finishing_is_not_ended_again() -> None:
    driver = Driver(answer_at_once=False)
    driver.stream(np.concatenate([silence(0.5), speech(1.0)]))
    driver.finish()
    driver.end(REVOKED)
    driver.wait(0)
    assert not driver.of("error")
    driver.answer_at_once = True
    driver.answer()
    assert driver.types()[-1] == "session.finished"


def test_draining_amid_audio_finishes_behind_it() -> None:
    driver = Driver()
    driver.session.receive(AudioAppend(None, to_pcm(said(3.0))), driver.now_ms)
    assert driver.session.next_windows(10) is not None
    assert driver.session.drain(driver.now_ms) == []
    assert driver.session.receive(AudioAppend(None, to_pcm(said())), driver.now_ms) == []
    driver.runner.scored((np.zeros(10, np.float32), None))
    driver.run()
    assert driver.session.decoded_samples == len(said(3.0))
    assert driver.types().count(COMPLETED) == 1
    assert driver.types()[-1] == "session.finished"
    assert driver.session.drain(driver.now_ms) == [], "a second time nothing happens"


def test_a_session_goes_through_its_states_once() -> None:
    driver = Driver(answer_at_once=False, limits=SessionLimits(close_after_finish_ms=5_000))
    states = [driver.session._state]
    driver.append(said())
    driver.finish()
    states.append(driver.session._state)
    driver.answer_at_once = True
    driver.answer()
    states.append(driver.session._state)
    driver.wait(4_999)
    assert driver.closed is None
    driver.wait(1)
    states.append(driver.session._state)
    assert states == list(State)
    assert driver.wait(60_000) == []
