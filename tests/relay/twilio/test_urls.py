"""The addresses at which the carrier reaches us."""

from __future__ import annotations

from relay.twilio.urls import RETRIES, CarrierUrls


def test_urls_are_of_one_agent() -> None:
    """Each webhook is under the agent's own path, and tells by its query what the carrier does not."""
    urls = CarrierUrls("http://127.0.0.1:8080")
    base = "http://127.0.0.1:8080/webhooks/my-client"
    assert urls.voice_socket("my-client") == "ws://127.0.0.1:8080/webhooks/my-client/voice-ws"
    assert urls.voice_ended("my-client") == f"{base}/voice-ended?attempt=0&lost=0" + RETRIES
    assert urls.call_status("my-client") == f"{base}/call-status" + RETRIES
    assert urls.call_status("my-client", "an-order") == f"{base}/call-status?order=an-order" + RETRIES
    assert urls.transfer_ended("my-client", 2, confirm=False) == f"{base}/transfer-ended?attempt=2&lost=0" + RETRIES
    assert (
        urls.transfer_ended("my-client", 0, confirm=True)
        == f"{base}/transfer-ended?attempt=0&lost=0&confirm=1" + RETRIES
    )
    assert urls.whisper("my-client") == f"{base}/whisper" + RETRIES
    assert urls.voice_ended("my-client", 3, lost=1, is_voiceless=True) == (
        f"{base}/voice-ended?attempt=3&lost=1&voice=none" + RETRIES
    )
    assert urls.voice_ended("my-client", 1, holds=2) == f"{base}/voice-ended?attempt=1&lost=0&moving=2" + RETRIES
    assert urls.whisper_answer("my-client") == f"{base}/whisper-answer" + RETRIES
    assert urls.voice("my-client") == f"{base}/voice"
    assert urls.audio("a-name") == "http://127.0.0.1:8080/audio/a-name.wav"
