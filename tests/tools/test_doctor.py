"""`regbench doctor` notices what makes later errors hard to understand."""

from types import SimpleNamespace

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


def test_two_wheels_of_opencv_are_told(monkeypatch):
    monkeypatch.setattr(doctor, "packages_distributions", lambda: {"cv2": ["opencv-python", "opencv-python-headless"]})
    found = doctor._opencv()
    assert not found.ok
    assert "uninstall all but one" in found.detail
