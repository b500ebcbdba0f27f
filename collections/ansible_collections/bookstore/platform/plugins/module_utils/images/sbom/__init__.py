"""What an image holds: its packages, read from its file system and from the locks of its recipe, as a CycloneDX document."""
