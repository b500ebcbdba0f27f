"""Tables of the event pipeline; the outbox is bookstore_common's."""
