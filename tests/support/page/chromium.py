"""The browser that tests of the page drive."""

from __future__ import annotations

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REMEDY = "Install it (apt-get install chromium), or name it in CHROMIUM."


def find_chromium() -> str | None:
    """Return the browser that `CHROMIUM` names, or else the first that is installed; None without one."""
    if named := os.environ.get("CHROMIUM"):
        return shutil.which(named)
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def may_leave_out() -> bool:
    """Return whether tests that need the browser are left out: where there is none, and not in continuous integration.

    `CI=true` and `REQUIRE_CHROMIUM=1` have them fail instead.
    """
    demanded = os.environ.get("CI", "").lower() in ("true", "1") or bool(os.environ.get("REQUIRE_CHROMIUM"))
    return find_chromium() is None and not demanded
