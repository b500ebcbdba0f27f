"""Settings come from the environment, and errors name each bad variable."""

import pytest

from bookstore_common.settings import DatabaseSettings, ServerSettings, SettingsError, load_settings

DATABASE = {
    "DATABASE_HOST": "db.test",
    "DATABASE_NAME": "books",
    "DATABASE_USER": "app",
    "DATABASE_PASSWORD": "hunter2-hunter2",
}


class Both(ServerSettings, DatabaseSettings):
    pass


def test_every_missing_variable_is_named_with_what_to_write() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(Both)
    lines = str(caught.value).splitlines()
    assert {line.split(":")[0] for line in lines} == {*DATABASE, "CORS_ALLOWED_ORIGINS"}
    assert "DATABASE_HOST: not set; write the database's host name, for example ecom-db.ecom.svc" in lines


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("DATABASE_PORT", "abc", "DATABASE_PORT: 'abc' is wrong"),
        ("DATABASE_PORT", "70000", "DATABASE_PORT: '70000' is wrong"),
        ("LOG_LEVEL", "loud", "write debug, info, warning or error"),
        ("DATABASE_CONNECT_TIMEOUT_SECONDS", "1", "libpq: at least 2"),
    ],
)
def test_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, part: str) -> None:
    for key, good in {**DATABASE, name: value}.items():
        monkeypatch.setenv(key, good)
    with pytest.raises(SettingsError) as caught:
        load_settings(DatabaseSettings)
    assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_no_secret_in_error_or_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, good in {**DATABASE, "DATABASE_PORT": "x"}.items():
        monkeypatch.setenv(key, good)
    with pytest.raises(SettingsError) as caught:
        load_settings(DatabaseSettings)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None
    monkeypatch.setenv("DATABASE_PORT", "5432")
    settings = load_settings(DatabaseSettings)
    assert "hunter2" not in repr(settings) + str(settings.database_url())
    assert settings.database_url().password == DATABASE["DATABASE_PASSWORD"]


def test_empty_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, good in {**DATABASE, "DATABASE_PORT": "", "DATABASE_HOST": ""}.items():
        monkeypatch.setenv(key, good)
    with pytest.raises(SettingsError, match="DATABASE_HOST: not set"):
        load_settings(DatabaseSettings)


def test_origins_are_a_comma_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ALLOWED_ORIGINS", "https://a.test:1, https://b.test")
    assert load_settings(ServerSettings).cors_allowed_origins == ("https://a.test:1", "https://b.test")


@pytest.mark.parametrize("origin", ["*", "https://*.test", "shop.test", "https://shop.test/", "ftp://shop.test"])
def test_wrong_origin_is_refused(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    monkeypatch.setenv("CORS_ALLOWED_ORIGINS", origin)
    with pytest.raises(SettingsError, match=r"CORS_ALLOWED_ORIGINS: .*is not an origin"):
        load_settings(ServerSettings)


def test_equal_ports_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ALLOWED_ORIGINS", "https://a.test")
    monkeypatch.setenv("INTERNAL_PORT", "8000")
    with pytest.raises(SettingsError, match="PUBLIC_PORT, INTERNAL_PORT and MANAGEMENT_PORT must differ"):
        load_settings(ServerSettings)
