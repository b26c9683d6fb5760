"""The dialect of Qwen-ASR-Realtime: its JSON, its configuration and its rules."""
