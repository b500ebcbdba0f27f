"""E-06 and E-23: CSRF tokens and the end of a session."""
