"""The server's routes over HTTP."""
