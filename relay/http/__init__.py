"""The one port: the listener, its connections, the gateway that finds who answers a request, and the plain pages."""
