"""API keys and usage in a database: who may use the server, and what they used."""
