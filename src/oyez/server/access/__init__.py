"""Authentication and admission: who may use the server, and how much."""
