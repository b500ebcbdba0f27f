"""What this source tells of its captured tables, so that analytics can be compared with it."""
