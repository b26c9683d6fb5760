"""Sessions and engines at work: slices of time, a queue of jobs, the engine's process."""
