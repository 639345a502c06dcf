"""JupyterLab as a person has it in a browser."""

from __future__ import annotations

import re

from playwright.sync_api import Error

#: Settings of a job that is over in seconds.
TINY = {"dataset": "synthetic", "image_size": 8, "train_images": 64, "val_images": 16,
        "global_batch": 32, "epochs": 1, "untimed_steps": 0}  # fmt: skip
#: The notebook in front.
SHOWN = ".jp-NotebookPanel:not(.lm-mod-hidden)"


def appears(page, found) -> None:
    """Wait for what a locator finds; where it does not come, say what the page shows instead."""
    try:
        found.first.wait_for()
    except Error as error:
        raise AssertionError(page.locator("body").inner_text()[-5000:]) from error


def run_all(page) -> None:
    """Run a notebook's cells once its kernel is there: without one Lab asks for a kernel."""
    appears(page, page.get_by_text("| Idle"))  # in the bar at the bottom; elsewhere also without
    menu(page, "Run", "Run All Cells")


def menu(page, title: str, entry: str) -> None:
    """Choose an entry of one of the menus at the top."""
    page.get_by_role("menuitem", name=title, exact=True).click()
    page.locator(".lm-Menu-itemLabel").get_by_text(entry, exact=True).click()


def printed(page, pattern: str) -> re.Match[str]:
    """Wait for an output that matches a pattern."""
    found = page.locator(f"{SHOWN} .jp-OutputArea-output").filter(has_text=re.compile(pattern))
    appears(page, found)
    match = re.search(pattern, found.first.text_content())
    assert match
    return match
