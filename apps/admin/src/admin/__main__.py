"""``python -m admin``: serve. Exit codes: 0 stopped on request, 1 failed, 2 bad settings."""

import sys

import structlog

from admin.app import main
from admin.settings import SERVICE, Settings
from bookstore_common import logging
from bookstore_common.server import ListenError, run
from bookstore_common.settings import SettingsError, load_settings


def start() -> int:
    """Run the service; returns the exit code."""
    try:
        settings = load_settings(Settings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logging.configure(settings.log_level, settings.log_format, SERVICE)
    logging.hide_secret(settings.redis_password.get_secret_value())
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
