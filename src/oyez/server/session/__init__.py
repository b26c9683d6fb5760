"""One WebSocket: its frames become events of a session and back, with metrics and usage."""
