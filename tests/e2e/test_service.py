"""The daemon as a service: with stand-ins for the managers' programs, and the real one where it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.adapters.clock import SystemClock
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import EnvironmentNotReady, NumeraiError, ProviderError
from numerai_compute.factory import Factory
from numerai_compute.main import run
from numerai_compute.models import CheckStatus, Keys
from numerai_compute.providers.local import service_managers
from numerai_compute.providers.local.daemon import daemon_status, start_daemon, stop_daemon
from numerai_compute.providers.local.service import (
    bring_up_daemon,
    install_service,
    left_out,
    service_check,
    service_status,
    starts_again,
    uninstall_service,
)
from numerai_compute.providers.local.service_files import LABEL, ServiceCommand, read_task, systemd_unit
from numerai_compute.providers.local.service_managers import (
    Launchd,
    Systemd,
    TaskScheduler,
    by_cron,
    service_manager,
)
from numerai_compute.providers.registry import ProviderContext

from tests.service_programs import LAUNCHCTL, LOGINCTL, SCHTASKS, SYSTEMCTL, Programs

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.name != "posix", reason="the stand-ins are scripts with a #! line"),
]
KEYS = Keys("PUBLIC", "SECRETSECRETSECRET", "http://127.0.0.1:9")


def quiet(line: str) -> None:
    pass


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Programs]:
    programs = Programs(tmp_path / "room")
    programs.folder.mkdir(parents=True)
    for name in [name for name in os.environ if name.startswith(("NUMERAI_TEST_", "NUMERAI_REAL_DATA"))]:
        monkeypatch.delenv(name)  # a shell that sets what a service does not know gets a daemon of its own
    monkeypatch.setenv("PATH", f"{programs.folder}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user" / "config"))
    yield programs
    programs.end()


@pytest.fixture
def context(home: Path) -> ProviderContext:
    HomeStore(home, {}).save_keys(KEYS)
    return ProviderContext(home, {}, lambda: KEYS, lambda: pytest.fail("no engine"), SystemClock())


@pytest.fixture
def systemd(programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    programs.add("systemctl", SYSTEMCTL)
    programs.add("loginctl", LOGINCTL)
    monkeypatch.setattr(service_managers, "BOOTED_BY_SYSTEMD", tmp_path)
    return Systemd()


class Typed:
    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]):
        self.home, self._capsys = home, capsys

    def __call__(self, *arguments: str) -> tuple[int, str]:
        code = run(list(arguments), Factory(self.home))
        printed = self._capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err and KEYS.secret_key not in printed.out + printed.err
        return code, printed.out + printed.err

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json")[1])


@pytest.fixture
def typed(home: Path, capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(home, capsys)


def test_the_life_of_a_service(context: ProviderContext, systemd: Systemd, programs: Programs, typed: Typed) -> None:
    unit = Path(systemd.place)
    neighbour = unit.parent / "other.service"
    neighbour.parent.mkdir(parents=True)
    neighbour.write_text("[Service]\n")
    code, said = typed("daemon", "install", "--dry-run")
    assert (
        code == 0 and str(unit) in said and "ExecStart=" in said and "systemctl --user enable numerai.service" in said
    )
    assert not unit.exists() and not daemon_status(context).running

    code, said = typed("daemon", "install")
    assert code == 0, said
    assert "loginctl enable-linger" in said and "systemctl --user status numerai.service" in said
    status = daemon_status(context)
    assert status.answering and status.pid == programs.pid, "systemd runs what answers"
    assert not any(call[0] == "loginctl" and "enable-linger" in call for call in programs.calls), "said, not done"
    assert KEYS.secret_key not in unit.read_text() and KEYS.public_id not in unit.read_text()
    assert service_status(context.home).here is True

    code, said = typed("daemon", "install")
    assert code == 0 and "installed already" in said
    assert daemon_status(context).instance == status.instance, "a second time changes nothing"
    assert typed.json("daemon", "status")["service"]["ours"] is True
    (programs.room / "lingers").touch()
    assert service_check(context.home, needed=True).status is CheckStatus.OK

    code, said = typed("daemon", "stop")
    assert code == 0 and "starts it again when this machine starts" in said
    assert not daemon_status(context).running
    code, said = typed("daemon", "start")
    assert code == 0 and daemon_status(context).pid == programs.pid, "the service is started, no daemon beside it"

    code, said = typed("daemon", "uninstall", "--dry-run")
    assert code == 0 and unit.exists() and "systemctl --user disable --now numerai.service" in said
    code, said = typed("daemon", "uninstall")
    assert code == 0 and "The daemon has stopped with it" in said
    assert not daemon_status(context).running
    assert sorted(path.name for path in unit.parent.rglob("*") if not path.is_dir()) == ["other.service"]
    code, said = typed("daemon", "uninstall")
    assert code == 0 and "no service to remove" in said
    assert "not installed as a service" in typed("daemon", "status")[1]


def test_a_daemon_that_runs_hands_over(context: ProviderContext, systemd: Systemd, programs: Programs) -> None:
    before = start_daemon(context, report=quiet)
    done = install_service(context, report=quiet)
    assert done.handed_over == before.pid
    assert done.daemon is not None and done.daemon.answering and done.daemon.pid == programs.pid != before.pid
    assert uninstall_service(context).stopped


@pytest.mark.parametrize("verb", ["enable", "restart", "daemon-reload"])
def test_a_failed_installation_leaves_everything_as_it_was(
    verb: str, context: ProviderContext, systemd: Systemd, programs: Programs
) -> None:
    programs.fail(verb, "Failed: no reason")
    start_daemon(context, report=quiet)
    try:
        with pytest.raises(EnvironmentNotReady, match="Failed: no reason") as caught:
            install_service(context, report=quiet)
        assert caught.value.code == "service-manager"
        assert not Path(systemd.place).exists() and daemon_status(context).answering
        assert not any(Path(systemd.place).parent.rglob("numerai*"))
    finally:
        stop_daemon(context)


def test_without_systemd_there_is_one_message_with_another_way(
    context: ProviderContext, programs: Programs, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_managers, "BOOTED_BY_SYSTEMD", Path("/nowhere/systemd"))
    for arguments in (["daemon", "install"], ["daemon", "install", "--dry-run"]):
        code, said = typed(*arguments)
        assert code == 3 and "cannot be installed here" in said and "@reboot NUMERAI_HOME=" in said
    assert typed("daemon", "uninstall")[0] == 0
    found = service_check(context.home, needed=True)
    assert found.status is CheckStatus.OK and "in another way" in found.why


def test_a_user_without_a_session_is_told_so(context: ProviderContext, systemd: Systemd, programs: Programs) -> None:
    programs.fail("show-environment", "Failed to connect to bus: No medium found")
    with pytest.raises(EnvironmentNotReady, match="No medium found") as caught:
        install_service(context, report=quiet)
    assert "not with su" in (caught.value.hint or "") and not Path(systemd.place).exists()


def test_uninstalling_without_a_session_removes_unit_and_link(
    context: ProviderContext, systemd: Systemd, programs: Programs
) -> None:
    install_service(context, report=quiet)
    programs.end()
    programs.fail("show-environment", "Failed to connect to bus")
    assert uninstall_service(context).removed
    assert not [path for path in Path(systemd.place).parent.rglob("*") if not path.is_dir()]


def test_uninstalling_without_the_program_works(
    context: ProviderContext, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = Path(systemd.place)
    unit.parent.mkdir(parents=True)
    unit.write_bytes(systemd_unit(ServiceCommand(sys.executable, str(context.home))))
    monkeypatch.setenv("PATH", "/nowhere")
    assert uninstall_service(context).removed and not unit.exists()


def test_a_service_that_cannot_be_stopped_stays(context: ProviderContext, systemd: Systemd, programs: Programs) -> None:
    install_service(context, report=quiet)
    programs.fail("disable", "Failed to disable unit: Access denied")
    with pytest.raises(EnvironmentNotReady, match="Access denied"):
        uninstall_service(context)
    assert Path(systemd.place).exists() and daemon_status(context).answering
    programs.heal("disable")
    assert uninstall_service(context).stopped


def test_the_cron_line_survives_odd_paths() -> None:
    line = by_cron(ServiceCommand("/opt/my py/python", "/home/a 100%"))
    assert line == "@reboot NUMERAI_HOME='/home/a 100\\%' '/opt/my py/python' -m numerai_compute daemon run"


def test_keys_that_a_service_would_lack_are_refused(
    home: Path, systemd: Systemd, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = typed("daemon", "install")
    assert code == 3 and "numerai setup" in said
    monkeypatch.setenv("NUMERAI_PUBLIC_ID", KEYS.public_id)
    monkeypatch.setenv("NUMERAI_SECRET_KEY", KEYS.secret_key)
    monkeypatch.setenv("NUMERAI_API_URL", KEYS.api_url)
    code, said = typed("daemon", "install")
    assert code == 3 and "only in this shell's environment" in said and "numerai setup" in said
    HomeStore(home, {}).save_keys(Keys("OTHER", "ANOTHER", KEYS.api_url))
    code, said = typed("daemon", "install")
    assert code == 3 and "others than those in your home" in said
    assert not Path(systemd.place).exists()
    HomeStore(home, {}).save_keys(KEYS)
    assert typed("daemon", "install", "--dry-run")[0] == 0


def test_what_only_this_shell_has_is_named_without_its_value(context: ProviderContext, systemd: Systemd) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "NUMERAI_EXECUTOR": "process",
        "NUMERAI_NOTIFY": "slack://token",
        "AWS_SECRET_ACCESS_KEY": "hidden",
        "https_proxy": "http://me:pass@proxy",
        "DOCKER_HOST": "unix:///run/user/1/docker.sock",
        "NUMERAI_HOME": str(context.home),
        "EDITOR": "vi",
        "AWS_PROFILE": "",
    }
    assert left_out(environ) == [
        "AWS_SECRET_ACCESS_KEY", "DOCKER_HOST", "NUMERAI_EXECUTOR", "NUMERAI_NOTIFY", "https_proxy"
    ]  # fmt: skip
    done = install_service(context, report=quiet, dry_run=True, environ=environ)
    (warning,) = [each.why for each in done.warnings if "does not get" in each.why]
    assert "NUMERAI_EXECUTOR" in warning and "DOCKER_HOST" not in warning, "the user's systemd has that one"
    for secret in ("slack://token", "hidden", "pass@proxy", "NUMERAI_EXECUTOR="):
        assert secret not in warning + done.content


def test_a_service_of_ones_own_is_left_alone(context: ProviderContext, systemd: Systemd, typed: Typed) -> None:
    unit = Path(systemd.place)
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=%h/.venv/bin/numerai daemon run\n")
    for command in ("install", "uninstall"):
        code, said = typed("daemon", command)
        assert code == 1 and "numerai did not make it" in said
    assert unit.read_text().startswith("[Service]")
    assert "service of your own" in typed("daemon", "status")[1]
    assert service_check(context.home, needed=True).status is CheckStatus.OK


def test_a_service_for_another_home_or_python_is_named(
    context: ProviderContext, systemd: Systemd, programs: Programs, tmp_path: Path
) -> None:
    (programs.room / "lingers").touch()
    unit = Path(systemd.place)
    unit.parent.mkdir(parents=True)
    elsewhere = str(tmp_path / "other home")
    unit.write_bytes(systemd_unit(ServiceCommand(sys.executable, elsewhere)))
    subprocess.run(["systemctl", "--user", "enable", "numerai.service"], check=True)
    found = service_check(context.home, needed=True)
    assert found.status is CheckStatus.WARNING and elsewhere in found.why
    assert service_status(context.home).here is False
    assert starts_again(context.home) is None
    for act in (lambda: install_service(context, report=quiet), lambda: uninstall_service(context)):
        with pytest.raises(ProviderError, match="another home folder") as caught:
            act()
        assert caught.value.code == "service-elsewhere" and "NUMERAI_HOME" in (caught.value.hint or "")
    assert unit.exists()

    unit.write_bytes(systemd_unit(ServiceCommand("/gone/python", str(context.home))))
    found = service_check(context.home, needed=True)
    assert "another Python, /gone/python" in found.why and "is gone" in found.why
    assert found.mend == "numerai daemon install"
    assert install_service(context, report=quiet).changed, "a new virtual environment takes the service over"
    assert service_check(context.home, needed=True).status is CheckStatus.OK
    subprocess.run(["systemctl", "--user", "disable", "numerai.service"], check=True)
    assert "does not start it" in service_check(context.home, needed=True).why


def test_a_daemon_beside_the_service_is_named_and_a_shell_with_settings_gets_one(
    context: ProviderContext, systemd: Systemd, programs: Programs
) -> None:
    (programs.room / "lingers").touch()
    install_service(context, report=quiet)
    stop_daemon(context)
    programs.end()
    environ = {**os.environ, "NUMERAI_EXECUTOR": "process"}
    status = bring_up_daemon(context, report=quiet, environ=environ)
    try:
        assert status.answering and status.pid != programs.pid, "its setting would be lost in the service"
        found = service_check(context.home, needed=True)
        assert found.status is CheckStatus.WARNING and "was not started by systemd" in found.why
    finally:
        stop_daemon(context)


def test_not_installed_is_a_warning_only_where_nodes_depend_on_it(context: ProviderContext, systemd: Systemd) -> None:
    needed, idle = service_check(context.home, needed=True), service_check(context.home, needed=False)
    assert (needed.status, needed.mend) == (CheckStatus.WARNING, "numerai daemon install")
    assert idle.status is CheckStatus.OK


def test_launchd_is_asked_as_its_manual_says(
    context: ProviderContext, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs.add("launchctl", LAUNCHCTL)
    manager = Launchd()
    monkeypatch.setattr("numerai_compute.providers.local.service._answering", lambda *_: daemon_status(context))
    domain, file = f"gui/{os.getuid()}", f"{os.environ['HOME']}/Library/LaunchAgents/{LABEL}.plist"
    done = install_service(context, report=quiet, manager=manager)
    assert done.place == file and Path(file).exists() and "when you log in" in done.begins
    acts = [call for call in programs.calls if call[1] != "print"]
    assert acts == [["launchctl", "enable", f"{domain}/{LABEL}"], ["launchctl", "bootstrap", domain, file]]
    assert service_status(context.home, manager).here is True
    install_service(context, report=quiet, manager=manager)
    names = [call[1] for call in programs.calls if call[1] != "print"]
    assert names == ["enable", "bootstrap", "bootout", "enable", "bootstrap"], "an agent is loaded once"
    manager.start()
    assert programs.calls[-1] == ["launchctl", "kickstart", f"{domain}/{LABEL}"]
    assert uninstall_service(context, manager=manager).removed
    assert not Path(file).exists() and programs.calls[-1] == ["launchctl", "bootout", f"{domain}/{LABEL}"]
    assert not uninstall_service(context, manager=manager).removed


def test_the_task_scheduler_gets_a_file_and_keeps_none(
    context: ProviderContext, programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs.add("schtasks", SCHTASKS)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("numerai_compute.providers.local.service._answering", lambda *_: daemon_status(context))
    manager = TaskScheduler({"USERNAME": "zoe", "USERDOMAIN": "DESK"})
    install_service(context, report=quiet, manager=manager)
    verbs = [call[1] for call in programs.calls]
    assert verbs == ["/Query", "/Create", "/Run"] and programs.calls[1][-1] == "/F"
    assert list(tmp_path.glob("*.xml")) == [], "the file is gone once Windows has read it"
    task = (programs.room / "task.xml").read_text(encoding="utf-8")
    assert "DESK\\zoe" in task and read_task(task).home == str(context.home)
    assert service_status(context.home, manager).ours
    assert "within 5 minutes" in (starts_again(context.home, manager) or "")
    install_service(context, report=quiet, manager=manager)
    assert uninstall_service(context, manager=manager).removed
    acts = [call[1] for call in programs.calls if call[1] != "/Query"]
    assert acts[-2:] == ["/End", "/Delete"] and not (programs.room / "task.xml").exists()
    assert not uninstall_service(context, manager=manager).removed
    (programs.room / "task.xml").write_text("<Task><Description>somebody's</Description></Task>")
    with pytest.raises(ProviderError, match="did not make it"):
        install_service(context, report=quiet, manager=manager)


def test_every_platform_has_its_manager() -> None:
    names = [service_manager(platform).name for platform in ("linux", "darwin", "win32")]
    assert names == ["systemd", "launchd", "the Task Scheduler"]


def test_the_home_can_be_an_option(
    context: ProviderContext, typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the Task Scheduler relies on, as a task has no environment of its own."""
    monkeypatch.delenv("NUMERAI_HOME")
    arguments = [sys.executable, "-m", "numerai_compute", "daemon", "run", "--home", str(context.home)]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=tmp_path)
    try:
        assert process.stderr is not None and b"serves webhooks" in process.stderr.readline()
        assert daemon_status(context).pid == process.pid
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _real_systemd() -> bool:
    if not service_managers.BOOTED_BY_SYSTEMD.is_dir():
        return False
    try:
        return subprocess.run(["systemctl", "--user", "show-environment"], capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not _real_systemd(), reason="no systemd of this user answers")
def test_the_real_systemd_runs_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # pragma: no cover
    """Under a name of its own, so that a service of the person who runs the tests is left alone."""
    name = f"numerai-test-{os.getpid()}.service"
    monkeypatch.setattr(service_managers, "UNIT", name)
    HomeStore(home, {}).save_keys(KEYS)
    context = ProviderContext(home, {}, lambda: KEYS, lambda: pytest.fail("no engine"), SystemClock())
    manager = Systemd()
    try:
        done = install_service(context, report=quiet, manager=manager)
        assert done.daemon is not None and done.daemon.answering
        assert manager.registered() is True and manager.active() is True
    finally:
        try:
            uninstall_service(context, manager=manager)
        except NumeraiError:
            Path(manager.place).unlink(missing_ok=True)
            raise
    assert manager.found() is None and not daemon_status(context).running
