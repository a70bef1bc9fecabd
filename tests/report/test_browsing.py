"""Browser tests are skipped where no browser was promised, and fail where one was."""

from __future__ import annotations

import pytest

from tests.report import browsing


def test_what_was_promised_and_is_not_there_fails(monkeypatch):
    monkeypatch.setattr(browsing.shutil, "which", lambda name: None)
    monkeypatch.setenv("NORMBENCH_REQUIRE", "axe-core")
    with pytest.raises(pytest.skip.Exception, match="Chromium is not installed"):
        browsing.chromium_path()
    monkeypatch.setenv("NORMBENCH_REQUIRE", "chromium axe-core")
    with pytest.raises(pytest.fail.Exception, match="NORMBENCH_REQUIRE names chromium"):
        browsing.chromium_path()


def test_axe_core_likewise(monkeypatch, tmp_path):
    monkeypatch.setattr(browsing, "AXE", tmp_path / "axe.min.js")
    monkeypatch.delenv("NORMBENCH_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match="make tools"):
        browsing.violations(None)
    monkeypatch.setenv("NORMBENCH_REQUIRE", "axe-core")
    with pytest.raises(pytest.fail.Exception, match="axe-core is not installed"):
        browsing.violations(None)
