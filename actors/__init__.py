"""What happens in a call: the state machine, the call session, the registry, presence and the values between them."""
