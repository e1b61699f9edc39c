"""The tools that a client can call, and the toolbox that checks their arguments."""
