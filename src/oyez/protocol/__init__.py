"""One session without a wire format, without I/O and without a clock: events in, effects out."""
