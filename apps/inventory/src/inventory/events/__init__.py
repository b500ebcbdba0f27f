"""Tables of the event pipeline beside the outbox, which is in bookstore_common (SPEC 5.3, 5.4)."""
