"""The catalogue: E-02 to E-05."""
