"""Settings: a contract with operators."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot.config import Settings, SettingsError, export_aws_variables, mistyped_names
from storage.quotas import Limits

GOOD = {
    "TELEGRAM_BOT_TOKEN": "123456:ABC-def_1",
    "AKOOL_API_KEY": "an-api-key",
    "PUBLIC_URL": "https://bot.example",
}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine or of a `.env` reaches the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def read(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings()  # type: ignore[call-arg]


def problems(monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(monkeypatch, **environment)
    return caught.value.problems


def test_three_settings_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, **GOOD)

    assert settings.database_url.get_secret_value() == "sqlite:///data/bot.sqlite3"
    assert settings.media_store == "data/media"
    assert settings.telegram_api_url == "https://api.telegram.org"
    assert settings.allowed_users == frozenset()


def test_the_log_level_may_stand_in_small_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, **GOOD, LOG_LEVEL="warning").log_level == "WARNING"


def test_everything_on_disk_follows_data_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, **GOOD, DATA_DIR="/srv/bot")

    assert settings.database_url.get_secret_value() == "sqlite:////srv/bot/bot.sqlite3"
    assert settings.media_store == "/srv/bot/media"


def test_all_problems_are_told_together_and_none_repeats_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    found = problems(
        monkeypatch,
        TELEGRAM_BOT_TOKEN="not-a-token",
        PORT="eighty",
        ALLOWED_USERS="@ada",
        PUBLIC_URL="http://bot.example",
        AKOOL_CLIENT_SECRET_FILE="/nowhere/secret",
    )

    for name in ("TELEGRAM_BOT_TOKEN", "PORT", "ALLOWED_USERS", "PUBLIC_URL", "AKOOL_CLIENT_SECRET_FILE"):
        assert any(name in sentence for sentence in found), name
    assert any("AKOOL_API_KEY is missing" in sentence for sentence in found)
    for value in ("not-a-token", "eighty", "@ada", "bot.example", "/nowhere"):
        assert value not in "".join(found)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"AKOOL_API_KEY": ""}, "AKOOL_API_KEY is missing"),
        ({"AKOOL_API_KEY": "", "AKOOL_CLIENT_ID": "id"}, "AKOOL_API_KEY is missing"),
        ({"PUBLIC_URL": ""}, "PUBLIC_URL is missing"),
        ({"PUBLIC_URL": "", "MEDIA_STORE": "s3://b/p", "TELEGRAM_UPDATES": "webhook"}, "needs PUBLIC_URL"),
        ({"PUBLIC_URL": "", "MEDIA_STORE": "s3://b/p", "MEDIA_DELIVERY": "proxy"}, "needs PUBLIC_URL"),
        ({"TELEGRAM_API_URL": "ftp://x"}, "TELEGRAM_API_URL: must be an http or https URL"),
        ({"TELEGRAM_LOCAL_FILES": "true"}, "TELEGRAM_LOCAL_FILES: needs TELEGRAM_API_URL"),
        ({"AKOOL_RESOLUTION": "720p"}, "AKOOL_RESOLUTION"),
        ({"MEDIA_DELIVERY": "http://cdn.example"}, "MEDIA_DELIVERY: must begin with https://"),
        ({"MEDIA_DELIVERY": "presigned"}, "MEDIA_DELIVERY: must be presign, proxy, or"),
        ({"AKOOL_MAX_CONCURRENT": "0"}, "AKOOL_MAX_CONCURRENT"),
        ({"DAILY_LIMIT_CHAT": "-1"}, "DAILY_LIMIT_CHAT"),
        ({"MAX_PENDING_PER_USER": "-1"}, "MAX_PENDING_PER_USER"),
        ({"SPEND_LIMIT_DAY": "0"}, "SPEND_LIMIT_DAY"),
    ],
)
def test_each_contradiction_has_a_sentence(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], words: str
) -> None:
    assert any(words in sentence for sentence in problems(monkeypatch, **{**GOOD, **changes}))


def test_plain_http_is_for_loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, **{**GOOD, "PUBLIC_URL": "http://127.0.0.1:8080/"})

    assert settings.public_url == "http://127.0.0.1:8080"


def test_a_bucket_needs_no_public_url(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, **{**GOOD, "PUBLIC_URL": "", "MEDIA_STORE": "s3://bucket/prefix"})

    assert settings.stores_in_s3
    assert not settings.opens_callbacks


def test_ids_are_numbers_or_a_star(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, **GOOD, ALLOWED_USERS=" 7, 8,", ALLOWED_CHATS="-1001", ADMIN_USERS="*")

    assert settings.allowed_users == {7, 8}
    assert settings.allowed_chats == {-1001}
    assert settings.admin_users == {"*"}


def test_the_quotas_come_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, **GOOD).limits == Limits(daily=20, daily_chat=50, pending=3, spend=None)
    quotas = {"DAILY_LIMIT": "1", "DAILY_LIMIT_CHAT": "0", "MAX_PENDING_PER_USER": "2", "SPEND_LIMIT_DAY": "4"}
    assert read(monkeypatch, **GOOD, **quotas).limits == Limits(daily=1, daily_chat=0, pending=2, spend=4)


def test_a_secret_may_come_from_a_file_which_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("from-a-file\n")
    settings = read(monkeypatch, **GOOD, AKOOL_API_KEY_FILE=str(secret))

    assert settings.akool_api_key == SecretStr("from-a-file")


def test_a_dotenv_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = [f"{name}={value}" for name, value in GOOD.items()]
    (tmp_path / ".env").write_text("\n".join([*lines, "PORT=1111", "DAILY_LIMIT=3", "SOMETHING_ELSE=1"]))
    settings = read(monkeypatch, PORT="2222")

    assert (settings.port, settings.daily_limit) == (2222, 3)


def test_what_only_boto3_reads_is_exported_from_the_dotenv_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is in the environment wins, and nothing else is exported."""
    monkeypatch.setenv("AWS_REGION", "here")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "")
    monkeypatch.delenv("PORT", raising=False)
    (tmp_path / ".env").write_text("AWS_REGION=there\nAWS_ACCESS_KEY_ID=an-id\nPORT=1111\n")
    export_aws_variables()

    assert (os.environ["AWS_REGION"], os.environ["AWS_ACCESS_KEY_ID"]) == ("here", "an-id")
    assert "PORT" not in os.environ


