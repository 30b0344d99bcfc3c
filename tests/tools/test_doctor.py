"""`regbench doctor` notices what makes later errors hard to understand."""

from types import SimpleNamespace

import pytest

from regbench import __version__
from regbench.installed import OFFICIAL
from regbench.tools import doctor


def pretend(monkeypatch, versions):
    plugins = [SimpleNamespace(distribution=name, version=version) for name, version in versions.items()]
    monkeypatch.setattr(doctor, "registry", lambda: SimpleNamespace(plugins=plugins))
    monkeypatch.delenv("REGBENCH_LOAD_PLUGINS", raising=False)


def test_mixed_versions_are_told(monkeypatch):
    pretend(monkeypatch, dict.fromkeys(OFFICIAL, __version__) | {"regbench-matchers": "0.0.9"})
    found = doctor._official()
    assert not found.ok
    assert "regbench-matchers 0.0.9" in found.detail
    assert "regbench-strategies" not in found.detail


def test_an_installation_without_networks_is_told(monkeypatch):
    pretend(monkeypatch, {"regbench": __version__})
    found = doctor._official()
    assert not found.ok
    assert "pip install 'regbench[all]'" in found.detail


def test_strangers_have_versions_of_their_own(monkeypatch):
    pretend(monkeypatch, dict.fromkeys(OFFICIAL, __version__) | {"regbench-mine": "7.0"})
    assert doctor._official().ok


@pytest.mark.parametrize(("load", "busy"), [(0.1, False), (64.0, True)])
def test_a_busy_machine_is_told(monkeypatch, load, busy):
    monkeypatch.setattr(doctor.os, "getloadavg", lambda: (load, load, load), raising=False)
    monkeypatch.setattr(doctor.os, "cpu_count", lambda: 2)
    found = doctor._load()
    assert found.ok, "it is no fault of the installation"
    assert ("OMP_NUM_THREADS" in found.detail) is busy


def test_two_wheels_of_opencv_are_told(monkeypatch):
    monkeypatch.setattr(doctor, "packages_distributions", lambda: {"cv2": ["opencv-python", "opencv-python-headless"]})
    found = doctor._opencv()
    assert not found.ok
    assert "uninstall all but one" in found.detail
