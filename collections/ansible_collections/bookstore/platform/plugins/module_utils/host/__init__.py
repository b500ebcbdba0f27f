"""What a host must have and how it gets it: packages, a running engine, one run at a time; and removing what lies on it."""
