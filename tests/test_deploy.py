"""What is shipped for running it elsewhere says what it promises, and agrees with the code."""

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.config import Settings, SettingsError

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
SETTINGS = {name.upper() for name in Settings.model_fields}
PUBLIC = {"/telegram", "/akool/*", "/media/*", "/healthz", "/readyz"}  # the last for whoever watches from outside


def parsed(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = parsed(ROOT / "compose.yaml")["services"]
    return found


# --- settings ---


def test_every_setting_is_in_the_readme_and_in_the_example() -> None:
    readme = "\n".join(
        re.findall(r"^\| (`[A-Z].*?) \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    example = (ROOT / ".env.example").read_text(encoding="utf-8")

    assert set(re.findall(r"`([A-Z_]+)`", readme)) >= SETTINGS
    assert set(re.findall(r"^(?:# )?([A-Z_0-9]+)=", example, re.MULTILINE)) >= SETTINGS


def test_the_example_with_its_blanks_filled_in_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    (tmp_path / "untouched").write_text(example)
    filled = re.sub(r"^(?:# )?([A-Z_0-9]+=)", r"\1", example, flags=re.MULTILINE)  # what is commented out too
    for name, value in {
        "TELEGRAM_BOT_TOKEN": "1:a",
        "AKOOL_API_KEY": "key",
        "PUBLIC_URL": "https://bot.example",
    }.items():
        filled = filled.replace(f"{name}=\n", f"{name}={value}\n")
    (tmp_path / "filled").write_text(filled)

    Settings(_env_file=tmp_path / "filled")  # type: ignore[call-arg]
    with pytest.raises(SettingsError) as caught:
        Settings(_env_file=tmp_path / "untouched")  # type: ignore[call-arg]
    assert len(caught.value.problems) == 3


# --- the image ---


def test_the_image_holds_every_package_and_neither_the_sandbox_nor_a_secret() -> None:
    recipe = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    kept_out = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    packages = {"akool", "storage", "bot"}

    assert set(re.findall(r"^COPY (\w+) \1$", recipe, re.MULTILINE)) == packages
    let_in = {line for line in kept_out if line.startswith("!")}
    assert let_in == {f"!{name}" for name in packages} | {"!requirements.lock", "!requirements-observability.lock"}
    assert {"*", "bot/sandbox", "**/.env*"} <= set(kept_out)
    assert re.search(r"^USER 10001:10001$", recipe, re.MULTILINE)


# --- compose ---


def test_one_bot_is_the_default_and_scale_adds_to_it(services: dict[str, Any]) -> None:
    profiles = {name: service.get("profiles", []) for name, service in services.items()}

    assert [name for name, chosen in profiles.items() if not chosen] == ["bot"]
    assert {name for name, chosen in profiles.items() if chosen == ["scale"]} == {
        *("replica", "postgres", "seaweedfs", "caddy")
    }


@pytest.mark.parametrize("name", ["bot", "replica"])
def test_a_bot_in_compose_may_do_nothing_but_its_work(services: dict[str, Any], name: str) -> None:
    bot = services[name]

    assert bot["read_only"]
    assert bot["init"]
    assert bot["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in bot["security_opt"]
    assert bot["mem_limit"]
    assert bot["pids_limit"]
    assert bot["stop_grace_period"] == "45s"
    assert bot["volumes"][0].endswith(":/data")


def test_only_caddy_is_open_to_the_world(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}

    assert published == {"bot": ["127.0.0.1:8080:8080"], "caddy": ["80:80", "443:443", "443:443/udp"]}


def test_all_bots_have_the_same_settings_or_refuse_to_start(services: dict[str, Any]) -> None:
    """What they share is in .env; without it, all of them have one SQLite file, which only one can hold."""
    bot, replica = services["bot"], services["replica"]
    alike = ("env_file", "environment", "volumes", "depends_on")
    reached = services["caddy"]["environment"]["REPLICAS"].split()

    assert [bot[name] for name in alike] == [replica[name] for name in alike]
    assert all(wait["condition"] == "service_healthy" for wait in bot["depends_on"].values())
    assert reached == ["talkbot-bot-1:8080"] + [
        f"talkbot-replica-{n + 1}:8080" for n in range(replica["deploy"]["replicas"])
    ]


def test_the_lines_for_several_bots_are_what_replicas_must_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    lines = (DEPLOY / "scale.env").read_text(encoding="utf-8").replace("PASSWORD=\n", "PASSWORD=secret\n")
    here = "TELEGRAM_BOT_TOKEN=1:a\nAKOOL_API_KEY=key\nPUBLIC_URL=https://bot.example\nTELEGRAM_UPDATES=polling\n"
    (tmp_path / "env").write_text(here + lines)
    settings = Settings(_env_file=tmp_path / "env")  # type: ignore[call-arg]

    assert settings.telegram_updates == "webhook"
    assert settings.database_url.get_secret_value() == "postgresql://talkbot:secret@postgres/talkbot"
    assert settings.stores_in_s3
    assert settings.media_delivery == "proxy"


def test_no_secret_stands_in_compose(services: dict[str, Any]) -> None:
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|API_KEY", name):
                assert re.fullmatch(r"\$\{\w+:-\}", value), name
            if "://" in value and "@" in value:
                assert re.search(r":\$\{\w+:-\}@", value), name


def test_caddy_passes_on_only_what_the_outside_needs() -> None:
    (public,) = re.findall(r"@public path (.*)", (DEPLOY / "caddy" / "Caddyfile").read_text(encoding="utf-8"))

    assert set(public.split()) == PUBLIC


def test_the_tunnel_passes_on_the_same() -> None:
    passed_on, rest = parsed(DEPLOY / "cloudflared" / "config.yml")["ingress"]
    paths = {path.replace("*", "x") for path in PUBLIC}

    assert {path for path in paths | {"/metrics", "/", "/telegram/x"} if re.search(passed_on["path"], path)} == paths
    assert rest == {"service": "http_status:404"}


# --- systemd ---


class Unit(configparser.RawConfigParser):
    """A unit file; of directives that repeat, the last."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def test_the_unit_keeps_its_promises() -> None:
    unit = Unit(strict=False)
    unit.read(DEPLOY / "systemd" / "talkbot.service")
    service = unit["Service"]
    promised = {
        "Type": "notify",
        "WatchdogSec": "60",
        "Restart": "always",
        "TimeoutStopSec": "45",
        "DynamicUser": "yes",
        "StateDirectory": "talkbot",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
        "MemoryMax": "512M",
    }

    assert promised.items() <= dict(service).items()
    assert "RestartPreventExitStatus" not in service  # a database that is away ends it with the same status


def test_the_units_secrets_are_credentials_that_are_settings() -> None:
    text = (DEPLOY / "systemd" / "talkbot.service").read_text(encoding="utf-8")
    handed_in = set(re.findall(r"^LoadCredential=(\w+):", text, re.MULTILINE))

    assert dict(re.findall(r"^Environment=(\w+)_FILE=%d/(\w+)$", text, re.MULTILINE)) == {
        name.upper(): name for name in handed_in
    }
    assert handed_in <= set(Settings.model_fields)


def test_a_command_beside_the_unit_gets_what_the_unit_gets() -> None:
    unit = (DEPLOY / "systemd" / "talkbot.service").read_text(encoding="utf-8")
    command = (DEPLOY / "systemd" / "talkbot").read_text(encoding="utf-8")
    same = r"\b((?:LoadCredential|EnvironmentFile|WorkingDirectory|DynamicUser|StateDirectory\w*|UMask)=\S+)"

    assert set(re.findall(same, command)) == set(re.findall(same, unit))
    assert set(re.findall(r"(\w+)_FILE=", command)) == set(re.findall(r"(\w+)_FILE=", unit))


# --- platforms ---


def test_fly_keeps_one_machine_awake_and_lets_it_stop_in_peace() -> None:
    fly = tomllib.loads((DEPLOY / "fly" / "fly.toml").read_text(encoding="utf-8"))

    assert (fly["kill_signal"], fly["kill_timeout"]) == ("SIGTERM", "45s")
    assert fly["http_service"]["auto_stop_machines"] == "off"
    assert fly["http_service"]["checks"][0]["path"] == "/readyz"
    assert fly["mounts"]["destination"] == "/data"
    assert (DEPLOY / "fly" / fly["build"]["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert set(fly["env"]) <= SETTINGS


def test_render_keeps_its_disk_and_is_handed_no_secret() -> None:
    (service,) = parsed(DEPLOY / "render" / "render.yaml")["services"]
    given = {variable["key"]: variable for variable in service["envVars"]}

    assert service["maxShutdownDelaySeconds"] == 45
    assert service["healthCheckPath"] == "/readyz"
    assert given["DATA_DIR"]["value"] == service["disk"]["mountPath"]
    assert set(given) - {"PYTHON_VERSION"} <= SETTINGS
    assert re.fullmatch(r"3\.\d+\.\d+", given["PYTHON_VERSION"]["value"])  # Render knows no other form
    assert all(given[name] == {"key": name, "sync": False} for name in ("TELEGRAM_BOT_TOKEN", "AKOOL_API_KEY"))
