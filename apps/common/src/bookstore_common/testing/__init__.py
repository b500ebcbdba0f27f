"""Support for the services' own tests; not used at run time."""
