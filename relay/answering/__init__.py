"""The answering machine: Claude takes a message when the client cannot answer."""
