"""``python -m ecom``: serve. Exit codes: 0 stopped on request, 1 failed, 2 bad settings."""

import sys

import structlog

from bookstore_common import logging
from bookstore_common.server import ListenError, run
from bookstore_common.settings import SettingsError, load_settings
from ecom.app import main
from ecom.settings import SERVICE, Settings


def start() -> int:
    """Run the service; returns the exit code."""
    try:
        settings = load_settings(Settings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logging.configure(settings.log_level, settings.log_format, SERVICE)
    for secret in (settings.database_password, settings.redis_password, settings.service_client_secret):
        logging.hide_secret(secret.get_secret_value())
    log = structlog.get_logger(__name__)
    try:
        run(main(settings))
    except ListenError as error:
        log.error("cannot_listen", reason=str(error))
        return 2
    except Exception:
        log.exception("failed")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(start())
