"""Numbers for the start page: A-02."""
