"""What an agent does with the telephone besides answering it: calls, voice messages, transfers, do-not-call wishes."""
