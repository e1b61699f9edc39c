"""The one port: the listener, its connections, the gateway that dispatches by path, and the plain pages."""
