"""A stand-in for the Claude API, for the demo and the tests."""
