"""What is spoken: taking out what must not be read aloud, and the relay's own sentences in many languages."""
