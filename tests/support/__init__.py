"""What several tests need: a tiny run of the program, faults injected into one, malformed files."""
