"""Rules as pure functions: text or data in, faults out. The tests beside this package feed them the repository."""
