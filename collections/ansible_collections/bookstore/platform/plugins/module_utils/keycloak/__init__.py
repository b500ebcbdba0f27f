"""Keycloak's realm as data: compared with the live one over the admin REST API, corrected where it differs."""
