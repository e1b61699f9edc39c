"""How bytes and processes come in and out of the relay: web, carrier, MCP, storage, command line."""

__version__ = "0.1.0"
