"""Plain HTTP: what applies to every request, health, metrics and the web page."""
