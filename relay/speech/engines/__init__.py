"""Text to audio for voice messages: the port, and the engines behind it."""
