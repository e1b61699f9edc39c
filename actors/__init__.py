"""What happens in a call: the state machine, the call actor, the supervisors and the messages between them."""
