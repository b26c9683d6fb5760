"""The server's process: port, connections, TLS, event loop, memory, supervision."""