def test_names_that_are_mistyped_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In `.env` and in the environment; what is none of ours, or right, is left alone."""
    (tmp_path / ".env").write_text("ALLOWED_USER=7\nPOSTGRES_PASSWORD=x\nAWS_REGION=x\nPORT=1\nAPP_SECRET_FILE=x\n")
    monkeypatch.setenv("AKOOL_APIKEY", "x")

    assert mistyped_names() == {"AKOOL_APIKEY": "AKOOL_API_KEY", "ALLOWED_USER": "ALLOWED_USERS"}


def test_no_secret_is_in_the_settings_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(
        monkeypatch,
        **GOOD,
        APP_SECRET="app-secret-1",
        METRICS_TOKEN="metrics-1",
        AKOOL_CLIENT_ID="client-id-1",
        DATABASE_URL="postgresql://bot:pass-word-1@db/bot",
    )

    secrets = settings.secrets()
    assert {"123456:ABC-def_1", "an-api-key", "app-secret-1", "metrics-1", "client-id-1", "pass-word-1"} == set(secrets)
    assert not any(secret in repr(settings) for secret in secrets)


def test_the_api_key_opens_callbacks_together_with_the_client_id(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, **GOOD, AKOOL_CLIENT_ID="client-id-1")

    assert settings.opens_callbacks
    assert (settings.callback_id, settings.callback_secret) == ("client-id-1", "an-api-key")
