"""What several domains' answers share."""

# Answers about one person are nobody else's.
PRIVATE = {"cache-control": "no-store"}
