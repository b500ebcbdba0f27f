"""What `make status` and `make doctor` show. Both only look; neither changes anything."""
